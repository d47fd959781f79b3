"""The hash encoding on a CPU, compiled by numba.

A row of the table is a sum (dense levels) or an exclusive or (hashed ones) of one number for each axis, so those numbers are
computed first, axis by axis and a few hundred points at a time, in loops that vectorise; the gathers follow.

Forward: tiles of points, all levels of a tile while its output is in cache; cores take tiles. Backward: a core owns whole
levels, or pieces of them, and walks all points for each: no two cores ever add to one entry, so there are no atomics, and the
result is the same bits on every run. That is the near-memory idea on a laptop.
"""

import math

import numba as nb
import numpy as np

from kernels.hashgrid.layout import PRIMES

_P1, _P2 = np.uint32(PRIMES[1]), np.uint32(PRIMES[2])
_OPTIONS = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy"}
_BLOCK = 256


@nb.njit(inline="always")
def _spread(v):
    """Ten bits with two zeros between them."""
    v = v & np.uint32(0x3FF)
    v = (v | (v << np.uint32(16))) & np.uint32(0x030000FF)
    v = (v | (v << np.uint32(8))) & np.uint32(0x0300F00F)
    v = (v | (v << np.uint32(4))) & np.uint32(0x030C30C3)
    return (v | (v << np.uint32(2))) & np.uint32(0x09249249)


@nb.njit(**_OPTIONS)
def _axis(points, start, count, resolution, dense, hash, axis, fractions, low, high):
    """Of one axis: the place in the cell, and what its lower and upper side add to a row."""
    one, zero, eight, bit = np.float32(1), np.float32(0), np.uint32(8), np.uint32(1)
    scale, top = np.float32(resolution), np.float32(resolution - 1)
    if dense or hash == 0:
        factor = np.uint32(1)
        if axis == 1:
            factor = np.uint32(resolution + 1) if dense else _P1
        elif axis == 2:
            factor = np.uint32((resolution + 1) * (resolution + 1)) if dense else _P2
        for i in range(count):
            v = min(max(points[start + i], zero), one) * scale
            cell = min(np.floor(v), top)
            fractions[i] = v - cell
            c = np.uint32(np.int32(cell)) * factor
            low[i] = c
            high[i] = c + factor
    elif hash == 1:
        shift = np.uint32(axis)
        for i in range(count):
            v = min(max(points[start + i], zero), one) * scale
            cell = min(np.floor(v), top)
            fractions[i] = v - cell
            c = np.uint32(np.int32(cell))
            low[i] = _spread(c) << shift
            high[i] = _spread(c + bit) << shift
    else:
        shift, factor = np.uint32(axis), np.uint32(1)
        if axis == 1:
            factor = _P1
        elif axis == 2:
            factor = _P2
        for i in range(count):
            v = min(max(points[start + i], zero), one) * scale
            cell = min(np.floor(v), top)
            fractions[i] = v - cell
            c = np.uint32(np.int32(cell))
            d = c + bit
            low[i] = (((c >> np.uint32(3)) * factor) << np.uint32(9)) ^ (_spread(c % eight) << shift)
            high[i] = (((d >> np.uint32(3)) * factor) << np.uint32(9)) ^ (_spread(d % eight) << shift)


@nb.njit(**_OPTIONS)
def _axes(points, start, count, resolution, dense, hash, fractions, low, high):
    """`_axis` of all three; ``points [3, n]``."""
    for axis in range(3):
        _axis(points[axis], start, count, resolution, dense, hash, axis, fractions[axis], low[axis], high[axis])


@nb.njit(inline="always")
def _row(a, b, c, dense, mask, first):
    row = a + b + c if dense else (a ^ b ^ c) & mask
    return first + np.uint64(row)


@nb.njit(inline="always")
def _gather(table, features, f, count, dense, mask, first, fractions, low, high, out, start, column):
    """Interpolate one feature of a block."""
    one = np.float32(1)
    for i in range(count):
        fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
        gx, gy, gz = one - fx, one - fy, one - fz
        x0, x1, y0, y1, z0, z1 = low[0, i], high[0, i], low[1, i], high[1, i], low[2, i], high[2, i]
        total = gy * gz * (gx * table[_row(x0, y0, z0, dense, mask, first) * features + f] + fx * table[_row(x1, y0, z0, dense, mask, first) * features + f])
        total += fy * gz * (gx * table[_row(x0, y1, z0, dense, mask, first) * features + f] + fx * table[_row(x1, y1, z0, dense, mask, first) * features + f])
        total += gy * fz * (gx * table[_row(x0, y0, z1, dense, mask, first) * features + f] + fx * table[_row(x1, y0, z1, dense, mask, first) * features + f])
        total += fy * fz * (gx * table[_row(x0, y1, z1, dense, mask, first) * features + f] + fx * table[_row(x1, y1, z1, dense, mask, first) * features + f])
        out[column, start + i] = total


@nb.njit(inline="always")
def _gather2(table, features, f, count, dense, mask, first, fractions, low, high, out, start, column):
    """Interpolate two features of a block."""
    one, two, zero = np.float32(1), np.uint64(1), np.float32(0)
    for i in range(count):
        fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
        gx, gy, gz = one - fx, one - fy, one - fz
        s0, s1 = zero, zero
        for k in range(4):
            y = high[1, i] if k & 1 else low[1, i]
            z = high[2, i] if k & 2 else low[2, i]
            w = (fy if k & 1 else gy) * (fz if k & 2 else gz)
            r = _row(low[0, i], y, z, dense, mask, first) * features + f
            s = _row(high[0, i], y, z, dense, mask, first) * features + f
            a, b = w * gx, w * fx
            s0 += a * table[r] + b * table[s]
            s1 += a * table[r + two] + b * table[s + two]
        out[column, start + i] = s0
        out[column + 1, start + i] = s1


@nb.njit(inline="always")
def _gather4(table, features, f, count, dense, mask, first, fractions, low, high, out, start, column):
    """Interpolate four features of a block."""
    one, zero = np.float32(1), np.float32(0)
    u1, u2, u3 = np.uint64(1), np.uint64(2), np.uint64(3)
    for i in range(count):
        fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
        gx, gy, gz = one - fx, one - fy, one - fz
        s0, s1, s2, s3 = zero, zero, zero, zero
        for k in range(4):
            y = high[1, i] if k & 1 else low[1, i]
            z = high[2, i] if k & 2 else low[2, i]
            w = (fy if k & 1 else gy) * (fz if k & 2 else gz)
            r = _row(low[0, i], y, z, dense, mask, first) * features + f
            s = _row(high[0, i], y, z, dense, mask, first) * features + f
            a, b = w * gx, w * fx
            s0 += a * table[r] + b * table[s]
            s1 += a * table[r + u1] + b * table[s + u1]
            s2 += a * table[r + u2] + b * table[s + u2]
            s3 += a * table[r + u3] + b * table[s + u3]
        out[column, start + i], out[column + 1, start + i] = s0, s1
        out[column + 2, start + i], out[column + 3, start + i] = s2, s3


@nb.njit(**_OPTIONS)
def _block(points, start, count, table, features, dense, hash, resolution, mask, first, fractions, low, high, out, place, column):
    """One block of points on one level, into ``out[column :, place :]``."""
    _axes(points, start, count, resolution, dense, hash, fractions, low, high)
    wide, m, o = np.uint64(features), np.uint32(mask), np.uint64(first)
    if features % 4 == 0:
        for f in range(0, features, 4):
            if dense:
                _gather4(table, wide, np.uint64(f), count, True, m, o, fractions, low, high, out, place, column + f)
            else:
                _gather4(table, wide, np.uint64(f), count, False, m, o, fractions, low, high, out, place, column + f)
    elif features == 2:
        if dense:
            _gather2(table, np.uint64(2), np.uint64(0), count, True, m, o, fractions, low, high, out, place, column)
        else:
            _gather2(table, np.uint64(2), np.uint64(0), count, False, m, o, fractions, low, high, out, place, column)
    else:
        for f in range(features):
            _gather(table, wide, np.uint64(f), count, dense, m, o, fractions, low, high, out, place, column + f)


@nb.njit(**_OPTIONS)
def _transpose(values, count, out, start):
    """``values [columns, count]`` to rows of ``out``, so that each of its cache lines is written once."""
    for i in range(count):
        for column in range(values.shape[0]):
            out[start + i, column] = values[column, i]


@nb.njit(**_OPTIONS)
def encode_tile(points, start, count, table, features, resolutions, dense, offsets, mask, hash, fractions, low, high, values):
    """Encode a tile of points, level by level, into ``values [levels * features, count]``."""
    for level in range(resolutions.shape[0]):
        for place in range(0, count, _BLOCK):
            _block(
                points, start + place, min(_BLOCK, count - place), table, features, dense[level], hash, resolutions[level], mask, offsets[level],
                fractions, low, high, values, place, level * features,
            )  # fmt: skip


@nb.njit(**_OPTIONS)
def encode_rows(points, start, count, table, features, resolutions, dense, offsets, mask, hash, out):
    """Encode some of the points on the calling thread alone, into ``out [count, levels * features]``."""
    fractions = np.empty((3, _BLOCK), np.float32)
    low, high = np.empty((3, _BLOCK), np.uint32), np.empty((3, _BLOCK), np.uint32)
    values = np.empty((out.shape[1], count), np.float32)
    encode_tile(points, start, count, table, features, resolutions, dense, offsets, mask, hash, fractions, low, high, values)
    _transpose(values, count, out, 0)


@nb.njit(parallel=True, **_OPTIONS)
def forward(points, table, features, resolutions, dense, offsets, mask, hash, tile, threads, out):
    """Fill ``out [points, levels * features]`` with the encoding of ``points [3, points]``; ``table`` is flat."""
    n = points.shape[1]
    for thread in nb.prange(threads):
        fractions = np.empty((3, _BLOCK), np.float32)
        low, high = np.empty((3, _BLOCK), np.uint32), np.empty((3, _BLOCK), np.uint32)
        values = np.empty((out.shape[1], min(tile, n)), np.float32)
        for t in range(thread, (n + tile - 1) // tile, threads):
            count = min(n - t * tile, tile)
            encode_tile(points, t * tile, count, table, features, resolutions, dense, offsets, mask, hash, fractions, low, high, values)
            _transpose(values, count, out, t * tile)


@nb.njit(inline="always")
def _scatter(grad_table, grad_out, features, count, dense, mask, first, fractions, low, high, start, column, begin, end):
    """Add a block's gradient to the rows from ``begin`` to ``end`` of the level."""
    one = np.float32(1)
    for i in range(count):
        live = False
        for f in range(features):
            live |= grad_out[start + i, column + f] != np.float32(0)
        if not live:
            continue
        fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
        for k in range(8):
            x = high[0, i] if k & 1 else low[0, i]
            y = high[1, i] if k & 2 else low[1, i]
            z = high[2, i] if k & 4 else low[2, i]
            w = (fx if k & 1 else one - fx) * (fy if k & 2 else one - fy) * (fz if k & 4 else one - fz)
            row = _row(x, y, z, dense, mask, np.uint64(0))
            if row < begin or row >= end:
                continue
            at = (first + row) * np.uint64(features)
            for f in range(features):
                grad_table[at + np.uint64(f)] += w * grad_out[start + i, column + f]


@nb.njit(inline="always")
def _scatter_all(grad_table, grad_out, features, count, dense, mask, first, fractions, low, high, start, column):
    """Add a block's gradient; two or four features."""
    one, zero = np.float32(1), np.float32(0)
    u1, u2, u3, wide = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(features)
    for i in range(count):
        g0, g1 = grad_out[start + i, column], grad_out[start + i, column + 1]
        g2, g3 = zero, zero
        if features == 4:
            g2, g3 = grad_out[start + i, column + 2], grad_out[start + i, column + 3]
        if g0 == zero and g1 == zero and g2 == zero and g3 == zero:
            continue
        fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
        gx, gy, gz = one - fx, one - fy, one - fz
        for k in range(4):
            y = high[1, i] if k & 1 else low[1, i]
            z = high[2, i] if k & 2 else low[2, i]
            w = (fy if k & 1 else gy) * (fz if k & 2 else gz)
            r = _row(low[0, i], y, z, dense, mask, first) * wide
            s = _row(high[0, i], y, z, dense, mask, first) * wide
            a, b = w * gx, w * fx
            grad_table[r] += a * g0
            grad_table[r + u1] += a * g1
            if features == 4:
                grad_table[r + u2] += a * g2
                grad_table[r + u3] += a * g3
            grad_table[s] += b * g0
            grad_table[s + u1] += b * g1
            if features == 4:
                grad_table[s + u2] += b * g2
                grad_table[s + u3] += b * g3


@nb.njit(**_OPTIONS)
def _backward_piece(points, grad_out, features, resolution, dense, hash, mask, first, column, begin, end, whole, grad_table):
    """All points' gradient of the rows ``begin`` to ``end`` of one level."""
    n = points.shape[1]
    fractions = np.empty((3, _BLOCK), np.float32)
    low, high = np.empty((3, _BLOCK), np.uint32), np.empty((3, _BLOCK), np.uint32)
    m, o, b, e = np.uint32(mask), np.uint64(first), np.uint64(begin), np.uint64(end)
    for start in range(0, n, _BLOCK):
        count = min(_BLOCK, n - start)
        _axes(points, start, count, resolution, dense, hash, fractions, low, high)
        if whole and features == 4:
            if dense:
                _scatter_all(grad_table, grad_out, 4, count, True, m, o, fractions, low, high, start, column)
            else:
                _scatter_all(grad_table, grad_out, 4, count, False, m, o, fractions, low, high, start, column)
        elif whole and features == 2:
            if dense:
                _scatter_all(grad_table, grad_out, 2, count, True, m, o, fractions, low, high, start, column)
            else:
                _scatter_all(grad_table, grad_out, 2, count, False, m, o, fractions, low, high, start, column)
        else:
            _scatter(grad_table, grad_out, features, count, dense, m, o, fractions, low, high, start, column, b, e)


@nb.njit(parallel=True, **_OPTIONS)
def backward_table(points, grad_out, features, resolutions, dense, offsets, mask, hash, pieces, threads, grad_table):
    """Add the table's gradient to the flat ``grad_table``; every level in ``pieces``, dealt out to the cores in turn."""
    levels = resolutions.shape[0]
    for thread in nb.prange(threads):
        for task in range(thread, levels * pieces, threads):
            level, piece = task % levels, task // levels
            rows = (resolutions[level] + 1) ** 3 if dense[level] else mask + 1
            _backward_piece(
                points, grad_out, features, resolutions[level], dense[level], hash, mask, offsets[level], level * features,
                rows * piece // pieces, rows * (piece + 1) // pieces, pieces == 1, grad_table,
            )  # fmt: skip


@nb.njit(parallel=True, **_OPTIONS)
def backward_points(points, table, grad_out, features, resolutions, dense, offsets, mask, hash, grad_points):
    """Fill ``grad_points [points, 3]``; zero along an axis on which a point was clamped."""
    n, levels = points.shape[1], resolutions.shape[0]
    for chunk in nb.prange((n + _BLOCK - 1) // _BLOCK):
        fractions = np.empty((3, _BLOCK), np.float32)
        low, high = np.empty((3, _BLOCK), np.uint32), np.empty((3, _BLOCK), np.uint32)
        start = chunk * _BLOCK
        count = min(_BLOCK, n - start)
        grad_points[start : start + count] = 0
        one, m, wide = np.float32(1), np.uint32(mask), np.uint64(features)
        for level in range(levels):
            _axes(points, start, count, resolutions[level], dense[level], hash, fractions, low, high)
            scale, first = np.float32(resolutions[level]), np.uint64(offsets[level])
            for i in range(count):
                fx, fy, fz = fractions[0, i], fractions[1, i], fractions[2, i]
                for k in range(8):
                    x = high[0, i] if k & 1 else low[0, i]
                    y = high[1, i] if k & 2 else low[1, i]
                    z = high[2, i] if k & 4 else low[2, i]
                    at = _row(x, y, z, dense[level], m, first) * wide
                    dot = np.float32(0)
                    for f in range(features):
                        dot += table[at + np.uint64(f)] * grad_out[start + i, level * features + f]
                    wx, wy, wz = fx if k & 1 else one - fx, fy if k & 2 else one - fy, fz if k & 4 else one - fz
                    dot *= scale
                    grad_points[start + i, 0] += (dot if k & 1 else -dot) * wy * wz
                    grad_points[start + i, 1] += (dot if k & 2 else -dot) * wx * wz
                    grad_points[start + i, 2] += (dot if k & 4 else -dot) * wx * wy
        for i in range(start, start + count):
            for axis in range(3):
                if points[axis, i] < 0 or points[axis, i] > 1:
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
