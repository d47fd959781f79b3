"""Importance sampling along rays from a coarse density grid: a compiled CPU path and a PyTorch twin for any device.

A ray is walked in coarse steps. Steps in empty cells are skipped; the others get the weight that the grid's density
gives them (as in `kernels.compositing`), mixed with a uniform share so that nothing is ruled out for good. Samples are
drawn from that distribution by its inverse, one per equal share of probability: where the grid knows a surface, they
crowd to many times the grid's resolution. It serves as a proposal network (Barron et al. 2022) that needs no training.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from kernels.cuda.compiler import can_compile, kernel
from kernels.sampling.grid import unit_coordinates

SOURCE = Path(__file__).with_name("sampling.cu")


@dataclass(frozen=True)
class Spacing:
    """How rays are walked and how densely they are sampled, in normalised units."""

    step: float
    """Smallest coarse step; about the side of a grid cell."""
    cone: float
    """Coarse steps grow with distance ``t`` as ``max(step, cone * t)``: a pixel's footprint does, too."""
    samples: int
    """Most samples a ray."""
    finest: float
    """No ray is sampled more finely than this over the length of its occupied steps, as a fraction of ``step``."""
    uniform: float
    """Share of the samples spread evenly over the occupied steps."""
    contracted: bool
    """Whether the grid covers all of space through `contract`, or only the cube [-1, 1]^3."""


@dataclass(frozen=True)
class PackedSamples:
    """Samples of many rays, one ray after the other, each standing for a stretch of its ray."""

    ray_offsets: Int[Tensor, "offsets"]
    """Samples of ray ``i`` are ``ray_offsets[i]:ray_offsets[i + 1]``."""
    positions: Float[Tensor, "samples"]
    """Distance of each sample along its ray."""
    lengths: Float[Tensor, "samples"]
    """Length of the stretch that it stands for, skipped cells not counted."""

    @property
    def ray_indices(self) -> Int[Tensor, "samples"]:
        """Which ray each sample lies on."""
        counts = self.ray_offsets[1:] - self.ray_offsets[:-1]
        rays = torch.arange(len(counts), device=counts.device)
        return torch.repeat_interleave(rays, counts, output_size=len(self.positions))


def sample_rays(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    jitter: Float[Tensor, "rays"],
    density: Float[Tensor, "side side side"],
    spacing: Spacing,
    occupied: UInt8[Tensor, "bytes"] | None = None,
) -> PackedSamples:
    """Sample rays where ``density[z, y, x]`` over the unit cube of `unit_coordinates` says that they meet something.

    Args:
        directions: of unit length; everything in normalised units.
        jitter: 0 to 1, where in its share of probability a ray's samples lie; 0.5 is the middle.
        density: zero where a cell is known to be empty.
        occupied: `occupied_bits` of the density, for callers who sample by it more than once.
    """
    if origins.device.type == "cuda" and can_compile() and spacing.samples <= 512:
        return _sample_rays_cuda(origins, directions, near, far, jitter, density, spacing)
    if origins.device.type != "cpu":
        return sample_rays_reference(origins, directions, near, far, jitter, density, spacing)
    from kernels.sampling import cpu

    bits = occupied_bits(density) if occupied is None else occupied
    arrays = [t.detach().contiguous().numpy() for t in (origins, directions, near, far, jitter)]
    counts = np.zeros(len(origins), np.int64)
    positions = np.empty((len(origins), spacing.samples), np.float32)
    lengths = np.empty((len(origins), spacing.samples), np.float32)
    cpu.sample(
        *arrays, density.contiguous().numpy(), bits.numpy(), spacing.step, spacing.cone, spacing.finest, spacing.uniform, spacing.contracted,
        counts, positions, lengths,
    )  # fmt: skip
    kept = np.arange(spacing.samples) < counts[:, None]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    return PackedSamples(torch.from_numpy(offsets), torch.from_numpy(positions[kept]), torch.from_numpy(lengths[kept]))


def occupied_bits(density: Float[Tensor, "side side side"]) -> UInt8[Tensor, "bytes"]:
    """A bit for every cell, in the order of memory: whether its density is above zero."""
    return torch.from_numpy(np.packbits((density > 0).cpu().numpy()))


def _sample_rays_cuda(
    origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, jitter: Tensor, density: Tensor, spacing: Spacing
) -> PackedSamples:
    arrays = [t.detach().float().contiguous() for t in (origins, directions, near, far, jitter, density)]
    rays, device = len(origins), origins.device
    counts = torch.zeros(rays, dtype=torch.int64, device=device)
    positions, lengths = torch.empty(rays, spacing.samples, device=device), torch.empty(rays, spacing.samples, device=device)
    if rays:
        most = -(-spacing.samples // 32) * 32
        kernel(SOURCE, "sample_rays", {"MOST": most, "CONTRACTED": spacing.contracted, "TRANSPARENT": 0})(
            (-(-rays // 4),), 128, *arrays, spacing.step, spacing.cone, spacing.finest, spacing.uniform, spacing.samples, density.shape[0],
            rays, counts, positions, lengths,
        )  # fmt: skip
    kept = torch.arange(spacing.samples, device=device) < counts[:, None]
    offsets = torch.zeros(rays + 1, dtype=torch.int64, device=device)
    offsets[1:] = counts.cumsum(0)
    return PackedSamples(offsets, positions[kept], lengths[kept])


@torch.no_grad()
def sample_rays_reference(
    origins: Float[Tensor, "rays 3"],
    directions: Float[Tensor, "rays 3"],
    near: Float[Tensor, "rays"],
    far: Float[Tensor, "rays"],
    jitter: Float[Tensor, "rays"],
    density: Float[Tensor, "side side side"],
    spacing: Spacing,
) -> PackedSamples:
    """The twin of `sample_rays` in plain PyTorch: every step of every ray at once."""
    edges = [near]
    while bool((edges[-1] < far).any()):
        edges.append(edges[-1] + torch.clamp(edges[-1] * spacing.cone, min=spacing.step))
    if len(edges) < 2:
        edges.append(near)
    t = torch.stack(edges, dim=1)
    starts, middle = t[:, :-1], 0.5 * (t[:, :-1] + t[:, 1:])
    unit = unit_coordinates(origins[:, None] + middle[..., None] * directions[:, None], spacing.contracted)
    inside = ((unit >= 0) & (unit < 1)).all(-1) & (starts < far[:, None])
    side = density.shape[0]
    cell = (unit * side).long().clamp(0, side - 1)
    sigma = torch.where(inside, density[cell[..., 2], cell[..., 1], cell[..., 0]], torch.zeros_like(middle))
    length = torch.where(sigma > 0, t[:, 1:] - starts, torch.zeros_like(middle))
    tau = sigma * length
    before = tau.cumsum(1) - tau
    weight = torch.exp(-before) * -torch.expm1(-tau)
    shares = length / (length + middle * (sigma > 0)).clamp(min=1e-12)  # of disparity-like length: far steps are long
    mass = weight.sum(1, keepdim=True)
    known = (1 - spacing.uniform) * mass.clamp(max=1.0)
    p = known * weight / mass.clamp(min=1e-12) + (1 - known) * shares / shares.sum(1, keepdim=True).clamp(min=1e-12)
    total = length.sum(1)
    counts = torch.ceil(total / (spacing.step * spacing.finest) - 0.01).clamp(max=spacing.samples).long() * (total > 0)
    cdf = torch.cat([torch.zeros_like(p[:, :1]), p.cumsum(1)], dim=1)
    cdf = cdf / cdf[:, -1:].clamp(min=1e-12)
    arc = torch.cat([torch.zeros_like(p[:, :1]), length.cumsum(1)], dim=1)
    k = torch.arange(spacing.samples + 1, device=t.device)
    n = counts.clamp(min=1)[:, None]

    def inverse(u: Tensor) -> tuple[Tensor, Tensor]:
        """Distance and occupied arc length at cumulative probabilities ``u``."""
        i = (torch.searchsorted(cdf, u.contiguous(), right=True) - 1).clamp(0, p.shape[1] - 1)
        # A step without probability has no inverse: take the last one before it that has.
        width = (cdf.gather(1, i + 1) - cdf.gather(1, i)).clamp(min=1e-12)
        f = ((u - cdf.gather(1, i)) / width).clamp(0, 1)
        return starts.gather(1, i) + f * length.gather(1, i), arc.gather(1, i) + f * length.gather(1, i)

    _, bounds = inverse((k / n).clamp(max=1.0))
    bounds = torch.where(k >= n, arc[:, -1:], bounds)
    positions, _ = inverse((k[:-1] + jitter[:, None]) / n)
    kept = k[:-1] < counts[:, None]
    offsets = torch.zeros(len(origins) + 1, dtype=torch.int64, device=t.device)
    offsets[1:] = counts.cumsum(0)
    return PackedSamples(offsets, positions[kept], (bounds[:, 1:] - bounds[:, :-1])[kept])
