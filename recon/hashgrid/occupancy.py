"""An occupancy grid that remembers where density was seen, so that rays skip the rest (Müller et al. 2022, appendix E.2)."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data.scene import Scene
from recon.frame import Frame, inside_hull
from recon.hashgrid.field import HashGridField


class OccupancyGrid:
    """A decaying maximum of density over the cells of the unit cube."""

    def __init__(self, allowed: Bool[Tensor, "side side side"], contracted: bool) -> None:
        """``allowed[z, y, x]``: cells that may ever be occupied."""
        self.allowed = allowed
        self.contracted = contracted
        self.density = torch.full(allowed.shape, 1e3, device=allowed.device)
        self.occupied = allowed.clone()

    @property
    def side(self) -> int:
        return self.allowed.shape[0]

    @torch.no_grad()
    def update(self, field: HashGridField, step: float, generator: torch.Generator, warmup: bool) -> None:
        """Look at a sample of the cells (all kinds in turn; more while warming up) and decide anew what is occupied.

        A cell is occupied if one step through it would be more than 1 % opaque, or if it is denser than the mean.
        """
        cells = torch.nonzero(self.allowed.reshape(-1))[:, 0]
        share = 0.25 if warmup else 0.06
        chosen = cells[torch.randint(len(cells), (max(int(len(cells) * share), 1),), generator=generator, device=cells.device)]
        if not warmup:
            busy = torch.nonzero(self.occupied.reshape(-1))[:, 0]
            if len(busy):
                take = torch.randint(len(busy), (min(len(busy), len(chosen)),), generator=generator, device=cells.device)
                chosen = torch.cat([chosen, busy[take]])
        points = self._points(chosen, generator)
        flat = self.density.reshape(-1)
        fresh = torch.cat([field.density(p) for p in points.split(131_072)])
        # Decay only what was looked at: an unseen cell has given no reason to be forgotten.
        flat.index_put_((chosen,), torch.maximum(flat[chosen] * 0.8, fresh))
        threshold = min(0.01 / step, float(flat[cells].clamp(max=1e3).mean()))
        self.occupied = (self.density > threshold) & self.allowed

    def _points(self, cells: Tensor, generator: torch.Generator) -> Float[Tensor, "cells 3"]:
        """A random point of each cell, normalised coordinates."""
        side = self.side
        z, y, x = cells // (side * side), (cells // side) % side, cells % side
        corner = torch.stack([x, y, z], dim=-1)
        unit = (corner + torch.rand(corner.shape, generator=generator, device=cells.device)) / side
        return uncontract(unit * 4 - 2) if self.contracted else unit * 2 - 1


def uncontract(points: Float[Tensor, "n 3"]) -> Float[Tensor, "n 3"]:
    """Inverse of `kernels.marching.contract` (points on the boundary come from far away, not from infinity)."""
    norm = points.abs().amax(-1, keepdim=True)
    return torch.where(norm <= 1, points, points / norm / (2 - norm).clamp(min=1e-3))


def allowed_cells(scene: Scene, frame: Frame, side: int) -> Bool[Tensor, "side side side"]:
    """Cells that may hold something: inside the silhouettes' hull for objects, else seen by at least one camera."""
    centers = (torch.arange(side) + 0.5) / side
    z, y, x = torch.meshgrid(centers, centers, centers, indexing="ij")
    unit = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    normalised = uncontract(unit * 4 - 2) if frame.contracted else unit * 2 - 1
    world = np.array(frame.center) + frame.radius * normalised.double().numpy()
    cameras = scene.posed()
    if scene.mask_meaning == "object":
        masks = [scene.mask(i) for i in range(len(scene))]
        kept = inside_hull(cameras, masks, world, slack=2.5 * frame.radius / side)
    else:
        kept = np.zeros(len(world), dtype=bool)
        for i in range(len(cameras)):
            pixels, depth = cameras.project(i, world)
            margin = 0.1 * cameras.sizes[i]
            kept |= (depth > 0) & (pixels >= -margin).all(1) & (pixels < cameras.sizes[i] + margin).all(1)
    return torch.from_numpy(kept).reshape(side, side, side)


