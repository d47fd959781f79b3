"""numba: projection, gather, product and mean over the neighbours in one pass over the pixels, nothing stored between."""

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor


@njit(parallel=True, fastmath=True, cache=True)
def _correlate_mean(features, references, neighbours, homographies, depth, weights, scale, groups, values, total):
    refs, hypotheses, h, w = depth.shape
    c = features.shape[3]
    per = c // groups
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
                    z = depth[r, d, row, column]
                    qz = z * rz + a[2, 3]
                    if qz <= f(1e-6):
                        continue
                    u, v = (z * rx + a[0, 3]) / qz / scale, (z * ry + a[1, 3]) / qz / scale
                    if u <= f(0) or v <= f(0) or u >= f(w) or v >= f(h):
                        continue
                    u, v = min(max(u - f(0.5), f(0)), f(w - 1)), min(max(v - f(0.5), f(0)), f(h - 1))
                    i, j = int(math.floor(v)), int(math.floor(u))
                    fx, fy = u - f(j), v - f(i)
                    i1, j1 = min(i + 1, h - 1), min(j + 1, w - 1)
                    p00, p01, p10, p11 = source[i, j], source[i, j1], source[i1, j], source[i1, j1]
                    w00, w01, w10, w11 = (f(1) - fx) * (f(1) - fy), fx * (f(1) - fy), (f(1) - fx) * fy, fx * fy
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


def correlate_mean(
    features: Tensor, references: Tensor, neighbours: Tensor, homographies: Tensor, depth: Tensor, weights: Tensor, scale: float, groups: int
) -> tuple[Tensor, Tensor]:
    """See `sweep.correlate_mean`."""
    refs, d, h, w = depth.shape
    values, total = torch.empty(refs, d, h, w, groups), torch.empty(refs, d, h, w)
    inputs = [t.detach().float().contiguous().numpy() for t in (homographies, depth, weights)]
    index = [t.numpy().astype(np.int64) for t in (references, neighbours)]
    _correlate_mean(features.detach().float().contiguous().numpy(), *index, *inputs, np.float32(scale), groups, values.numpy(), total.numpy())
    return values, total
