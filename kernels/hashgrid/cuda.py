"""Triton: a program takes a block of points and one level; corners are computed, never stored."""

from functools import lru_cache
from typing import Any

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.hashgrid.layout import HashGridLayout

BLOCK = 256


@triton.jit
def _corner(corner: tl.constexpr, ix, iy, iz, fx, fy, fz, side, dense, mask):
    """Row within the level and weight of one corner: bit 0 is x, 1 is y, 2 is z."""
    bx: tl.constexpr = corner & 1
    by: tl.constexpr = (corner >> 1) & 1
    bz: tl.constexpr = corner >> 2
    x = ix + bx
    y = iy + by
    z = iz + bz
    hashed = (x.to(tl.uint32) ^ (y.to(tl.uint32) * 2654435761) ^ (z.to(tl.uint32) * 805459861)).to(tl.int64) & mask
    row = tl.where(dense != 0, x.to(tl.int64) + side * (y.to(tl.int64) + side * z.to(tl.int64)), hashed)
    weight = (fx if bx else 1 - fx) * (fy if by else 1 - fy) * (fz if bz else 1 - fz)
    return row, weight


@triton.jit
def _axis(POINTS, i, live, axis: tl.constexpr, resolution):
    """Cell along one axis, and the place in it."""
    scaled = tl.minimum(tl.maximum(tl.load(POINTS + i * 3 + axis, mask=live, other=0.0), 0.0), 1.0) * resolution
    cell = tl.minimum(tl.floor(scaled), resolution - 1.0)
    return cell.to(tl.int32), scaled - cell


@triton.jit
def _cells(POINTS, LEVELS, n, BL: tl.constexpr):
    """The program's points and whether they exist; first row of its level, side of its grid, whether it is dense; their cells."""
    i = tl.program_id(0).to(tl.int64) * BL + tl.arange(0, BL)
    live = i < n
    row = LEVELS + tl.program_id(1) * 3
    resolution = tl.load(row)
    ix, fx = _axis(POINTS, i, live, 0, resolution.to(tl.float32))
    iy, fy = _axis(POINTS, i, live, 1, resolution.to(tl.float32))
    iz, fz = _axis(POINTS, i, live, 2, resolution.to(tl.float32))
    return i, live, tl.load(row + 2), resolution + 1, tl.load(row + 1), ix, iy, iz, fx, fy, fz


@triton.jit
def _forward(POINTS, TABLE, LEVELS, OUT, n, mask, L: tl.constexpr, F: tl.constexpr, BL: tl.constexpr):
    i, live, offset, side, dense, ix, iy, iz, fx, fy, fz = _cells(POINTS, LEVELS, n, BL)
    f = tl.arange(0, F)[None, :]
    total = tl.zeros((BL, F), tl.float32)
    for corner in tl.static_range(8):
        row, weight = _corner(corner, ix, iy, iz, fx, fy, fz, side, dense, mask)
        total += weight[:, None] * tl.load(TABLE + (offset + row)[:, None] * F + f, mask=live[:, None], other=0.0)
    tl.store(OUT + i[:, None] * (L * F) + tl.program_id(1) * F + f, total, mask=live[:, None])


@triton.jit
def _backward(POINTS, GRAD, LEVELS, DTABLE, n, mask, L: tl.constexpr, F: tl.constexpr, BL: tl.constexpr):
    i, live, offset, side, dense, ix, iy, iz, fx, fy, fz = _cells(POINTS, LEVELS, n, BL)
    f = tl.arange(0, F)[None, :]
    grad = tl.load(GRAD + i[:, None] * (L * F) + tl.program_id(1) * F + f, mask=live[:, None], other=0.0)
    for corner in tl.static_range(8):
        row, weight = _corner(corner, ix, iy, iz, fx, fy, fz, side, dense, mask)
        tl.atomic_add(DTABLE + (offset + row)[:, None] * F + f, weight[:, None] * grad, mask=live[:, None])


@lru_cache(maxsize=32)
def _levels(layout: HashGridLayout, device: torch.device) -> Tensor:
    """Resolution, whether dense, first row: of every level."""
    return torch.from_numpy(np.stack([layout.resolutions, layout.dense.astype(np.int64), layout.offsets[:-1]], axis=1)).to(device)


class EncodeCuda(torch.autograd.Function):
    """`encoding.encode` for single-precision tables of 1, 2, 4 or 8 features; gradients of the table alone."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
        points, table = points.detach().float().contiguous(), table.detach().contiguous()
        out = torch.empty(len(points), layout.output_features, device=points.device)
        levels = _levels(layout, points.device)
        if len(points):
            _forward[(triton.cdiv(len(points), BLOCK), layout.levels)](
                points, table, levels, out, len(points), (1 << layout.log2_table_size) - 1, layout.levels, layout.features, BLOCK
            )
        ctx.save_for_backward(points, levels)
        ctx.layout = layout
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        points, levels = ctx.saved_tensors
        layout: HashGridLayout = ctx.layout
        out = torch.zeros(layout.entries, layout.features, device=points.device)
        if len(points):
            _backward[(triton.cdiv(len(points), BLOCK), layout.levels)](
                points, grads[0].float().contiguous(), levels, out, len(points), (1 << layout.log2_table_size) - 1, layout.levels, layout.features, BLOCK
            )
        return None, out, None
