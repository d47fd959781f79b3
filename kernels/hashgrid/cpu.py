"""The hash encoding on a CPU, compiled by numba: one level at a time, so that its table stays in cache.

Corner rows and weights of a block of points are computed first, in loops that vectorise; the gathers follow. Forward
runs parallel over points; backward runs parallel over levels, whose gradients never meet, so it needs no atomics and
gives the same bits on every run.
"""

import math

import numba as nb
import numpy as np

_P1 = np.uint32(2654435761)
_P2 = np.uint32(805459861)
_OPTIONS = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy"}
_BLOCK = 256
_GROUPS = 16
"""Forward splits the points into this many parallel groups; each walks all levels over its own points."""


@nb.njit(**_OPTIONS)
def _corners(points, start, count, resolution, dense, mask, offset, rows, weights):
    """Fill ``rows [8, block]`` and ``weights [8, block]``: corner bit 0 = x, 1 = y, 2 = z."""
    one, zero = np.float32(1), np.float32(0)
    scale, top = np.float32(resolution), np.int32(resolution - 1)
    side, face = np.uint32(resolution + 1), np.uint32((resolution + 1) ** 2)
    period, first, step = np.uint32(mask), np.uint32(offset), np.uint32(1)
    for i in range(count):
        x = min(max(points[start + i, 0], zero), one) * scale
        y = min(max(points[start + i, 1], zero), one) * scale
        z = min(max(points[start + i, 2], zero), one) * scale
        ix, iy, iz = min(np.int32(x), top), min(np.int32(y), top), min(np.int32(z), top)
        fx, fy, fz = x - np.float32(ix), y - np.float32(iy), z - np.float32(iz)
        gx, gy, gz = one - fx, one - fy, one - fz
        a, b, c, d = gy * gz, fy * gz, gy * fz, fy * fz
        weights[0, i], weights[1, i], weights[2, i], weights[3, i] = gx * a, fx * a, gx * b, fx * b
        weights[4, i], weights[5, i], weights[6, i], weights[7, i] = gx * c, fx * c, gx * d, fx * d
        if dense:
            base = first + np.uint32(ix) + side * np.uint32(iy) + face * np.uint32(iz)
            rows[0, i], rows[1, i] = base, base + step
            rows[2, i], rows[3, i] = base + side, base + side + step
            rows[4, i], rows[5, i] = base + face, base + face + step
            rows[6, i], rows[7, i] = base + face + side, base + face + side + step
        else:
            x0 = np.uint32(ix)
            x1 = x0 + step
            y0, z0 = np.uint32(iy) * _P1, np.uint32(iz) * _P2
            y1, z1 = y0 + _P1, z0 + _P2
            rows[0, i], rows[1, i] = first + ((x0 ^ y0 ^ z0) & period), first + ((x1 ^ y0 ^ z0) & period)
            rows[2, i], rows[3, i] = first + ((x0 ^ y1 ^ z0) & period), first + ((x1 ^ y1 ^ z0) & period)
            rows[4, i], rows[5, i] = first + ((x0 ^ y0 ^ z1) & period), first + ((x1 ^ y0 ^ z1) & period)
            rows[6, i], rows[7, i] = first + ((x0 ^ y1 ^ z1) & period), first + ((x1 ^ y1 ^ z1) & period)


@nb.njit(parallel=True, **_OPTIONS)
def forward(points, table, resolutions, dense, offsets, mask, out):
    """Fill ``out [points, levels * features]`` with the encoding of ``points [points, 3]``."""
    n, levels = points.shape[0], resolutions.shape[0]
    features = table.shape[1]
    chunks = (n + _BLOCK - 1) // _BLOCK
    share = (chunks + _GROUPS - 1) // _GROUPS
    for group in nb.prange(_GROUPS):
        rows = np.empty((8, _BLOCK), np.uint32)
        weights = np.empty((8, _BLOCK), np.float32)
        for level in range(levels):
            for chunk in range(group * share, min(chunks, (group + 1) * share)):
                start = chunk * _BLOCK
                count = min(_BLOCK, n - start)
                _corners(points, start, count, resolutions[level], dense[level], mask, offsets[level], rows, weights)
                if features == 4:
                    for i in range(count):
                        s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
                        for k in range(8):
                            w, r = weights[k, i], np.uint64(rows[k, i])
                            s0 += w * table[r, np.uint64(0)]
                            s1 += w * table[r, np.uint64(1)]
                            s2 += w * table[r, np.uint64(2)]
                            s3 += w * table[r, np.uint64(3)]
                        out[start + i, 4 * level], out[start + i, 4 * level + 1] = s0, s1
                        out[start + i, 4 * level + 2], out[start + i, 4 * level + 3] = s2, s3
                elif features == 2:
                    for i in range(count):
                        s0, s1 = np.float32(0), np.float32(0)
                        for k in range(8):
                            w, r = weights[k, i], np.uint64(rows[k, i])
                            s0 += w * table[r, np.uint64(0)]
                            s1 += w * table[r, np.uint64(1)]
                        out[start + i, 2 * level], out[start + i, 2 * level + 1] = s0, s1
                else:
                    for i in range(count):
                        for f in range(features):
                            total = np.float32(0)
                            for k in range(8):
                                total += weights[k, i] * table[np.uint64(rows[k, i]), f]
                            out[start + i, level * features + f] = total


@nb.njit(parallel=True, **_OPTIONS)
def backward_table(points, grad_out, resolutions, dense, offsets, mask, grad_table):
    """Add the table's gradient to ``grad_table [entries, features]``."""
    n, levels, features = points.shape[0], resolutions.shape[0], grad_table.shape[1]
    for level in nb.prange(levels):
        rows = np.empty((8, _BLOCK), np.uint32)
        weights = np.empty((8, _BLOCK), np.float32)
        for chunk in range((n + _BLOCK - 1) // _BLOCK):
            start = chunk * _BLOCK
            count = min(_BLOCK, n - start)
            _corners(points, start, count, resolutions[level], dense[level], mask, offsets[level], rows, weights)
            if features == 4:
                for i in range(count):
                    g0, g1 = grad_out[start + i, 4 * level], grad_out[start + i, 4 * level + 1]
                    g2, g3 = grad_out[start + i, 4 * level + 2], grad_out[start + i, 4 * level + 3]
                    if g0 == 0 and g1 == 0 and g2 == 0 and g3 == 0:
                        continue
                    for k in range(8):
                        w, r = weights[k, i], np.uint64(rows[k, i])
                        grad_table[r, np.uint64(0)] += w * g0
                        grad_table[r, np.uint64(1)] += w * g1
                        grad_table[r, np.uint64(2)] += w * g2
                        grad_table[r, np.uint64(3)] += w * g3
            else:
                for i in range(count):
                    for f in range(features):
                        g = grad_out[start + i, level * features + f]
                        for k in range(8):
                            grad_table[np.uint64(rows[k, i]), f] += weights[k, i] * g


@nb.njit(parallel=True, **_OPTIONS)
def backward_points(points, table, grad_out, resolutions, dense, offsets, mask, grad_points):
    """Fill ``grad_points [points, 3]``; zero along an axis on which a point was clamped."""
    n, levels, features = points.shape[0], resolutions.shape[0], table.shape[1]
    for chunk in nb.prange((n + _BLOCK - 1) // _BLOCK):
        rows = np.empty((8, _BLOCK), np.uint32)
        weights = np.empty((8, _BLOCK), np.float32)
        start = chunk * _BLOCK
        count = min(_BLOCK, n - start)
        grad_points[start : start + count] = 0
        for level in range(levels):
            _corners(points, start, count, resolutions[level], dense[level], mask, offsets[level], rows, weights)
            scale, top = np.float32(resolutions[level]), np.int32(resolutions[level] - 1)
            for i in range(count):
                fractions = np.empty(3, np.float32)
                for axis in range(3):
                    value = min(max(points[start + i, axis], np.float32(0)), np.float32(1)) * scale
                    fractions[axis] = value - np.float32(min(np.int32(value), top))
                for k in range(8):
                    dot = np.float32(0)
                    for f in range(features):
                        dot += table[np.uint64(rows[k, i]), f] * grad_out[start + i, level * features + f]
                    bits = (k & 1, (k >> 1) & 1, k >> 2)
                    wx = fractions[0] if bits[0] else np.float32(1) - fractions[0]
                    wy = fractions[1] if bits[1] else np.float32(1) - fractions[1]
                    wz = fractions[2] if bits[2] else np.float32(1) - fractions[2]
                    dot *= scale
                    grad_points[start + i, 0] += (dot if bits[0] else -dot) * wy * wz
                    grad_points[start + i, 1] += (dot if bits[1] else -dot) * wx * wz
                    grad_points[start + i, 2] += (dot if bits[2] else -dot) * wx * wy
        for i in range(start, start + count):
            for axis in range(3):
                if points[i, axis] < 0 or points[i, axis] > 1:
                    grad_points[i, axis] = 0


@nb.njit(parallel=True, **_OPTIONS)
def adam_touched(table, grad, moment1, moment2, step, learning_rate, beta1, beta2, epsilon):
    """One Adam step (Kingma & Ba 2015) on the entries whose gradient is not zero; clears the gradient.

    Skipping untouched entries is instant-ngp's rule (Müller et al. 2022, section 4). All arrays are flat.
    """
    rate = np.float32(learning_rate * math.sqrt(1.0 - beta2**step) / (1.0 - beta1**step))
    b1, b2, eps = np.float32(beta1), np.float32(beta2), np.float32(epsilon)
    block = 16384
    for chunk in nb.prange((table.shape[0] + block - 1) // block):
        for i in range(chunk * block, min(table.shape[0], (chunk + 1) * block)):
            g = grad[i]
            if g != np.float32(0):
                moment1[i] = b1 * moment1[i] + (np.float32(1) - b1) * g
                moment2[i] = b2 * moment2[i] + (np.float32(1) - b2) * g * g
                table[i] -= rate * moment1[i] / (np.sqrt(moment2[i]) + eps)
                grad[i] = np.float32(0)
