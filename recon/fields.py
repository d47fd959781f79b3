"""What every engine makes of a scene, and the rays it is asked with."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.cameras import Cameras


@dataclass(frozen=True)
class Rays:
    """Rays in world coordinates; directions have unit length."""

    origins: Float[Tensor, "rays 3"]
    directions: Float[Tensor, "rays 3"]
    near: Float[Tensor, "rays"]
    """Distance at which each ray starts to matter, scene units."""
    far: Float[Tensor, "rays"]

    def __len__(self) -> int:
        return len(self.origins)

    def __getitem__(self, rows: slice | Tensor) -> "Rays":
        return Rays(self.origins[rows], self.directions[rows], self.near[rows], self.far[rows])

    def to(self, device: torch.device | str) -> "Rays":
        return Rays(self.origins.to(device), self.directions.to(device), self.near.to(device), self.far.to(device))


@dataclass(frozen=True)
class RenderedRays:
    """What is seen along rays."""

    rgb: Float[Tensor, "rays 3"]
    """sRGB, 0 to 1, background included."""
    depth: Float[Tensor, "rays"]
    """Distance along the ray (not z-depth) to the median of the weights, scene units; 0 where nothing was met."""
    opacity: Float[Tensor, "rays"]
    """Sum of the weights, 0 to 1."""
    seen: Float[Tensor, "rays"]
    """How much of what the ray met is in a photo that the field looks at, 0 to 1; the colour of the rest is a guess."""

    @classmethod
    def join(cls, parts: list["RenderedRays"]) -> "RenderedRays":
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in cls.__dataclass_fields__))

    def cpu(self) -> "RenderedRays":
        return RenderedRays(self.rgb.cpu(), self.depth.cpu(), self.opacity.cpu(), self.seen.cpu())

    def __getitem__(self, rows: slice | Tensor) -> "RenderedRays":
        return RenderedRays(self.rgb[rows], self.depth[rows], self.opacity[rows], self.seen[rows])


@runtime_checkable
class RadianceField(Protocol):
    """The one protocol that meshing, rendering, editing and attacks speak."""

    @property
    def device(self) -> torch.device:
        """Where it works; rays made there need not be sent."""
        ...

    @property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Lower and upper corner of the region worth meshing, world coordinates."""
        ...

    @property
    def near(self) -> float:
        """Distance from a camera at which its rays should start, scene units."""
        ...

    @property
    def empty_background(self) -> tuple[float, float, float] | None:
        """Colour that photos must be composited on to be comparable, or None where the background belongs to the scene."""
        ...

    def render(self, rays: Rays, color: bool = True) -> RenderedRays:
        """Colour (unless not wanted), depth and opacity along rays, in pieces that fit the memory."""
        ...

    def density(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
        """Extinction per scene unit at world points."""
        ...


def pixel_rays(
    cameras: Cameras, views: Float[Tensor, "rays"] | Tensor, pixels: Float[Tensor, "rays 2"], near: Tensor, far: Tensor
) -> Rays:
    """Rays through pixels of pinhole cameras.

    Args:
        views: camera index of every ray.
        pixels: positions with the first pixel's centre at (0.5, 0.5).
        near: distance of every ray's start, scene units; likewise ``far``.
    """
    inverse = torch.from_numpy(np.linalg.inv(cameras.intrinsics)).float().to(pixels.device)
    poses = torch.from_numpy(cameras.camera_to_world).float().to(pixels.device)
    homogeneous = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=-1)
    matrix = (poses[:, :3, :3] @ inverse)[views]
    directions = torch.einsum("rij,rj->ri", matrix, homogeneous)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return Rays(poses[views, :3, 3], directions, near, far)


def image_rays(
    cameras: Cameras, view: int, near: float = 0.0, far: float = float("inf"), device: torch.device | str = "cpu"
) -> Rays:
    """One ray through the centre of every pixel of a pinhole view, row by row."""
    width, height = (int(v) for v in cameras.sizes[view])
    y, x = torch.meshgrid(torch.arange(height, device=device) + 0.5, torch.arange(width, device=device) + 0.5, indexing="ij")
    pixels = torch.stack([x.reshape(-1), y.reshape(-1)], dim=-1)
    ones = torch.ones(len(pixels), device=device)
    first = torch.zeros(len(pixels), dtype=torch.long, device=device)
    return pixel_rays(cameras.select([view]), first, pixels, near * ones, far * ones)


def ray_to_z(cameras: Cameras, view: int) -> Float[Tensor, "height width"]:
    """Factor that turns distance along the ray into z-depth, for every pixel of a view."""
    width, height = (int(v) for v in cameras.sizes[view])
    rays = image_rays(cameras, view)
    forward = torch.from_numpy(cameras.forwards[view]).float()
    return (rays.directions @ forward).reshape(height, width)
