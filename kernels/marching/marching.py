"""Ray marching through an occupancy grid: one signature, a compiled CPU path and a PyTorch twin for any device."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True)
class Spacing:
    """How samples are spaced along a ray, in normalised units."""

    step: float
    """Smallest step."""
    cone: float
    """Steps grow with distance ``t`` as ``max(step, cone * t)``: a pixel's footprint does, too."""
    contracted: bool
    """Whether the grid covers all of space through `contract`, or only the cube [-1, 1]^3."""


@dataclass(frozen=True)
class PackedSamples:
    """Samples of many rays, one ray after the other."""

    ray_offsets: Int[Tensor, "rays+1"]
    """Samples of ray ``i`` are ``ray_offsets[i]:ray_offsets[i + 1]``."""
    t_starts: Float[Tensor, "samples"]
    t_ends: Float[Tensor, "samples"]

    @property
    def counts(self) -> Int[Tensor, "rays"]:
        """Samples of each ray."""
        return self.ray_offsets[1:] - self.ray_offsets[:-1]

    @property
    def ray_indices(self) -> Int[Tensor, "samples"]:
        """Which ray each sample lies on."""
        rays = torch.arange(len(self.ray_offsets) - 1, device=self.ray_offsets.device)
        return torch.repeat_interleave(rays, self.counts, output_size=len(self.t_starts))


def contract(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """All of space into the cube [-2, 2]^3, leaving [-1, 1]^3 as it is (Barron et al. 2022 eq. 10, with the max norm)."""
    norm = points.abs().amax(-1, keepdim=True).clamp(min=1e-9)
    return torch.where(norm <= 1, points, (2 - 1 / norm) * (points / norm))


def unit_coordinates(points: Float[Tensor, "*n 3"], contracted: bool) -> Float[Tensor, "*n 3"]:
    """Normalised coordinates -> the unit cube in which grids are laid out."""
    return (contract(points) + 2) / 4 if contracted else (points + 1) / 2


def march(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    jitter: Float[Tensor, "rays"],
    occupied: Bool[Tensor, "side side side"],
    spacing: Spacing,
) -> PackedSamples:
    """Intervals between ``near`` and ``far`` whose middle lies in an occupied cell.

    Interval ``k`` starts at ``t_k``, with ``t_0 = near + jitter * step_0``. ``occupied[z, y, x]`` covers the unit cube of
    `unit_coordinates`. Rays, near, far and steps are in normalised units; directions have unit length.
    """
    if origins.device.type == "cpu":
        from kernels.marching import cpu

        arrays = [t.detach().contiguous().numpy() for t in (origins, directions, near, far, jitter)]
        grid = occupied.contiguous().numpy()
        counts = np.zeros(len(origins) + 1, np.int64)
        cpu.count(*arrays, grid, spacing.step, spacing.cone, spacing.contracted, counts)
        np.cumsum(counts, out=counts)
        starts, ends = np.empty(counts[-1], np.float32), np.empty(counts[-1], np.float32)
        cpu.fill(*arrays, grid, spacing.step, spacing.cone, spacing.contracted, counts, starts, ends)
        return PackedSamples(torch.from_numpy(counts), torch.from_numpy(starts), torch.from_numpy(ends))
    return march_reference(origins, directions, near, far, jitter, occupied, spacing)


@torch.no_grad()
def march_reference(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    jitter: Float[Tensor, "rays"],
    occupied: Bool[Tensor, "side side side"],
    spacing: Spacing,
) -> PackedSamples:
    """The twin of `march` in plain PyTorch: every step of every ray at once."""
    t = near + jitter * torch.clamp(near * spacing.cone, min=spacing.step)
    starts = []
    while bool((t < far).any()):
        starts.append(t)
        t = t + torch.clamp(t * spacing.cone, min=spacing.step)
    if not starts:
        starts = [t]
    t_starts = torch.stack(starts, dim=1)
    t_ends = t_starts + torch.clamp(t_starts * spacing.cone, min=spacing.step)
    middle = 0.5 * (t_starts + t_ends)
    unit = unit_coordinates(origins[:, None] + middle[..., None] * directions[:, None], spacing.contracted)
    side = occupied.shape[0]
    inside = ((unit >= 0) & (unit < 1)).all(-1) & (t_starts < far[:, None])
    cell = (unit * side).long().clamp(0, side - 1)
    kept = inside & occupied[cell[..., 2], cell[..., 1], cell[..., 0]]
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=origins.device)
    offsets[1:] = kept.sum(1).cumsum(0)
    return PackedSamples(offsets, t_starts[kept], t_ends[kept])
