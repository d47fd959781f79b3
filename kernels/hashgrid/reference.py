"""The hash encoding in plain PyTorch: slow, on any device, differentiable twice; the twin every backend is held to."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.hashgrid.layout import PRIMES, HashGridLayout
from kernels.ordering import morton


def vertex_index(vertices: Int[Tensor, "*batch 3"], level: int, layout: HashGridLayout) -> Int[Tensor, "*batch"]:
    """Table row (within the level) of integer grid vertices: row-major where dense, else the layout's hash modulo T."""
    side = int(layout.resolutions[level]) + 1
    x, y, z = vertices.unbind(-1)
    if layout.dense[level]:
        return x + side * (y + side * z)
    if layout.hash == "coherent_prime":
        mixed = (x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])
    elif layout.hash == "morton":
        mixed = morton(vertices)
    else:
        block = ((x >> 3) * PRIMES[0]) ^ ((y >> 3) * PRIMES[1]) ^ ((z >> 3) * PRIMES[2])
        mixed = (block << 9) | morton(vertices & 7)
    return mixed & layout.mask


def encode_reference(
    points: Float[Tensor, "points 3"], table: Float[Tensor, "entries features"], layout: HashGridLayout
) -> Float[Tensor, "points encoded"]:
    """Trilinear interpolation of every level's eight corners, concatenated level by level.

    ``points`` lie in the unit cube; those outside are clamped to it.
    """
    points = points.clamp(0.0, 1.0)
    encoded = []
    for level in range(layout.levels):
        resolution = int(layout.resolutions[level])
        scaled = points * resolution
        cell = scaled.detach().floor().clamp(0, resolution - 1)
        fraction = scaled - cell
        base = cell.long()
        total = torch.zeros(len(points), layout.features, dtype=table.dtype, device=table.device)
        for corner in range(8):
            offset = torch.tensor([corner & 1, (corner >> 1) & 1, corner >> 2], device=points.device)
            weight = torch.where(offset.bool(), fraction, 1 - fraction).prod(-1, keepdim=True)
            rows = vertex_index(base + offset, level, layout) + int(layout.offsets[level])
            total = total + weight * table[rows]
        encoded.append(total)
    return torch.cat(encoded, dim=-1)
