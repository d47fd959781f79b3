"""Purifying the photos before the model looks: cheap filters that remove small high-frequency changes, and some detail with them.

Each is differentiable or passes gradients straight through (BPDA, Athalye et al. 2018), so that an attacker who knows it can attack
through it. That attacker is the only one whose figures count.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from attacks.case import Case
from attacks.victims.protocol import Look, Victim
from data.errors import InputError

Filter = Callable[[Float[Tensor, "s 3 h w"]], Float[Tensor, "s 3 h w"]]


def blurred(images: Float[Tensor, "s 3 h w"], sigma: float = 1.0) -> Float[Tensor, "s 3 h w"]:
    """Gaussian blur, sigma in pixels."""
    reach = max(int(3 * sigma + 0.5), 1)
    at = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (at / sigma) ** 2)
    kernel = (kernel / kernel.sum()).expand(3, 1, -1)
    x = F.conv2d(F.pad(images, (reach, reach, 0, 0), mode="replicate"), kernel[:, :, None], groups=3)
    return F.conv2d(F.pad(x, (0, 0, reach, reach), mode="replicate"), kernel[..., None], groups=3)


def median(images: Float[Tensor, "s 3 h w"]) -> Float[Tensor, "s 3 h w"]:
    """Median of each pixel's 3 x 3 neighbourhood."""
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    h, w = images.shape[2:]
    nine = torch.stack([padded[:, :, i : i + h, j : j + w] for i in range(3) for j in range(3)])
    return nine.median(0)[0]


def fewer_bits(images: Float[Tensor, "s 3 h w"], bits: int = 5) -> Float[Tensor, "s 3 h w"]:
    """Values rounded to fewer bits; gradients pass straight through."""
    steps = 2**bits - 1
    return images + (torch.round(images * steps) / steps - images).detach()


def jpeg(images: Float[Tensor, "s 3 h w"], quality: int = 75) -> Float[Tensor, "s 3 h w"]:
    """Written as JPEG and read again; gradients pass straight through."""
    from PIL import Image

    out = []
    for image in images.detach().cpu():
        levels = (image.permute(1, 2, 0).clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=quality)
        with Image.open(file) as again:
            out.append(torch.from_numpy(np.asarray(again).copy()).permute(2, 0, 1).float() / 255)
    return images + (torch.stack(out).to(images) - images).detach()


FILTERS: dict[str, Filter] = {"blur": blurred, "median": median, "bits": fewer_bits, "jpeg": jpeg}


@dataclass
class Filtered:
    """A victim that looks at filtered photos."""

    victim: Victim
    filter: Filter
    name: str

    @property
    def gradients(self) -> bool:
        return self.victim.gradients

    @property
    def device(self) -> torch.device:
        return self.victim.device

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> Look:
        """See `protocol.Victim.look`."""
        return self.victim.look(case, self.filter(images), like, None if colors is None else self.filter(colors))


def filtered(victim: Victim, name: str) -> Any:
    """A victim behind a filter, by name.

    Raises:
        InputError: no such filter.
    """
    if name not in FILTERS:
        raise InputError(f"There is no filter '{name}'. Choose one of {', '.join(FILTERS)}.")
    return Filtered(victim, FILTERS[name], f"{victim.name}+{name}")
