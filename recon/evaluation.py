"""Held-out views: rendered, compared with their photos."""

from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.images import save_image
from data.progress import Progress
from data.scene import Scene
from recon.fields import RadianceField
from recon.metrics import psnr, ssim
from recon.pictures import render_picture


@dataclass(frozen=True)
class HeldOutView:
    """Scores of one photo that was not trained on."""

    file: str
    psnr: float
    """dB over the whole picture (over the pixels that count, where masks say so)."""
    ssim: float
    psnr_subject: float | None
    """dB inside the silhouette, for objects cut out by masks."""
    size: tuple[int, int]
    picture: str | None = None
    """Photo beside rendering, relative to the output folder."""


def evaluate_views(
    field: RadianceField, scene: Scene, near: float, background: tuple[float, float, float] | None, folder: Path
) -> Generator[Progress, None, list[HeldOutView]]:
    """Score every view of ``scene`` and write comparisons to ``folder/previews``.

    Args:
        background: what photos are composited on outside their silhouettes; None to compare them as they are.
    """
    (folder / "previews").mkdir(parents=True, exist_ok=True)
    views = []
    for i in range(len(scene)):
        yield Progress("evaluate", i / len(scene), f"held-out view {i + 1} of {len(scene)}")
        image = render_picture(field, scene.posed(), i, near).rgb.numpy()
        scored = score(image, scene, i, background)
        picture = f"previews/held_out_{i:02d}.png"
        save_image(folder / picture, _bytes(np.concatenate([compared(scene, i, background), image], axis=1)))
        views.append(replace(scored, picture=picture))
    return views


def score(
    image: Float[ndarray, "h w 3"], scene: Scene, view: int, background: tuple[float, float, float] | None
) -> HeldOutView:
    """A picture against the photo of a view; see `evaluate_views`."""
    truth, mask = compared(scene, view, background), scene.mask(view)
    subject = counted = None
    if mask is not None and background is not None:
        subject = psnr(image, truth, mask) if mask.any() else None
    elif mask is not None:
        counted = mask
    return HeldOutView(scene.names[view], psnr(image, truth, counted), ssim(image, truth), subject, (image.shape[1], image.shape[0]))


def compared(scene: Scene, view: int, background: tuple[float, float, float] | None) -> Float[ndarray, "h w 3"]:
    """A photo as pictures are compared with it."""
    truth, mask = scene.image(view).astype(np.float32) / 255, scene.mask(view)
    return truth if mask is None or background is None else np.where(mask[..., None], truth, np.array(background, np.float32))


def _bytes(image: Float[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    return np.clip(np.round(image * 255), 0, 255).astype(np.uint8)
