"""numba: projection, gather and product in one pass over the pixels, forwards and backwards; nothing of size channels x depths is stored.

Gradients reach the features. Every worker adds up into a map of its own, because many hypotheses look at the same neighbour's pixel.
"""

import math
from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor


@njit(inline="always")
def _corners(z, a, rx, ry, rz, w, h, scale):
    """Whether a point at depth z falls into the neighbour's picture; its four pixels and their bilinear weights."""
    f = np.float32
    qz = z * rz + a[2, 3]
    if qz <= f(1e-6):
        return False, 0, 0, 0, 0, f(0), f(0), f(0), f(0)
    u, v = (z * rx + a[0, 3]) / qz / scale, (z * ry + a[1, 3]) / qz / scale
    if u <= f(0) or v <= f(0) or u >= f(w) or v >= f(h):
        return False, 0, 0, 0, 0, f(0), f(0), f(0), f(0)
    u, v = min(max(u - f(0.5), f(0)), f(w - 1)), min(max(v - f(0.5), f(0)), f(h - 1))
    i, j = int(math.floor(v)), int(math.floor(u))
    fx, fy = u - f(j), v - f(i)
    i1, j1 = min(i + 1, h - 1), min(j + 1, w - 1)
    return True, i, j, i1, j1, (f(1) - fx) * (f(1) - fy), fx * (f(1) - fy), (f(1) - fx) * fy, fx * fy


@njit(parallel=True, fastmath=True, cache=True)
def _correlate(features, references, neighbours, homographies, depth, scale, groups, values, seen):
    refs, hypotheses, h, w = depth.shape
    per = features.shape[3] // groups
    k = neighbours.shape[1]
    f = np.float32
    for line in prange(refs * h):
        r, row = line // h, line % h
        for n in range(k):
            a, source = homographies[r, n], features[neighbours[r, n]]
            for column in range(w):
                x, y = (f(column) + f(0.5)) * scale, (f(row) + f(0.5)) * scale
                target = features[references[r], row, column]
                rx = a[0, 0] * x + a[0, 1] * y + a[0, 2]
                ry = a[1, 0] * x + a[1, 1] * y + a[1, 2]
                rz = a[2, 0] * x + a[2, 1] * y + a[2, 2]
                for d in range(hypotheses):
                    ok, i, j, i1, j1, w00, w01, w10, w11 = _corners(depth[r, d, row, column], a, rx, ry, rz, w, h, scale)
                    if not ok:
                        seen[r, n, d, row, column] = f(0)
                        for g in range(groups):
                            values[r, n, d, row, column, g] = f(0)
                        continue
                    seen[r, n, d, row, column] = f(1)
                    p00, p01, p10, p11 = source[i, j], source[i, j1], source[i1, j], source[i1, j1]
                    for g in range(groups):
                        s = f(0)
                        for q in range(g * per, g * per + per):
                            s += target[q] * (p00[q] * w00 + p01[q] * w01 + p10[q] * w10 + p11[q] * w11)
                        values[r, n, d, row, column, g] = s / f(per)


@njit(parallel=True, fastmath=True, cache=True)
def _correlate_backward(features, references, neighbours, homographies, depth, scale, groups, gradient, sums):
    refs, hypotheses, h, w = depth.shape
    per = features.shape[3] // groups
    k = neighbours.shape[1]
    f = np.float32
    workers = sums.shape[0]
    lines = refs * h
    for worker in prange(workers):
        total = sums[worker]
        for line in range(worker * lines // workers, (worker + 1) * lines // workers):
            r, row = line // h, line % h
            for n in range(k):
                a, source, out = homographies[r, n], features[neighbours[r, n]], total[neighbours[r, n]]
                for column in range(w):
                    x, y = (f(column) + f(0.5)) * scale, (f(row) + f(0.5)) * scale
                    target, own = features[references[r], row, column], total[references[r], row, column]
                    rx = a[0, 0] * x + a[0, 1] * y + a[0, 2]
                    ry = a[1, 0] * x + a[1, 1] * y + a[1, 2]
                    rz = a[2, 0] * x + a[2, 1] * y + a[2, 2]
                    for d in range(hypotheses):
                        ok, i, j, i1, j1, w00, w01, w10, w11 = _corners(depth[r, d, row, column], a, rx, ry, rz, w, h, scale)
                        if not ok:
                            continue
                        p00, p01, p10, p11 = source[i, j], source[i, j1], source[i1, j], source[i1, j1]
                        o00, o01, o10, o11 = out[i, j], out[i, j1], out[i1, j], out[i1, j1]
                        for g in range(groups):
                            e = gradient[r, n, d, row, column, g] / f(per)
                            if e == f(0):
                                continue
                            for q in range(g * per, g * per + per):
                                own[q] += e * (p00[q] * w00 + p01[q] * w01 + p10[q] * w10 + p11[q] * w11)
                                m = e * target[q]
                                o00[q] += m * w00
                                o01[q] += m * w01
                                o10[q] += m * w10
                                o11[q] += m * w11


@njit(parallel=True, fastmath=True, cache=True)
def _correlate_mean(features, references, neighbours, homographies, depth, weights, scale, groups, values, total):
    refs, hypotheses, h, w = depth.shape
    per = features.shape[3] // groups
    k = neighbours.shape[1]
    f = np.float32
    for line in prange(refs * h):
        r, row = line // h, line % h
        for column in range(w):
            x, y = (f(column) + f(0.5)) * scale, (f(row) + f(0.5)) * scale
            target = features[references[r], row, column]
            for d in range(hypotheses):
                for g in range(groups):
                    values[r, d, row, column, g] = f(0)
                total[r, d, row, column] = f(0)
            for n in range(k):
                weight = weights[r, n, row, column]
                if weight <= f(0):
                    continue
                a = homographies[r, n]
                source = features[neighbours[r, n]]
                rx = a[0, 0] * x + a[0, 1] * y + a[0, 2]
                ry = a[1, 0] * x + a[1, 1] * y + a[1, 2]
                rz = a[2, 0] * x + a[2, 1] * y + a[2, 2]
                for d in range(hypotheses):
                    ok, i, j, i1, j1, w00, w01, w10, w11 = _corners(depth[r, d, row, column], a, rx, ry, rz, w, h, scale)
                    if not ok:
                        continue
                    p00, p01, p10, p11 = source[i, j], source[i, j1], source[i1, j], source[i1, j1]
                    total[r, d, row, column] += weight
                    for g in range(groups):
                        s = f(0)
                        for q in range(g * per, g * per + per):
                            s += target[q] * (p00[q] * w00 + p01[q] * w01 + p10[q] * w10 + p11[q] * w11)
                        values[r, d, row, column, g] += s * weight
            for d in range(hypotheses):
                scaling = f(1) / (max(total[r, d, row, column], f(1e-4)) * f(per))
                for g in range(groups):
                    values[r, d, row, column, g] *= scaling


@njit(parallel=True, fastmath=True, cache=True)
def _correlate_mean_backward(features, references, neighbours, homographies, depth, weights, scale, groups, total, gradient, sums):
    refs, hypotheses, h, w = depth.shape
    per = features.shape[3] // groups
    k = neighbours.shape[1]
    f = np.float32
    workers = sums.shape[0]
    lines = refs * h
    for worker in prange(workers):
        collected = sums[worker]
        for line in range(worker * lines // workers, (worker + 1) * lines // workers):
            r, row = line // h, line % h
            for column in range(w):
                x, y = (f(column) + f(0.5)) * scale, (f(row) + f(0.5)) * scale
                target, own = features[references[r], row, column], collected[references[r], row, column]
                for n in range(k):
                    weight = weights[r, n, row, column]
                    if weight <= f(0):
                        continue
                    a, source, out = homographies[r, n], features[neighbours[r, n]], collected[neighbours[r, n]]
                    rx = a[0, 0] * x + a[0, 1] * y + a[0, 2]
                    ry = a[1, 0] * x + a[1, 1] * y + a[1, 2]
                    rz = a[2, 0] * x + a[2, 1] * y + a[2, 2]
                    for d in range(hypotheses):
                        ok, i, j, i1, j1, w00, w01, w10, w11 = _corners(depth[r, d, row, column], a, rx, ry, rz, w, h, scale)
                        if not ok:
                            continue
                        p00, p01, p10, p11 = source[i, j], source[i, j1], source[i1, j], source[i1, j1]
                        o00, o01, o10, o11 = out[i, j], out[i, j1], out[i1, j], out[i1, j1]
                        scaling = weight / (max(total[r, d, row, column], f(1e-4)) * f(per))
                        for g in range(groups):
                            e = gradient[r, d, row, column, g] * scaling
                            if e == f(0):
                                continue
                            for q in range(g * per, g * per + per):
                                own[q] += e * (p00[q] * w00 + p01[q] * w01 + p10[q] * w10 + p11[q] * w11)
                                m = e * target[q]
                                o00[q] += m * w00
                                o01[q] += m * w01
                                o10[q] += m * w10
                                o11[q] += m * w11


def _arrays(features: Tensor, references: Tensor, neighbours: Tensor, *others: Tensor) -> list[np.ndarray]:
    index = [t.numpy().astype(np.int64) for t in (references, neighbours)]
    return [features.detach().float().contiguous().numpy(), *index, *(t.detach().float().contiguous().numpy() for t in others)]


def _summed(features: Tensor) -> Tensor:
    """A map of zeros for each worker."""
    return torch.zeros(numba.get_num_threads(), *features.shape)


class Correlate(torch.autograd.Function):
    """See `sweep.correlate`; gradients reach the features (hypothetical depths are given, as everywhere in plane sweeping)."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, references: Tensor, neighbours: Tensor, homographies: Tensor, depth: Tensor, scale: float, groups: int) -> tuple[Tensor, Tensor]:
        refs, k = neighbours.shape
        d, h, w = depth.shape[1:]
        values, seen = torch.empty(refs, k, d, h, w, groups), torch.empty(refs, k, d, h, w)
        _correlate(*_arrays(features, references, neighbours, homographies, depth), np.float32(scale), groups, values.numpy(), seen.numpy())
        ctx.save_for_backward(features, references, neighbours, homographies, depth)
        ctx.options = scale, groups
        ctx.mark_non_differentiable(seen)
        return values, seen

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale, groups = ctx.options
        sums = _summed(ctx.saved_tensors[0])
        _correlate_backward(*_arrays(*ctx.saved_tensors), np.float32(scale), groups, grads[0].float().contiguous().numpy(), sums.numpy())
        return sums.sum(0), None, None, None, None, None, None


class CorrelateMean(torch.autograd.Function):
    """See `sweep.correlate_mean`; gradients reach the features, not the weights."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, references: Tensor, neighbours: Tensor, homographies: Tensor, depth: Tensor, weights: Tensor, scale: float, groups: int
    ) -> tuple[Tensor, Tensor]:
        refs, d, h, w = depth.shape
        values, total = torch.empty(refs, d, h, w, groups), torch.empty(refs, d, h, w)
        inputs = _arrays(features, references, neighbours, homographies, depth, weights)
        _correlate_mean(*inputs, np.float32(scale), groups, values.numpy(), total.numpy())
        ctx.save_for_backward(features, references, neighbours, homographies, depth, weights, total)
        ctx.options = scale, groups
        ctx.mark_non_differentiable(total)
        return values, total

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        scale, groups = ctx.options
        *inputs, total = ctx.saved_tensors
        sums = _summed(inputs[0])
        _correlate_mean_backward(*_arrays(*inputs), np.float32(scale), groups, total.numpy(), grads[0].float().contiguous().numpy(), sums.numpy())
        return sums.sum(0), None, None, None, None, None, None, None
