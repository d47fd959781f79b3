"""An occupancy grid that remembers where density was seen, so that rays skip the rest (Müller et al. 2022, appendix E.2)."""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from data.scene import Scene
from kernels.hashgrid.encoding import threads
from kernels.sampling import uncontract, unit_coordinates
from recon.frame import Frame, inside_hull

_OPAQUE = 0.01
"""A cell is occupied if crossing it would be more than this opaque."""


class OccupancyGrid:
    """A running mean of the field's density in the cells of the unit cube, fed by the training samples themselves."""

    def __init__(self, allowed: Bool[Tensor, "side side side"], contracted: bool) -> None:
        """``allowed[z, y, x]``: cells that may ever be occupied."""
        self.allowed = allowed
        self.contracted = contracted
        self.cell_length = _cell_lengths(allowed.shape[0], contracted).to(allowed.device)
        self.density = 0.1 / self.cell_length
        self.limits = 1.0 / self.cell_length
        self.cells = torch.nonzero(allowed.reshape(-1))[:, 0]

    @property
    def side(self) -> int:
        return self.allowed.shape[0]

    @property
    def occupied(self) -> Bool[Tensor, "side side side"]:
        """Cells worth sampling. While everything is nearly empty, emptiness is relative: the denser half stays."""
        opacity = self.density * self.cell_length
        typical = (opacity.clamp(max=1.0) * self.allowed).sum() / max(len(self.cells), 1)
        return self.allowed & (opacity > torch.clamp(0.5 * typical, max=_OPAQUE))

    @property
    def sampling_density(self) -> Float[Tensor, "side side side"]:
        """What `kernels.sampling` walks through: zero in empty cells."""
        return torch.where(self.occupied, self.density, torch.zeros_like(self.density))

    @torch.no_grad()
    def observe(self, points: Float[Tensor, "n 3"], density: Float[Tensor, "n"], rate: float) -> None:
        """Move the cells of normalised ``points`` towards the density found there, bounded at one cell's optical depth of 1.

        The bound makes a cell remember how much of it is filled, not how hard: otherwise one dense corner claims the
        samples of every ray that only grazes its cell, and what lies behind is never seen.
        """
        self.observe_unit(unit_coordinates(points, self.contracted).T.contiguous(), density, rate)

    @torch.no_grad()
    def observe_unit(self, points: Float[Tensor, "3 n"], density: Float[Tensor, "n"], rate: float) -> None:
        """The same for points of the unit cube, axis by axis."""
        side = self.side
        grid = self.density.reshape(-1)
        limits = self.limits.reshape(-1)
        if grid.device.type == "cpu":
            from kernels.sampling.cpu import blend_into_cells

            blend_into_cells(points.numpy(), density.detach().contiguous().numpy(), limits.numpy(), rate, threads(), grid.numpy())
        else:
            x, y, z = (points * side).long().clamp(0, side - 1)
            flat = (z * side + y) * side + x
            total = torch.zeros_like(grid).index_add_(0, flat, torch.minimum(density.detach(), limits[flat]))
            seen = torch.zeros_like(grid).index_add_(0, flat, torch.ones_like(density))
            kept = (1 - rate) ** seen
            grid.copy_(torch.where(seen > 0, kept * grid + (1 - kept) * total / seen.clamp(min=1), grid))

    @torch.no_grad()
    def refresh(self, density: Callable[[Tensor], Tensor], share: float, generator: torch.Generator) -> None:
        """Look into a random share of all allowed cells, the forgotten ones included.

        Args:
            density: of normalised points ``[n, 3]``.
        """
        cells = self.cells
        if len(cells) == 0:
            return
        count = max(int(len(cells) * share), 1)
        chosen = cells[torch.randint(len(cells), (count,), generator=generator, device=cells.device)]
        for part in chosen.split(131_072):
            points = self._points(part, generator)
            self.observe(points, density(points), rate=0.5)

    def _points(self, cells: Tensor, generator: torch.Generator) -> Float[Tensor, "cells 3"]:
        """A random point of each cell, normalised coordinates."""
        side = self.side
        z, y, x = cells // (side * side), (cells // side) % side, cells % side
        corner = torch.stack([x, y, z], dim=-1)
        unit = (corner + torch.rand(corner.shape, generator=generator, device=cells.device)) / side
        return uncontract(unit * 4 - 2) if self.contracted else unit * 2 - 1


def _cell_lengths(side: int, contracted: bool) -> Float[Tensor, "side side side"]:
    """Side of every cell in normalised units; contracted cells far out are large."""
    if not contracted:
        return torch.full((side, side, side), 2.0 / side)
    centers = ((torch.arange(side) + 0.5) / side * 4 - 2).abs()
    norm = torch.maximum(torch.maximum(centers[:, None, None], centers[None, :, None]), centers[None, None, :])
    # d(2 - 1/n)/dn = 1/n^2, and n = 1 / (2 - norm) outside the inner cube
    outside = 1 / (2 - norm).clamp(min=0.02)
    return 4.0 / side * torch.where(norm <= 1, torch.ones_like(norm), outside.square())


def allowed_cells(scene: Scene, frame: Frame, side: int, device: torch.device | str = "cpu") -> Bool[Tensor, "side side side"]:
    """Cells that may hold something: inside the silhouettes' hull for objects, else seen by at least one camera."""
    centers = (torch.arange(side, device=device) + 0.5) / side
    z, y, x = torch.meshgrid(centers, centers, centers, indexing="ij")
    unit = torch.stack([x, y, z], dim=-1).reshape(-1, 3)
    normalised = uncontract(unit * 4 - 2) if frame.contracted else unit * 2 - 1
    world = torch.tensor(frame.center, device=device, dtype=torch.float64) + frame.radius * normalised.double()
    cameras = scene.posed()
    if scene.mask_meaning == "object":
        masks = [scene.mask(i) for i in range(len(scene))]
        kept = torch.from_numpy(inside_hull(cameras, masks, world.cpu().numpy(), slack=2.5 * frame.radius / side)).to(device)
    else:
        kept = torch.zeros(len(world), dtype=torch.bool, device=device)
        unseen, rest = torch.arange(len(world), device=device), torch.cat([world, torch.ones_like(world[:, :1])], dim=1).T.contiguous()
        for projection, (width, height) in zip(torch.from_numpy(cameras.projections).to(device), cameras.sizes.tolist(), strict=True):
            x, y, depth = projection @ rest
            seen = (depth > 0) & (x >= -0.1 * width * depth) & (x < 1.1 * width * depth) & (y >= -0.1 * height * depth) & (y < 1.1 * height * depth)
            kept[unseen[seen]] = True
            unseen, rest = unseen[~seen], rest[:, ~seen]
    return kept.reshape(side, side, side)


