"""Triton: a program takes a block of samples and walks through their views twice, the second time in the cache."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 32


@triton.jit
def _mean(X, W, row, live, step, V: tl.constexpr, c, wide, BL: tl.constexpr, P: tl.constexpr):
    mean = tl.zeros((BL, P), tl.float32)
    for v in range(V):
        w = tl.load(W + row * V + v, mask=live, other=0.0).to(tl.float32)
        mean += w[:, None] * tl.load(X + (row * V + v)[:, None] * step + c, mask=wide, other=0.0).to(tl.float32)
    return mean


@triton.jit
def _forward(X, W, OUT, rows, step, V: tl.constexpr, D: tl.constexpr, P: tl.constexpr, BL: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * BL + tl.arange(0, BL)
    live = row < rows
    c = tl.arange(0, P)[None, :]
    wide = live[:, None] & (c < D)
    mean = _mean(X, W, row, live, step, V, c, wide, BL, P)
    spread = tl.zeros((BL, P), tl.float32)
    for v in range(V):
        w = tl.load(W + row * V + v, mask=live, other=0.0).to(tl.float32)
        off = tl.load(X + (row * V + v)[:, None] * step + c, mask=wide, other=0.0).to(tl.float32) - mean
        spread += w[:, None] * off * off
    out = OUT + row[:, None] * (2 * D) + c
    tl.store(out, mean, mask=wide)
    tl.store(out + D, spread, mask=wide)


@triton.jit
def _backward(X, W, GRAD, DX, DW, rows, step, V: tl.constexpr, D: tl.constexpr, P: tl.constexpr, BL: tl.constexpr):
    """The weights sum to one, so that the mean's own change leaves the variance alone."""
    row = tl.program_id(0).to(tl.int64) * BL + tl.arange(0, BL)
    live = row < rows
    c = tl.arange(0, P)[None, :]
    wide = live[:, None] & (c < D)
    mean = _mean(X, W, row, live, step, V, c, wide, BL, P)
    of_mean = tl.load(GRAD + row[:, None] * (2 * D) + c, mask=wide, other=0.0).to(tl.float32)
    of_spread = tl.load(GRAD + row[:, None] * (2 * D) + D + c, mask=wide, other=0.0).to(tl.float32)
    for v in range(V):
        w = tl.load(W + row * V + v, mask=live, other=0.0).to(tl.float32)
        x = tl.load(X + (row * V + v)[:, None] * step + c, mask=wide, other=0.0).to(tl.float32)
        off = tl.where(wide, x - mean, 0.0)
        tl.store(DX + (row * V + v)[:, None] * D + c, w[:, None] * (of_mean + 2 * off * of_spread), mask=wide)
        tl.store(DW + row * V + v, tl.sum(x * of_mean + off * off * of_spread, 1), mask=live)


class Pooled(torch.autograd.Function):
    """`pooling.pooled`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor) -> Tensor:
        n, s, v, d = x.shape
        step = x.stride(2)
        # Features cut out of wider tokens are read where they lie.
        if x.stride(1) != v * step or x.stride(0) != s * v * step:
            x = x.contiguous()
            step = d
        weights = weights.contiguous()
        out = torch.empty(n, s, 2 * d, device=x.device, dtype=x.dtype)
        if n * s:
            _forward[(triton.cdiv(n * s, BLOCK),)](x, weights, out, n * s, step, v, d, triton.next_power_of_2(d), BLOCK)
        ctx.save_for_backward(x, weights)
        ctx.step = step
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        x, weights = ctx.saved_tensors
        n, s, v, d = x.shape
        dx, dw = torch.empty(n, s, v, d, device=x.device, dtype=x.dtype), torch.empty_like(weights)
        if n * s:
            _backward[(triton.cdiv(n * s, BLOCK),)](x, weights, grads[0].contiguous(), dx, dw, n * s, ctx.step, v, d, triton.next_power_of_2(d), BLOCK)
        return dx, dw
