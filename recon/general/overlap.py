"""How much of what a viewpoint looks at each source view sees."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from recon.general.sources import Sources

BEHIND = 1.05
"""A point this many times as far away as the surface that a view shows there is hidden from it."""
POINTS = 4096
"""Points are thinned out to about so many: shares need no more."""
FEW = 20
"""From fewer points ahead no share is taken."""


@dataclass(frozen=True)
class Overlap:
    """Some surface points of a scene, and which source views see them."""

    points: Float[ndarray, "p 3"]
    """Internal units."""
    seen: Bool[ndarray, "p v"]

    @classmethod
    def of(cls, sources: Sources, points: Float[Tensor, "p 3"]) -> "Overlap":
        """Points in the pictures of the views of a single scene, and not hidden by the surfaces that their volumes found."""
        points = points[:: max(len(points) // POINTS, 1)]
        pose, k, sizes = sources.camera_to_world[0], sources.intrinsics[0], sources.sizes[0]
        local = torch.einsum("pvi,vij->vpj", points[:, None] - pose[:, :3, 3], pose[:, :3, :3])
        z = local[..., 2]
        pixels = torch.einsum("vij,vpj->vpi", k, local)[..., :2] / z.clamp(min=1e-6)[..., None]
        inside = (z > 0) & ((pixels > 0) & (pixels < sizes[:, None])).all(-1)
        inverse = sources.surface[0, ..., 0].detach()
        height, width = inverse.shape[1:]
        step = torch.tensor([sources.images.shape[-1] / width, sources.images.shape[-2] / height], device=pixels.device)
        column, row = torch.where(inside[..., None], pixels / step, torch.zeros_like(pixels)).long().unbind(-1)
        surface = inverse[torch.arange(len(inverse), device=row.device)[:, None], row.clamp(max=height - 1), column.clamp(max=width - 1)]
        return cls(points.cpu().numpy(), (inside & (z * surface < BEHIND)).T.cpu().numpy())

    def shares(self, center: Float[ndarray, "3"], forward: Float[ndarray, "3"], widest: float) -> Float[ndarray, "v"]:
        """Share of the points inside a cone that each view sees; ones where the cone holds too few to tell.

        Args:
            center: the cone's tip, internal units.
            forward: its axis, of unit length.
            widest: cosine of the angle between its axis and its side.
        """
        offset = self.points - center
        ahead = offset @ forward > widest * np.linalg.norm(offset, axis=1)
        return self.seen[ahead].mean(0) if ahead.sum() >= FEW else np.ones(self.seen.shape[1])
