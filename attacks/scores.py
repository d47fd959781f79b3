"""What a change of the photos did to the views, and how much of it a person could see."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from attacks.case import Case, Target
from attacks.victims.protocol import Look
from recon.metrics import psnr, ssim
from recon.pictures import Picture


@dataclass(frozen=True)
class ViewScore:
    """One target view. dB and fractions; NaN where there is nothing to compare with."""

    view: str
    psnr: float
    """Against the photo, over the pixels that count; likewise the next two."""
    ssim: float
    lpips: float
    psnr_clean: float
    """Against the render of the clean photos: without the error that the victim makes anyway; likewise the next two."""
    ssim_clean: float
    lpips_clean: float
    depth: float
    """Mean relative error of depth against the clean render's, where both meet a surface."""
    depth_truth: float
    """The same against true depth, if it is known."""
    opacity: float
    """Mean absolute change of opacity."""
    lost: float
    """Share of the pixels with a surface in the clean render that have none now."""
    chamfer: float
    """Symmetric chamfer distance between the surface points that the view shows now and did before, as a share of the clean points'
    diagonal."""


def score_view(target: Target, now: Picture, clean: Picture) -> ViewScore:
    """Compare a picture with the photo and with the picture that the clean photos give."""
    from recon.perceptual import lpips

    a, b = now.rgb.numpy(), clean.rgb.numpy()
    mask = None if target.mask is None else target.mask.numpy()
    truth = None if target.truth is None else target.truth.numpy()
    met, before = now.depth > 0, clean.depth > 0
    count = torch.ones_like(met) if target.mask is None else target.mask
    both = met & before & count
    known = met & count & (target.depth > 0) if target.depth is not None else None
    nan = float("nan")
    return ViewScore(
        target.name,
        nan if truth is None else psnr(a, truth, mask), nan if truth is None else ssim(*cropped(a, truth, mask)),
        nan if truth is None else lpips(*cropped(a, truth, mask)), psnr(a, b, mask), ssim(*cropped(a, b, mask)), lpips(*cropped(a, b, mask)),
        _relative(now.depth, clean.depth, both), nan if known is None or target.depth is None else _relative(now.depth, target.depth, known),
        float((now.opacity - clean.opacity).abs()[count].mean()), float((before & ~met & count).sum() / max(int((before & count).sum()), 1)),
        chamfer(target, now.depth * count, clean.depth * count),
    )  # fmt: skip


def cropped(a: Float[ndarray, "h w 3"], b: Float[ndarray, "h w 3"], mask: ndarray | None) -> tuple[ndarray, ndarray]:
    """Both pictures within the mask's box, black outside the mask: for measures that need windows."""
    if mask is None:
        return a, b
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    keep = mask[box][..., None]
    return np.ascontiguousarray(a[box] * keep), np.ascontiguousarray(b[box] * keep)


def chamfer(target: Target, now: Float[Tensor, "h w"], clean: Float[Tensor, "h w"], most: int = 20_000) -> float:
    """See `ViewScore.chamfer`."""
    from recon.fields import image_rays
    from recon.metrics import surface_scores

    rays = image_rays(target.camera, 0)

    def points(depth: Tensor) -> ndarray:
        flat = depth.reshape(-1)
        index = torch.nonzero(flat > 0)[:, 0]
        index = index[:: max(len(index) // most, 1)]
        return (rays.origins[index] + rays.directions[index] * flat[index, None]).double().numpy()

    a, b = points(now), points(clean)
    if len(a) < 10 or len(b) < 10:
        return float("nan")
    low, high = np.percentile(b, [2, 98], axis=0)
    diagonal = max(float(np.linalg.norm(high - low)), 1e-12)
    return surface_scores(a / diagonal, b / diagonal, None, 0.01)["chamfer"]


def _relative(depth: Tensor, truth: Tensor, where: Tensor) -> float:
    return float(((depth - truth).abs() / truth.clamp(min=1e-9))[where].mean()) if bool(where.any()) else float("nan")


@dataclass(frozen=True)
class Perceptibility:
    """How far changed photos are from the clean ones, over all of them; the last two are means of the photos'."""

    linf: float
    """Largest change of a value."""
    l2: float
    """Largest root mean square change of a photo's values (see `ThreatModel.eps`)."""
    psnr: float
    ssim: float
    lpips: float


def perceptibility(case: Case, images: Float[Tensor, "s 3 h w"]) -> Perceptibility:
    """What a person could notice of a change."""
    from recon.perceptual import lpips

    pairs = [
        (np.ascontiguousarray(a.permute(1, 2, 0).cpu().numpy()), np.ascontiguousarray(b.permute(1, 2, 0).cpu().numpy()))
        for a, b in zip(case.pieces(images), case.pieces(case.photos), strict=True)
    ]
    errors = [np.square(a.astype(np.float64) - b).mean() for a, b in pairs]
    return Perceptibility(
        float(max(np.abs(a - b).max() for a, b in pairs)), float(np.sqrt(max(errors))),
        float(-10 * np.log10(max(np.mean(errors), 1e-10))), float(np.mean([ssim(a, b) for a, b in pairs])),
        float(np.mean([lpips(a, b) for a, b in pairs])),
    )  # fmt: skip


def pictures_of(look: Look, case: Case) -> list[Picture]:
    """Every target as the victim renders it."""
    return [look.picture(target) for target in case.targets]
