"""Randomised smoothing: the median of renders of noisy photos, and a certificate for it (Chiang et al. 2020, median smoothing).

For Gaussian noise of standard deviation sigma on all values of all photos, and any number f of the photos (here: the PSNR of a view against
a fixed picture), the median of f over the noise cannot fall, for any change of Euclidean length r, below the quantile Phi(-r / sigma) of f
over the noise on the unchanged photos. The quantile is bounded from below by an order statistic of the samples, with the asked confidence.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from attacks.case import Case, Target
from attacks.victims.protocol import Look, Seen, Victim
from recon.pictures import Picture


def certified_median(values: Float[ndarray, "n"], sigma: float, radius: float, confidence: float = 0.99) -> float:
    """What the median stays above for every change within a Euclidean radius, with some confidence; minus infinity if too few samples say so.

    Args:
        values: samples of the number over the noise on the photos at hand.
        sigma: standard deviation of the noise.
        radius: Euclidean length of the change, over all values of all photos together.
    """
    from scipy.stats import binom, norm

    quantile = float(norm.cdf(-radius / sigma))
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    # The k-th smallest of n samples lies below the quantile unless fewer than k samples do.
    k = int(binom.ppf(1 - confidence, len(ordered), quantile))
    while k > 0 and binom.cdf(k - 1, len(ordered), quantile) > 1 - confidence:
        k -= 1
    return float(ordered[k - 1]) if k > 0 else -np.inf


@dataclass
class Smoothed:
    """A victim whose pictures are medians over looks at noisy photos. Rays asked with gradients average over fewer looks (EoT)."""

    victim: Victim
    sigma: float = 8 / 255
    samples: int = 8
    attack_samples: int = 1
    """Looks that each step of an attack through it averages over, with noise drawn anew."""
    seed: int = 0

    @property
    def name(self) -> str:
        return f"{self.victim.name}+smoothing"

    @property
    def gradients(self) -> bool:
        return self.victim.gradients

    @property
    def device(self) -> torch.device:
        return self.victim.device

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> "SmoothedLook":
        """See `protocol.Victim.look`."""
        asked = images.requires_grad
        if not hasattr(self, "_noise"):
            self._noise = torch.Generator().manual_seed(self.seed + 1)
        generator = self._noise if asked else torch.Generator().manual_seed(self.seed)
        looks = []
        for i in range(self.attack_samples if asked else self.samples):
            noise = torch.randn(images.shape, generator=generator).to(images) * self.sigma
            base = like.looks[min(i, len(like.looks) - 1)] if isinstance(like, SmoothedLook) else None
            looks.append(self.victim.look(case, (images + noise).clamp(0, 1), base, None if colors is None else (colors + noise).clamp(0, 1)))
        return SmoothedLook(looks)


@dataclass
class SmoothedLook:
    """Looks at the photos with several draws of noise."""

    looks: list[Look]

    def trace(self, target: Target, pixels: Tensor, anchor: Any = None) -> Seen:
        """Means over the looks: their gradient is the expectation over the noise."""
        anchors = anchor if isinstance(anchor, list) else [None] * len(self.looks)
        seen = [look.trace(target, pixels, a) for look, a in zip(self.looks, anchors)]
        first = seen[0]
        return Seen(
            torch.stack([s.rgb for s in seen]).mean(0), torch.stack([s.where for s in seen]).mean(0), torch.stack([s.opacity for s in seen]).mean(0),
            first.alphas, first.signed, [s.anchor for s in seen],
        )  # fmt: skip

    def picture(self, target: Target) -> Picture:
        """Medians, pixel by pixel."""
        pictures = [look.picture(target) for look in self.looks]
        return Picture(*(torch.stack([getattr(p, n) for p in pictures]).median(0)[0] for n in ("rgb", "depth", "opacity", "seen")))
