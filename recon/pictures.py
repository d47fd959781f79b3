"""Whole pictures of a field: one ray through every pixel, and what no photo shows continued from beside it.

A ray that meets what is outside of every photo has no colour of its own: an image-based field can only repeat the photos'
borders there, in streaks. Its neighbours in the picture know better. Holes are filled by averages of ever larger surroundings
(pull and push, Gortler et al. 1996, "The Lumigraph", section 3.4), which costs milliseconds and leaves no seam.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from data.cameras import Cameras
from recon.fields import RadianceField, image_rays

BACKGROUND = 0.05
"""Share of a picture that must be known background, so that unknown background is continued from it alone: a few pixels without
a surface are more likely mistakes."""


@dataclass(frozen=True)
class Picture:
    """A view of a field."""

    rgb: Float[Tensor, "h w 3"]
    """sRGB, 0 to 1."""
    depth: Float[Tensor, "h w"]
    """Distance along the rays, scene units; see `RenderedRays`, likewise the next two."""
    opacity: Float[Tensor, "h w"]
    seen: Float[Tensor, "h w"]


def render_picture(field: RadianceField, cameras: Cameras, view: int, near: float = 0.0) -> Picture:
    """Picture of a field from a pinhole camera.

    Args:
        near: where rays start, scene units.
    """
    width, height = (int(v) for v in cameras.sizes[view])
    rays = field.render(image_rays(cameras, view, near=near, device=field.device))
    depth, opacity, seen = (x.reshape(height, width) for x in (rays.depth, rays.opacity, rays.seen))
    rgb, trusted, met = (x.to(field.device) for x in (rays.rgb.reshape(height, width, 3), seen, depth > 0))
    return Picture(filled(rgb, trusted, met).to(depth.device), depth, opacity, seen)


def filled(rgb: Float[Tensor, "h w 3"], known: Float[Tensor, "h w"], met: Bool[Tensor, "h w"]) -> Float[Tensor, "h w 3"]:
    """The picture with its unknown pixels continued from the known ones.

    Args:
        known: how much each pixel is trusted, 0 to 1; if none is at all, the picture stays as it is.
        met: where a surface was met. Elsewhere is background, which continues background, if enough of that is known.
    """
    if bool((known >= 1).all()) or not bool((known > 0).any()):
        return rgb
    guess = continued(rgb, known)
    background = known * ~met
    if float(background.mean()) > BACKGROUND:
        guess = torch.where(met[..., None], guess, continued(rgb, background))
    return known[..., None] * rgb + (1 - known[..., None]) * guess


def continued(rgb: Float[Tensor, "h w 3"], weight: Float[Tensor, "h w"]) -> Float[Tensor, "h w 3"]:
    """The pixels with weight, and what lies between and around them."""
    planes = torch.cat([rgb * weight[..., None], weight[..., None]], dim=-1).permute(2, 0, 1)[None]
    return _pulled_and_pushed(planes)[0].permute(1, 2, 0)


def _pulled_and_pushed(planes: Float[Tensor, "1 4 h w"]) -> Float[Tensor, "1 3 h w"]:
    """Colour times weight, and weight -> colour."""
    color, known = planes[:, :3], planes[:, 3:]
    height, width = planes.shape[2:]
    if max(height, width) == 1:
        return color / known.clamp(min=1e-9)
    smaller = F.avg_pool2d(F.pad(planes, (0, width % 2, 0, height % 2)), 2)
    # What four pixels know together is enough to be sure of the larger one.
    weight = smaller[:, 3:]
    smaller = smaller * ((4 * weight).clamp(max=1) / weight.clamp(min=1e-9))
    beside = F.interpolate(_pulled_and_pushed(smaller), scale_factor=2, mode="bilinear", align_corners=False)[:, :, :height, :width]
    return color + (1 - known) * beside
