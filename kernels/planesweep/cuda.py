"""Triton: projection, bilinear gather and group-wise product in one pass, forwards and backwards.

Nothing of size channels x depths is ever stored: gathered features live in registers. The gradient recomputes them.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor


@triton.jit
def _place(H, z, x, y, w, h, scale):
    """Level coordinates in the neighbour and whether the point is seen."""
    qx = z * (tl.load(H) * x + tl.load(H + 1) * y + tl.load(H + 2)) + tl.load(H + 3)
    qy = z * (tl.load(H + 4) * x + tl.load(H + 5) * y + tl.load(H + 6)) + tl.load(H + 7)
    qz = z * (tl.load(H + 8) * x + tl.load(H + 9) * y + tl.load(H + 10)) + tl.load(H + 11)
    safe = tl.maximum(qz, 1e-6)
    u = qx / safe / scale
    v = qy / safe / scale
    seen = (qz > 1e-6) & (u > 0) & (u < w) & (v > 0) & (v < h)
    u = tl.minimum(tl.maximum(u - 0.5, 0.0), w - 1.0)
    v = tl.minimum(tl.maximum(v - 0.5, 0.0), h - 1.0)
    return u, v, seen


@triton.jit
def _corners(u, v, start, w, h):
    """Rows of the four features around a level coordinate, and their bilinear weights: columns, ready for the channels."""
    x0 = tl.floor(u)
    y0 = tl.floor(v)
    fx = (u - x0)[:, None]
    fy = (v - y0)[:, None]
    i = (start + y0.to(tl.int64) * w + x0.to(tl.int64))[:, None]
    dx = tl.where(x0 + 1 < w, 1, 0)[:, None]
    dy = (tl.where(y0 + 1 < h, 1, 0) * w)[:, None]
    return i, i + dx, i + dy, i + dx + dy, (1 - fx) * (1 - fy), fx * (1 - fy), (1 - fx) * fy, fx * fy


@triton.jit
def _forward(F, REF, NBR, HOM, Z, OUT, SEEN, K, D, h, w, scale, C: tl.constexpr, G: tl.constexpr, BL: tl.constexpr):
    rk = tl.program_id(1)
    r = rk // K
    P = h * w
    p = tl.program_id(0) * BL + tl.arange(0, BL)
    live = p < P
    c = tl.arange(0, C)[None, :]
    x = ((p % w) + 0.5) * scale
    y = ((p // w) + 0.5) * scale
    ref = tl.load(REF + r).to(tl.int64) * P
    src = tl.load(NBR + rk).to(tl.int64) * P
    t = tl.load(F + (ref + p)[:, None] * C + c, mask=live[:, None], other=0.0).to(tl.float32)
    g = tl.arange(0, G)[None, :]
    for d in range(D):
        z = tl.load(Z + (r.to(tl.int64) * D + d) * P + p, mask=live, other=1.0)
        u, v, seen = _place(HOM + rk * 12, z, x, y, w, h, scale)
        seen = seen & live
        m = seen[:, None]
        i00, i10, i01, i11, w00, w10, w01, w11 = _corners(u, v, src, w, h)
        a = tl.load(F + i00 * C + c, mask=m, other=0.0).to(tl.float32) * w00
        a += tl.load(F + i10 * C + c, mask=m, other=0.0).to(tl.float32) * w10
        a += tl.load(F + i01 * C + c, mask=m, other=0.0).to(tl.float32) * w01
        a += tl.load(F + i11 * C + c, mask=m, other=0.0).to(tl.float32) * w11
        s = tl.sum(tl.reshape(a * t, (BL, G, C // G)), 2) * (G / C)
        at = (rk.to(tl.int64) * D + d) * P + p
        tl.store(OUT + at[:, None] * G + g, s, mask=live[:, None])
        tl.store(SEEN + at, tl.where(seen, 1.0, 0.0), mask=live)


@triton.jit
def _backward(F, REF, NBR, HOM, Z, DOUT, DF, K, D, h, w, scale, C: tl.constexpr, G: tl.constexpr, BL: tl.constexpr):
    rk = tl.program_id(1)
    r = rk // K
    P = h * w
    p = tl.program_id(0) * BL + tl.arange(0, BL)
    live = p < P
    c = tl.arange(0, C)[None, :]
    x = ((p % w) + 0.5) * scale
    y = ((p // w) + 0.5) * scale
    ref = tl.load(REF + r).to(tl.int64) * P
    src = tl.load(NBR + rk).to(tl.int64) * P
    t = tl.load(F + (ref + p)[:, None] * C + c, mask=live[:, None], other=0.0).to(tl.float32)
    dt = tl.zeros((BL, C), tl.float32)
    g = tl.arange(0, G)[None, :]
    for d in range(D):
        z = tl.load(Z + (r.to(tl.int64) * D + d) * P + p, mask=live, other=1.0)
        u, v, seen = _place(HOM + rk * 12, z, x, y, w, h, scale)
        seen = seen & live
        m = seen[:, None]
        i00, i10, i01, i11, w00, w10, w01, w11 = _corners(u, v, src, w, h)
        at = (rk.to(tl.int64) * D + d) * P + p
        e = tl.load(DOUT + at[:, None] * G + g, mask=m, other=0.0).to(tl.float32) * (G / C)
        e = tl.reshape(tl.broadcast_to(e[:, :, None], (BL, G, C // G)), (BL, C))
        a = tl.load(F + i00 * C + c, mask=m, other=0.0).to(tl.float32) * w00
        a += tl.load(F + i10 * C + c, mask=m, other=0.0).to(tl.float32) * w10
        a += tl.load(F + i01 * C + c, mask=m, other=0.0).to(tl.float32) * w01
        a += tl.load(F + i11 * C + c, mask=m, other=0.0).to(tl.float32) * w11
        dt += a * e
        e = e * t
        tl.atomic_add(DF + i00 * C + c, e * w00, mask=m, sem="relaxed")
        tl.atomic_add(DF + i10 * C + c, e * w10, mask=m, sem="relaxed")
        tl.atomic_add(DF + i01 * C + c, e * w01, mask=m, sem="relaxed")
        tl.atomic_add(DF + i11 * C + c, e * w11, mask=m, sem="relaxed")
    tl.atomic_add(DF + (ref + p)[:, None] * C + c, dt, mask=live[:, None], sem="relaxed")


class Correlate(torch.autograd.Function):
    """See `sweep.correlate`; gradients reach the features (hypothetical depths are given, as everywhere in plane sweeping)."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, references: Tensor, neighbours: Tensor, homographies: Tensor, depth: Tensor, scale: float, groups: int
    ) -> tuple[Tensor, Tensor]:
        features, depth = features.contiguous(), depth.float().contiguous()
        homographies = homographies.float().contiguous()
        refs, k = neighbours.shape
        d, h, w = depth.shape[1:]
        values = torch.empty(refs, k, d, h, w, groups, device=depth.device, dtype=features.dtype)
        seen = torch.empty(refs, k, d, h, w, device=depth.device, dtype=features.dtype)
        references, neighbours = references.int().contiguous(), neighbours.int().contiguous()
        block = 64
        arguments = (references, neighbours, homographies, depth)
        size = (k, d, h, w, float(scale), features.shape[-1], groups, block)
        _forward[(triton.cdiv(h * w, block), refs * k)](features, *arguments, values, seen, *size, num_warps=4)
        ctx.save_for_backward(features, *arguments)
        ctx.size = size
        ctx.mark_non_differentiable(seen)
        return values, seen

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        features, references, neighbours, homographies, depth = ctx.saved_tensors
        out = torch.zeros(features.shape, device=features.device, dtype=torch.float32)
        grid = (triton.cdiv(depth.shape[2] * depth.shape[3], ctx.size[-1]), neighbours.numel())
        _backward[grid](features, references, neighbours, homographies, depth, gradient.contiguous(), out, *ctx.size, num_warps=4)
        return out.to(features.dtype), None, None, None, None, None, None
