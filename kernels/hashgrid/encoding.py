"""One signature for every backend of the hash encoding, and the choice among them."""

from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from kernels.hashgrid.layout import HashGridLayout
from kernels.hashgrid.reference import encode_reference

Backend = Literal["auto", "reference", "cpu", "cuda"]


def available_backends(device: torch.device | str = "cpu") -> tuple[str, ...]:
    """Backends that can run on ``device``, the fastest first."""
    kind = torch.device(device).type
    return (kind, "reference") if kind in ("cpu", "cuda") else ("reference",)


def encode(
    points: Float[Tensor, "points 3"],
    table: Float[Tensor, "entries features"],
    layout: HashGridLayout,
    backend: Backend = "auto",
    grad_buffer: Float[Tensor, "entries features"] | None = None,
) -> Float[Tensor, "points encoded"]:
    """Encode points of the unit cube (others are clamped to it) to ``[points, levels * features]``.

    Differentiable in ``table`` and ``points``; the ``cpu`` backend once, ``reference`` any number of times. The ``cuda`` backend
    (Triton) knows the table's gradient alone: ``auto`` takes the reference where points want theirs.

    Args:
        grad_buffer: the ``cpu`` backend adds the table's gradient here instead of returning a new array, so that a
            training step neither allocates nor clears tens of megabytes. The table's own ``grad`` then stays None.

    Raises:
        ValueError: if the table does not have the layout's shape, or the backend cannot run on its device.
    """
    if table.shape != (layout.entries, layout.features):
        raise ValueError(f"The table has shape {tuple(table.shape)}; this layout needs {(layout.entries, layout.features)}.")
    usable = available_backends(table.device)
    if backend == "auto":
        fast = table.dtype == torch.float32 and not (table.is_cuda and (points.requires_grad or layout.features not in (1, 2, 4, 8)))
        backend = usable[0] if fast else "reference"  # type: ignore[assignment]
    if backend not in usable:
        raise ValueError(f"Backend '{backend}' cannot run on {table.device}; choose one of {', '.join(usable)}.")
    if backend == "cpu":
        return _EncodeCpu.apply(points, table, layout, grad_buffer)  # type: ignore[no-any-return]
    if backend == "cuda":
        from kernels.hashgrid.cuda import EncodeCuda

        if points.requires_grad and torch.is_grad_enabled():
            raise ValueError("The 'cuda' backend has no gradient of the points; choose 'reference'.")
        return EncodeCuda.apply(points, table, layout)  # type: ignore[no-any-return]
    return encode_reference(points, table, layout)


class _EncodeCpu(torch.autograd.Function):
    """Autograd around the numba kernels of `kernels.hashgrid.cpu`."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, table: Tensor, layout: HashGridLayout, grad_buffer: Tensor | None) -> Tensor:
        from kernels.hashgrid import cpu

        points, table = points.detach().contiguous(), table.detach().contiguous()
        out = torch.empty(len(points), layout.output_features)
        cpu.forward(points.numpy(), table.numpy(), *_level_arrays(layout), out.numpy())
        ctx.save_for_backward(points, table)
        ctx.layout, ctx.grad_buffer = layout, grad_buffer
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        from kernels.hashgrid import cpu

        points, table = ctx.saved_tensors
        grad_out = grads[0].contiguous().numpy()
        grad_points = grad_table = None
        if ctx.needs_input_grad[0]:
            grad_points = torch.empty_like(points)
            cpu.backward_points(points.numpy(), table.numpy(), grad_out, *_level_arrays(ctx.layout), grad_points.numpy())
        if ctx.needs_input_grad[1]:
            target = torch.zeros_like(table) if ctx.grad_buffer is None else ctx.grad_buffer
            cpu.backward_table(points.numpy(), grad_out, *_level_arrays(ctx.layout), target.numpy())
            grad_table = target if ctx.grad_buffer is None else None
        return grad_points, grad_table, None, None


def _level_arrays(layout: HashGridLayout) -> tuple[Any, ...]:
    return layout.resolutions, layout.dense, layout.offsets[:-1], (1 << layout.log2_table_size) - 1
