"""Source views as the branches see them: feature maps, photos and depth volumes, asked at projected points."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from kernels.sightings.sighted import Maps, view_table
from recon.general.volume import DepthLevel


@dataclass(frozen=True)
class Sources:
    """V source views of each of B scenes (B is 1 outside training)."""

    images: Float[Tensor, "b v 3 h w"]
    """The photos, sRGB 0 to 1."""
    quarter: Float[Tensor, "b v h4 w4 c4"]
    half: Float[Tensor, "b v h2 w2 c2"]
    surface: Float[Tensor, "b v h2 w2 6"]
    """Per pixel of the finest volume: inverse z-depth, its slopes along x and y per photo pixel, confidences of the three levels."""
    intrinsics: Float[Tensor, "b v 3 3"]
    camera_to_world: Float[Tensor, "b v 4 4"]
    sizes: Float[Tensor, "b v 2"]
    """Width and height of each photo: smaller than the tensors where photos of several sizes share them."""
    present: Bool[Tensor, "b v"]
    """False for places that hold no view."""

    def select(self, views: Tensor) -> "Sources":
        """Some views of a single scene, in the given order."""
        if views.device.type == "cpu" and len(views) == self.images.shape[1] and bool((views.diff() == 1).all()):
            return self  # all of them: gradients need not be added up in tensors of zeros
        return Sources(*(getattr(self, name)[:, views] for name in self.__dataclass_fields__))

    def maps(self) -> Maps:
        """The views of the only scene as the fused path takes them."""
        table = view_table(self.intrinsics[0], self.camera_to_world[0], self.sizes[0], self.present[0])
        return Maps(table, self.images[0], self.quarter[0], self.half[0], self.surface[0])


@dataclass(frozen=True)
class Sighting:
    """Points as each source view sees them."""

    grid: Float[Tensor, "b v r s 2"]
    """Positions in the view for `grid_sample`."""
    seen: Bool[Tensor, "b r s v"]
    """Whether the point lies in front of the view and inside its picture."""
    cues: Float[Tensor, "b r s v 10"]
    """Signed distance to the view's own surface at three scales, its confidences, viewing angles, distance ratio, seen."""
    distance: Float[Tensor, "b r s v"]
    """Signed distance to the plane of the view's nearest surface pixel, in units of ``unit``."""
    unit: Float[Tensor, "b r s"]
    """Local unit of length in scene units: proportional to the mean distance from the views."""


@dataclass(frozen=True)
class Shown:
    """What V views show at the samples of n rays."""

    tokens: Float[Tensor, "n s v t"]
    """Features at 1/4 and 1/2, photo, cues; then perhaps zeros."""
    photo: Float[Tensor, "n s v 3"]
    seen: Bool[Tensor, "n s v"]
    distance: Float[Tensor, "n s v"]
    """See `Sighting`, likewise the unit."""
    unit: Float[Tensor, "n s"]


CUES = 10
ANGLE = 6
"""Place of the viewing angle among the cues: four times one minus its cosine."""


def surface_map(levels: list[DepthLevel], views: int) -> Float[Tensor, "b v h w 6"]:
    """What `Sources.surface` holds, from the volumes of all views (scene after scene)."""
    fine = levels[-1]
    w = fine.inverse_depth
    n, height, width = w.shape

    confidences = [F.interpolate(level.confidence[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0] for level in levels]
    out = torch.cat([slopes(w), torch.stack(confidences, dim=-1)], dim=-1)
    return out.view(n // views, views, height, width, 6)


def slopes(inverse: Float[Tensor, "*n h w"]) -> Float[Tensor, "*n h w 3"]:
    """Inverse depth at half resolution, and its slopes along x and y per photo pixel.

    Of the two one-sided differences the smaller counts: slopes must not reach across outlines.
    """

    def slope(dim: int) -> Tensor:
        d = inverse.diff(dim=dim) / 2.0
        first, last = torch.narrow(d, dim, 0, 1), torch.narrow(d, dim, d.shape[dim] - 1, 1)
        left, right = torch.cat([first, d], dim), torch.cat([d, last], dim)
        return torch.where(left.abs() < right.abs(), left, right)

    return torch.stack([inverse, slope(-1), slope(-2)], dim=-1)


@torch.autocast("cuda", enabled=False)
def look(sources: Sources, points: Float[Tensor, "b r s 3"], origins: Float[Tensor, "b r 3"], reach: float) -> Sighting:
    """Project points into all source views and compare them with the surfaces that these found."""
    b, r, s, _ = points.shape
    pose = sources.camera_to_world
    offset = points[:, None] - pose[:, :, None, None, :3, 3]
    local = torch.einsum("bvrsi,bvij->bvrsj", offset, pose[:, :, :3, :3])
    z = local[..., 2]
    safe = z.clamp(min=1e-6)
    k = sources.intrinsics[:, :, None, None]
    px = local[..., 0] / safe * k[..., 0, 0] + local[..., 1] / safe * k[..., 0, 1] + k[..., 0, 2]
    py = local[..., 1] / safe * k[..., 1, 1] + k[..., 1, 2]
    pixels = torch.stack([px, py], dim=-1)
    size = sources.sizes[:, :, None, None]
    full = torch.tensor([sources.images.shape[-1], sources.images.shape[-2]], device=points.device)
    # Points out of the picture ask its border.
    inside = torch.minimum(torch.maximum(pixels, torch.full_like(size, 0.5)), size - 0.5)
    grid = 2 * inside / full - 1
    seen = (z > 1e-6) & ((pixels > 0) & (pixels < size)).all(-1) & sources.present[:, :, None, None]

    found = fetch(sources.surface, grid, mode="nearest")
    height, width = sources.surface.shape[2:4]
    step = full / torch.tensor([width, height], device=points.device)
    nearest = ((inside / step).floor() + 0.5) * step
    shift = inside - nearest
    inverse = found[..., 0] + found[..., 1] * shift[..., 0] + found[..., 2] * shift[..., 1]
    ahead = 1 - z * inverse
    # The surface pixel spans the plane n . x = 1 in camera coordinates; its inverse depth is linear in the pixel.
    n = torch.stack([
        k[..., 0, 0] * found[..., 1], k[..., 1, 1] * found[..., 2],
        inverse - found[..., 1] * (px - k[..., 0, 2]) - found[..., 2] * (py - k[..., 1, 2]),
    ], dim=-1)  # fmt: skip
    norm = n.norm(dim=-1).clamp(min=1e-9)
    away = offset.norm(dim=-1)
    visible = seen.to(z.dtype)
    unit = reach * (away * visible).sum(1) / visible.sum(1).clamp(min=1)
    unit = torch.where(visible.sum(1) > 0, unit, reach * away.mean(1)).clamp(min=1e-9)
    distance = ahead / norm / unit[:, None]
    toward = points - origins[:, :, None]
    target = toward / toward.norm(dim=-1, keepdim=True).clamp(min=1e-9)
    source = offset / away[..., None].clamp(min=1e-9)
    dot = (source * target[:, None]).sum(-1)
    ratio = torch.log(away.clamp(min=1e-9) / toward.norm(dim=-1).clamp(min=1e-9)[:, None]).clamp(-2, 2)
    incidence = (n * local).sum(-1).abs() / (norm * away.clamp(min=1e-9))
    cues = torch.stack([
        distance.clamp(-2, 2), (distance * 6).clamp(-2, 2), (ahead / reach / 6).clamp(-2, 2),
        found[..., 3], found[..., 4], found[..., 5], (1 - dot).clamp(max=0.5) * 4, ratio, incidence, visible,
    ], dim=-1)  # fmt: skip
    return Sighting(grid, seen.permute(0, 2, 3, 1), cues.permute(0, 2, 3, 1, 4), distance.clamp(-2, 2).permute(0, 2, 3, 1), unit)


def shown(sources: Sources, points: Float[Tensor, "b r s 3"], origins: Float[Tensor, "b r 3"], reach: float) -> Shown:
    """Everything that the branches ask of the views at points; rays of all scenes in a row."""
    sighting = look(sources, points, origins, reach)
    quarter, half, photo = (
        fetch(m, sighting.grid).permute(0, 2, 3, 1, 4).flatten(0, 1)
        for m in (sources.quarter, sources.half, sources.images.permute(0, 1, 3, 4, 2))
    )
    cues, seen, distance, unit = (x.flatten(0, 1) for x in (sighting.cues, sighting.seen, sighting.distance, sighting.unit))
    return Shown(torch.cat([quarter, half, photo, cues], dim=-1), photo, seen, distance, unit)


def fetch(maps: Float[Tensor, "b v h w c"], grid: Float[Tensor, "b v r s 2"], mode: str = "bilinear") -> Float[Tensor, "b v r s c"]:
    """Values of channels-last maps at projected points."""
    b, v, h, w, c = maps.shape
    r, s = grid.shape[2:4]
    # Positions need single precision, and grid_sample wants one precision for both.
    flat = maps.reshape(b * v, h, w, c).permute(0, 3, 1, 2).float()
    out = F.grid_sample(flat, grid.reshape(b * v, r, s, 2), mode=mode, padding_mode="border", align_corners=False)
    return out.permute(0, 2, 3, 1).view(b, v, r, s, c)
