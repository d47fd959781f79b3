"""The encoding on NVIDIA GPUs: launches of `hashgrid.cu`."""

from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kernels.cuda.compiler import Kernel, kernel, multiprocessors
from kernels.hashgrid.layout import HASHES, HashGridLayout
from kernels.hashgrid.schedule import Schedule
from kernels.ordering import morton, morton_order

_SOURCE = Path(__file__).with_name("hashgrid.cu")
_MAX_SHARED = 227 * 1024


def supports(layout: HashGridLayout, dtype: torch.dtype) -> bool:
    """Whether there are kernels for tables of this layout and type."""
    return layout.features in (1, 2, 4, 8) and dtype in (torch.float32, torch.float16) and layout.entries * layout.features < 2**31


@lru_cache(maxsize=32)
def _levels(layout: HashGridLayout, device: torch.device) -> Tensor:
    """Resolution, whether dense, first row, mask: of every level."""
    rows = [layout.resolutions, layout.dense, layout.offsets[:-1], np.full(layout.levels, layout.mask)]
    return torch.from_numpy(np.stack([r.astype(np.int32) for r in rows], axis=1)).to(device)


def _kernel(name: str, layout: HashGridLayout, schedule: Schedule, table: torch.dtype, gradient: torch.dtype, merge: str = "warp") -> Kernel:
    together = max(g for g in range(1, min(schedule.forward_levels, 64 // layout.features, layout.levels) + 1) if layout.levels % g == 0)
    return kernel(_SOURCE, name, {
        "L": layout.levels, "F": layout.features, "HASH": HASHES.index(layout.hash), "G": together if name == "encode" else 1,
        "HALF": table == torch.float16, "HALF_GRAD": gradient == torch.float16, "PAIRS": schedule.pairs, "MERGE": merge != "none",
        "LEVELS_FIRST": schedule.backward_walking == "point-major", "BLOCK": schedule.block,
    })  # fmt: skip


def forward(
    points: Tensor, table: Tensor, layout: HashGridLayout, schedule: Schedule, out: Tensor, count: Tensor | None = None, order: Tensor | None = None
) -> None:
    """Fill ``out [points, levels * features]``, of the table's type.

    Args:
        count: how many of the points there really are, an int32 on the device; the rest of ``out`` is left alone.
        order: a permutation, int32, in which the points are taken (`order_of`); where they lie does not change.
    """
    if len(points) == 0:
        return
    run = _kernel("encode", layout, schedule, table.dtype, table.dtype)
    together = max(g for g in range(1, min(schedule.forward_levels, 64 // layout.features, layout.levels) + 1) if layout.levels % g == 0)
    blocks = -(-len(points) // schedule.block)
    run((blocks, layout.levels // together), schedule.block, points, table, _levels(layout, points.device), out, len(points), count, order)


def order_of(points: Tensor, schedule: Schedule) -> Tensor | None:
    """The order that a schedule wants the points to be taken in; None as they come."""
    return morton_order(points).int() if schedule.order == "morton" else None


def backward_table(
    points: Tensor, grad: Tensor, layout: HashGridLayout, schedule: Schedule, out: Tensor, count: Tensor | None = None, order: Tensor | None = None
) -> None:
    """Add the table's gradient to ``out [entries, features]``; ``grad`` is of the table's type, ``out`` of that or float32."""
    if len(points) == 0:
        return
    levels, blocks = _levels(layout, points.device), -(-len(points) // schedule.block)
    for merge, group in groupby(range(layout.levels), key=schedule.merge):
        chosen = list(group)
        arguments = (points, grad, levels, out, len(points), chosen[0], count)
        if merge == "private":
            entries = int(max((layout.resolutions[chosen] + 1) ** 3))
            shared = entries * layout.features * 4
            if not layout.dense[chosen].all() or shared > _MAX_SHARED:
                raise ValueError(f"Levels {chosen} do not fit into shared memory; merge them by 'warp'.")
            run = _kernel("encode_backward_private", layout, schedule, grad.dtype, out.dtype)
            run((max(multiprocessors() * (_MAX_SHARED // max(shared, _MAX_SHARED // 2)) // len(chosen), 1), len(chosen)), 1024, *arguments, shared=shared)
        elif merge == "sort":
            run = _kernel("encode_backward", layout, schedule, grad.dtype, out.dtype, merge)
            for level in chosen:
                cells = _by_cell(points, int(layout.resolutions[level]), count)
                grid = (1, blocks) if schedule.backward_walking == "point-major" else (blocks, 1)
                run(grid, schedule.block, points, grad, levels, out, len(points), level, count, cells)
        else:
            run = _kernel("encode_backward", layout, schedule, grad.dtype, out.dtype, merge)
            grid = (len(chosen), blocks) if schedule.backward_walking == "point-major" else (blocks, len(chosen))
            run(grid, schedule.block, *arguments, order)


def _by_cell(points: Tensor, resolution: int, count: Tensor | None) -> Tensor:
    """Points sorted by their cell of one level, int32; those that do not count come last."""
    keys = morton((points.clamp(0, 1) * resolution).long().clamp(max=resolution - 1)).int()
    if count is not None:
        keys = torch.where(torch.arange(len(points), device=points.device) < count[0], keys, torch.iinfo(torch.int32).max)
    return keys.sort()[1].int()


def backward_points(points: Tensor, table: Tensor, grad: Tensor, layout: HashGridLayout, schedule: Schedule, out: Tensor, order: Tensor | None = None) -> None:
    """Fill ``out [points, 3]``; zero along an axis on which a point was clamped."""
    if len(points):
        run = _kernel("encode_backward_points", layout, schedule, table.dtype, table.dtype)
        run((-(-len(points) // schedule.block),), schedule.block, points, table, grad, _levels(layout, points.device), out, len(points), order)


def adam_touched(master: Tensor, copy: Tensor | None, grad: Tensor, moments: tuple[Tensor, Tensor], rates: Tensor) -> None:
    """One step on entries whose gradient is not zero; clears it. ``copy`` is the half-precision table that is read, if there is one.

    Args:
        rates: learning rate with the bias corrected, beta1, beta2, epsilon: float32 on the device.
    """
    run = kernel(_SOURCE, "adam_touched", {
        "L": 1, "F": 4, "HASH": 0, "G": 1, "HALF": copy is not None, "HALF_GRAD": grad.dtype == torch.float16, "PAIRS": 0, "MERGE": 0,
        "LEVELS_FIRST": 0, "BLOCK": 256,
    })  # fmt: skip
    quads = master.numel() // 4
    run((-(-quads // 256),), 256, master, copy, grad, *moments, rates, quads)


class EncodeCuda(torch.autograd.Function):
    """`encoding.encode` around these kernels; differentiable once."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout, schedule: Schedule, grad_buffer: Tensor | None) -> Tensor:
        points, table = points.detach().float().contiguous(), table.detach().contiguous()
        order = order_of(points, schedule)
        out = torch.empty(len(points), layout.output_features, device=points.device, dtype=table.dtype)
        forward(points, table, layout, schedule, out, order=order)
        ctx.save_for_backward(points, table, order)
        ctx.layout, ctx.schedule, ctx.grad_buffer = layout, schedule, grad_buffer
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        points, table, order = ctx.saved_tensors
        grad, grad_points, grad_table = grads[0].to(table.dtype).contiguous(), None, None
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty_like(points)
            backward_points(points, table, grad, ctx.layout, ctx.schedule, grad_points, order)
        if ctx.needs_input_grad[1]:
            target = torch.zeros_like(table) if ctx.grad_buffer is None else ctx.grad_buffer
            backward_table(points, grad, ctx.layout, ctx.schedule, target, order=order)
            grad_table = target if ctx.grad_buffer is None else None
        return grad_points, grad_table, None, None, None
