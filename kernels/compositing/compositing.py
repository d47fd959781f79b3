"""Weights, sums and distortion along packed rays, each with its PyTorch twin.

Samples of ray ``r`` are ``ray_offsets[r]:ray_offsets[r + 1]``. With optical depths ``tau_i = sigma_i * delta_i``::

    alpha_i  = 1 - exp(-tau_i)
    trans_i  = exp(-sum_{j < i} tau_j)
    weight_i = trans_i * alpha_i
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.cuda.compiler import can_compile, kernel

SOURCE = Path(__file__).with_name("compositing.cu")


def render_weights(
    optical_depths: Float[Tensor, "samples"], ray_offsets: Int[Tensor, "offsets"]
) -> Float[Tensor, "samples"]:
    """Weight of every sample; those of a ray sum to at most one. Differentiable.

    Example: optical depths ``[0.693, 0.693]`` on one ray give weights ``[0.5, 0.25]``.
    """
    if optical_depths.device.type == "cpu":
        return _WeightsCpu.apply(optical_depths, ray_offsets)  # type: ignore[no-any-return]
    if optical_depths.is_cuda and can_compile() and optical_depths.dtype == torch.float32:
        return _WeightsCuda.apply(optical_depths, ray_offsets)  # type: ignore[no-any-return]
    return render_weights_reference(optical_depths, ray_offsets)


def render_weights_reference(
    optical_depths: Float[Tensor, "samples"], ray_offsets: Int[Tensor, "offsets"]
) -> Float[Tensor, "samples"]:
    """The twin of `render_weights`: one running sum over all samples, in double precision, minus its value at each ray's start."""
    total = optical_depths.double().cumsum(0)
    before = torch.cat([total.new_zeros(1), total])
    counts = ray_offsets[1:] - ray_offsets[:-1]
    at_start = torch.repeat_interleave(before[ray_offsets[:-1]], counts, output_size=len(optical_depths))
    transmittance = torch.exp(-(before[:-1] - at_start)).to(optical_depths.dtype)
    return transmittance * -torch.expm1(-optical_depths)


def accumulate(
    weights: Float[Tensor, "samples"], values: Float[Tensor, "samples channels"], ray_indices: Int[Tensor, "samples"], rays: int
) -> Float[Tensor, "rays channels"]:
    """Weighted sum of the samples of every ray; rays without samples get zero."""
    out = torch.zeros(rays, values.shape[1], dtype=values.dtype, device=values.device)
    return out.index_add(0, ray_indices, weights[:, None] * values)


def distortion(
    weights: Float[Tensor, "samples"],
    positions: Float[Tensor, "samples"],
    lengths: Float[Tensor, "samples"],
    ray_offsets: Int[Tensor, "offsets"],
) -> Float[Tensor, "rays"]:
    """``sum_ij w_i w_j |s_i - s_j| + 1/3 sum_i w_i^2 d_i`` of every ray (Barron et al. 2022, eq. 15), in linear time.

    Args:
        positions: middles of the intervals, ascending along each ray.
        lengths: lengths of the intervals.
    """
    if weights.device.type == "cpu":
        return _DistortionCpu.apply(weights, positions, lengths, ray_offsets)  # type: ignore[no-any-return]
    return distortion_reference(weights, positions, lengths, ray_offsets)


def distortion_reference(
    weights: Float[Tensor, "samples"],
    positions: Float[Tensor, "samples"],
    lengths: Float[Tensor, "samples"],
    ray_offsets: Int[Tensor, "offsets"],
) -> Float[Tensor, "rays"]:
    """The twin of `distortion`: prefix sums (Sun et al. 2022) over all samples, reset at each ray's start."""
    counts = ray_offsets[1:] - ray_offsets[:-1]

    def before(values: Tensor) -> Tensor:
        total = torch.cat([values.new_zeros(1, dtype=torch.float64), values.double().cumsum(0)])
        at_start = torch.repeat_interleave(total[ray_offsets[:-1]], counts, output_size=len(values))
        return total[:-1] - at_start

    pairs = 2 * weights * (positions * before(weights) - before(weights * positions)).to(weights.dtype)
    terms = pairs + weights.square() * lengths / 3
    indices = torch.repeat_interleave(torch.arange(len(counts), device=weights.device), counts, output_size=len(weights))
    return torch.zeros(len(counts), dtype=weights.dtype, device=weights.device).index_add(0, indices, terms)


class _WeightsCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, optical_depths: Tensor, ray_offsets: Tensor) -> Tensor:
        from kernels.compositing import cpu

        tau = optical_depths.detach().contiguous()
        weights = torch.empty_like(tau)
        cpu.weights_forward(tau.numpy(), ray_offsets.numpy(), weights.numpy())
        ctx.save_for_backward(tau, weights, ray_offsets)
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        from kernels.compositing import cpu

        tau, weights, ray_offsets = ctx.saved_tensors
        out = torch.empty_like(tau)
        cpu.weights_backward(tau.numpy(), weights.numpy(), ray_offsets.numpy(), grads[0].contiguous().numpy(), out.numpy())
        return out, None


class _WeightsCuda(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, optical_depths: Tensor, ray_offsets: Tensor) -> Tensor:
        tau, rays = optical_depths.detach().contiguous(), len(ray_offsets) - 1
        weights = torch.empty_like(tau)
        if rays:
            kernel(SOURCE, "weights_forward")((-(-rays // 4),), 128, tau, ray_offsets, weights, rays)
        ctx.save_for_backward(tau, weights, ray_offsets)
        return weights

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        tau, weights, ray_offsets = ctx.saved_tensors
        out, rays = torch.empty_like(tau), len(ray_offsets) - 1
        if rays:
            kernel(SOURCE, "weights_backward")((-(-rays // 4),), 128, tau, weights, ray_offsets, grads[0].contiguous(), out, rays)
        return out, None


class _DistortionCpu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, positions: Tensor, lengths: Tensor, ray_offsets: Tensor) -> Tensor:
        from kernels.compositing import cpu

        arrays = [t.detach().contiguous() for t in (weights, positions, lengths)]
        loss = torch.empty(len(ray_offsets) - 1, dtype=weights.dtype)
        gradient = torch.empty_like(arrays[0])
        cpu.distortion(*(a.numpy() for a in arrays), ray_offsets.numpy(), loss.numpy(), gradient.numpy())
        ctx.save_for_backward(gradient, ray_offsets)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        gradient, ray_offsets = ctx.saved_tensors
        counts = ray_offsets[1:] - ray_offsets[:-1]
        return gradient * torch.repeat_interleave(grads[0], counts, output_size=len(gradient)), None, None, None
