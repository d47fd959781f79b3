"""Triton: a program takes two rays of sixteen places each; matrices are multiplied in bfloat16, sums are single precision."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from kernels.rayattention.weights import PLACES, RayWeights

RAYS, WARPS = 2, 2
"""A warp for each ray. Eight warps for four rays break on an H100 (illegal addresses: that many warps want 128 rows for their
matrix instructions, and there are 64); four warps for four rays gain a tenth there and nothing elsewhere."""


@triton.jit
def _normalised(x, C: tl.constexpr, c, GAIN, SHIFT, eps):
    wide = c[None, :] < C
    mean = tl.sum(x, 1) / C
    off = tl.where(wide, x - mean[:, None], 0.0)
    scale = 1 / tl.sqrt(tl.sum(off * off, 1) / C + eps)
    return off * scale[:, None] * tl.load(GAIN + c, mask=c < C, other=0.0)[None, :] + tl.load(SHIFT + c, mask=c < C, other=0.0)[None, :]


@triton.jit
def _layer(
    X, OUT, GAIN1, SHIFT1, GAIN2, SHIFT2, QKV, QKV_BIAS, LEAVE, LEAVE_BIAS, UP, UP_BIAS, DOWN, DOWN_BIAS, n, S, scale, eps,
    C: tl.constexpr, P: tl.constexpr, H: tl.constexpr, D: tl.constexpr, F: tl.constexpr, FP: tl.constexpr, R: tl.constexpr, SP: tl.constexpr,
    T: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Weights are [in, out], of type T; heads H of width D; C channels padded to P, F hidden ones padded to FP."""
    m = tl.arange(0, R * SP)
    ray = tl.program_id(0).to(tl.int64) * R + m // SP
    s = m % SP
    c = tl.arange(0, P)
    d = tl.arange(0, D)
    f = tl.arange(0, FP)
    live = (ray < n) & (s < S)
    at = (ray * S + s)[:, None] * C + c[None, :]
    mask = live[:, None] & (c[None, :] < C)
    x = tl.load(X + at, mask=mask, other=0.0).to(tl.float32)
    y = _normalised(x, C, c, GAIN1, SHIFT1, eps).to(T)
    together = (m[:, None] // SP == m[None, :] // SP) & (s[None, :] < S)
    cd = c[:, None] * (3 * C) + d[None, :]
    rows = c[:, None] < C
    total = tl.zeros((R * SP, P), tl.float32)
    for h in tl.static_range(H):
        q = tl.dot(y, tl.load(QKV + cd + h * D, mask=rows, other=0.0), input_precision=PRECISION) + tl.load(QKV_BIAS + h * D + d)[None, :]
        k = tl.dot(y, tl.load(QKV + cd + C + h * D, mask=rows, other=0.0), input_precision=PRECISION) + tl.load(QKV_BIAS + C + h * D + d)[None, :]
        v = tl.dot(y, tl.load(QKV + cd + 2 * C + h * D, mask=rows, other=0.0), input_precision=PRECISION) + tl.load(QKV_BIAS + 2 * C + h * D + d)[None, :]
        scores = tl.dot(q.to(T), tl.trans(k.to(T)), input_precision=PRECISION) * scale
        scores = tl.where(together, scores, -1e30)
        scores = tl.exp(scores - tl.max(scores, 1)[:, None])
        scores = scores / tl.sum(scores, 1)[:, None]
        seen = tl.dot(scores.to(T), v.to(T), input_precision=PRECISION)
        out = tl.load(LEAVE + (h * D + d)[:, None] * C + c[None, :], mask=c[None, :] < C, other=0.0)
        total += tl.dot(seen.to(T), out, input_precision=PRECISION)
    x += total + tl.load(LEAVE_BIAS + c, mask=c < C, other=0.0)[None, :]
    y = _normalised(x, C, c, GAIN2, SHIFT2, eps).to(T)
    up = tl.load(UP + c[:, None] * F + f[None, :], mask=rows & (f[None, :] < F), other=0.0)
    hidden = tl.dot(y, up, input_precision=PRECISION) + tl.load(UP_BIAS + f, mask=f < F, other=0.0)[None, :]
    hidden = 0.5 * hidden * (1 + tl.math.erf(hidden * 0.7071067811865476))
    down = tl.load(DOWN + f[:, None] * C + c[None, :], mask=(f[:, None] < F) & (c[None, :] < C), other=0.0)
    x += tl.dot(hidden.to(T), down, input_precision=PRECISION) + tl.load(DOWN_BIAS + c, mask=c < C, other=0.0)[None, :]
    tl.store(OUT + at, x, mask=mask)


def layer(x: Tensor, weights: RayWeights, precise: bool = False) -> Tensor:
    """A layer over n rays of s samples, [n, s, c] -> the same; s is at most `PLACES`.

    Args:
        precise: multiply in single precision (for comparison with the twin).
    """
    w = weights
    n, s, c = x.shape
    x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
    kind = torch.float32 if precise else torch.bfloat16
    qkv, leave, up, down = (m.T.to(kind).contiguous() for m in (w.qkv, w.leave, w.up, w.down))
    hidden = len(w.up_bias)
    if n:
        _layer[(triton.cdiv(n, RAYS),)](
            x, out, w.gain1, w.shift1, w.gain2, w.shift2, qkv, w.qkv_bias, leave, w.leave_bias, up, w.up_bias, down, w.down_bias, n, s,
            (c // w.heads) ** -0.5, w.eps, c, triton.next_power_of_2(c), w.heads, c // w.heads, hidden, triton.next_power_of_2(hidden), RAYS, PLACES,
            tl.float32 if precise else tl.bfloat16, "tf32x3" if precise else "tf32", num_warps=WARPS,
        )  # fmt: skip
    return out
