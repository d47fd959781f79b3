"""One signature for every backend of the hash encoding, and the choice among them."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.hashgrid.layout import HASHES, HashGridLayout
from kernels.hashgrid.reference import encode_reference
from kernels.hashgrid.schedule import Arrival, Schedule
from kernels.machine import Machine
from kernels.ordering import morton_order

Backend = Literal["auto", "reference", "cpu", "cuda", "tcnn"]


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Backends that can run on ``device``, in the order in which ``auto`` would take them."""
    kind = torch.device(device).type
    if kind == "cuda":
        from kernels.cuda.compiler import can_compile
        from kernels.hashgrid.tcnn import available

        return (*(["cuda"] if can_compile() else []), "reference", *(["tcnn"] if available() else []))
    return (kind, "reference") if kind == "cpu" else ("reference",)


def encode(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries features"],
    layout: HashGridLayout,
    backend: Backend = "auto",
    grad_buffer: Float[Tensor, "entries features"] | None = None,
    schedule: Schedule | None = None,
    arrival: Arrival = "rays",
) -> Float[Tensor, "points encoded"]:
    """Encode points of the unit cube (others are clamped to it) to ``[points, levels * features]``, of the table's type.

    Differentiable in ``table`` and ``points``; ``cpu`` (numba) and ``cuda`` once, ``reference`` any number of times. Tables are
    float32 or, on a GPU, float16 as well. ``tcnn`` is tiny-cuda-nn, where it is installed; ``auto`` never takes it.

    Args:
        grad_buffer: ``cpu`` and ``cuda`` add the table's gradient here instead of returning a new array, so that a training
            step neither allocates nor clears tens of megabytes. The table's own ``grad`` then stays None. float32, or the
            table's type.
        schedule: how it is walked; chosen by `Schedule.auto` if not given. Values do not depend on it.
        arrival: how the points come, for that choice: along rays, or at random; those it may sort first.

    Raises:
        ValueError: if the table does not have the layout's shape, or the backend cannot run on its device.
    """
    if table.shape != (layout.entries, layout.features):
        raise ValueError(f"The table has shape {tuple(table.shape)}; this layout needs {(layout.entries, layout.features)}.")
    usable = available_backends(table.device)
    if backend == "auto":
        backend = usable[0] if _fast(table, layout) else "reference"  # type: ignore[assignment]
    if backend not in usable:
        raise ValueError(f"Backend '{backend}' cannot run on {table.device}; choose one of {', '.join(usable)}.")
    if backend == "cpu":
        schedule = schedule or Schedule.auto(layout, Machine.here(), arrival=arrival)
        return _EncodeCpu.apply(points, table, layout, grad_buffer, schedule)  # type: ignore[no-any-return]
    if backend == "cuda":
        from kernels.hashgrid.cuda import EncodeCuda

        if not _fast(table, layout):
            raise ValueError(f"The 'cuda' backend knows 1, 2, 4 or 8 features of float32 or float16, not {layout.features} of {table.dtype}; use 'reference'.")
        schedule = schedule or Schedule.auto(layout, Machine.here("cuda"), table.element_size(), table.element_size(), arrival)
        return EncodeCuda.apply(points, table, layout, schedule, grad_buffer)  # type: ignore[no-any-return]
    if backend == "tcnn":
        from kernels.hashgrid.tcnn import encode_tcnn

        return encode_tcnn(points, table, layout)
    return encode_reference(points, table, layout)


def _fast(table: Tensor, layout: HashGridLayout) -> bool:
    """Whether the device's own kernels know this table."""
    if table.is_cuda:
        from kernels.hashgrid.cuda import supports

        return supports(layout, table.dtype)
    return table.dtype == torch.float32


class _EncodeCpu(torch.autograd.Function):
    """Autograd around the numba kernels of `kernels.hashgrid.cpu`."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout, grad_buffer: Tensor | None, schedule: Schedule) -> Tensor:
        from kernels.hashgrid import cpu

        order = morton_order(points.detach()) if schedule.order == "morton" else None
        by_axis, table = _taken(points.detach(), order).T.contiguous(), table.detach().contiguous()
        out = torch.empty(len(points), layout.output_features)
        cpu.forward(by_axis.numpy(), table.view(-1).numpy(), *level_arrays(layout), schedule.tile, threads(), out.numpy())
        ctx.save_for_backward(by_axis, table, order)
        ctx.layout, ctx.grad_buffer, ctx.schedule = layout, grad_buffer, schedule
        return _put_back(out, order)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        from kernels.hashgrid import cpu

        by_axis, table, order = ctx.saved_tensors
        grad_out, arrays = _taken(grads[0], order).contiguous().numpy(), level_arrays(ctx.layout)
        grad_points = grad_table = None
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty(by_axis.shape[1], 3)
            cpu.backward_points(by_axis.numpy(), table.view(-1).numpy(), grad_out, *arrays, grad_points.numpy())
            grad_points = _put_back(grad_points, order)
        if ctx.needs_input_grad[1]:
            target = torch.zeros_like(table) if ctx.grad_buffer is None else ctx.grad_buffer
            cpu.backward_table(by_axis.numpy(), grad_out, *arrays, ctx.schedule.pieces, threads(), target.view(-1).numpy())
            grad_table = target if ctx.grad_buffer is None else None
        return grad_points, grad_table, None, None, None


def _taken(rows: Tensor, order: Tensor | None) -> Tensor:
    """Rows in the order that the kernels take them."""
    return rows if order is None else rows[order]


def _put_back(rows: Tensor, order: Tensor | None) -> Tensor:
    """Rows where they were before `_taken`."""
    return rows if order is None else torch.empty_like(rows).index_copy_(0, order, rows)


def threads() -> int:
    """Threads that the compiled kernels deal their work out to; they are told, for what asks by itself cannot be cached."""
    import numba

    return int(numba.get_num_threads())


def level_arrays(layout: HashGridLayout) -> tuple[Any, ...]:
    """What the compiled CPU kernels want to know of a layout."""
    return layout.features, layout.resolutions, layout.dense, layout.offsets[:-1], layout.mask, HASHES.index(layout.hash)
