"""numba: a ray's samples and views in turn, everything between in the first cache."""

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from kernels.sightings.sighted import TOKEN_PADDING, CoarseWeights, Maps

f = np.float32


@njit(inline="always")
def _clip(x, low, high):
    return min(max(x, low), high)


@njit(fastmath=True, inline="always")
def _project(t, ox, oy, oz):
    """z, pixel and whether it is in the picture."""
    lx = ox * t[0] + oy * t[3] + oz * t[6]
    ly = ox * t[1] + oy * t[4] + oz * t[7]
    lz = ox * t[2] + oy * t[5] + oz * t[8]
    safe = f(1) / max(lz, f(1e-6))
    u = lx * safe * t[12] + ly * safe * t[13] + t[14]
    v = ly * safe * t[15] + t[16]
    seen = lz > f(1e-6) and u > f(0) and v > f(0) and u < t[17] and v < t[18] and t[19] > f(0)
    return lx, ly, lz, u, v, seen


@njit(fastmath=True)
def _unit(table, x, y, z, reach):
    """Local unit of length at a point."""
    total, near, count = f(0), f(0), 0
    for k in range(len(table)):
        t = table[k]
        ox, oy, oz = x - t[9], y - t[10], z - t[11]
        away = math.sqrt(ox * ox + oy * oy + oz * oz)
        total += away
        if _project(t, ox, oy, oz)[5]:
            near += away
            count += 1
    return max(reach * (near / f(count) if count > 0 else total / f(len(table))), f(1e-9))


@njit(fastmath=True)
def _cues(t, surface, x, y, z, tx, ty, tz, unit, reach, width, height, cue):
    """The cues of one view at a point (see `recon.general.sources.look`) into ``cue``; the pixel kept inside the picture."""
    h2, w2 = surface.shape[:2]
    ox, oy, oz = x - t[9], y - t[10], z - t[11]
    lx, ly, lz, u, v, seen = _project(t, ox, oy, oz)
    iu, iv = _clip(u, f(0.5), t[17] - f(0.5)), _clip(v, f(0.5), t[18] - f(0.5))
    stepx, stepy = f(width) / f(w2), f(height) / f(h2)
    jx, jy = int(iu / stepx), int(iv / stepy)
    shiftx, shifty = iu - (f(jx) + f(0.5)) * stepx, iv - (f(jy) + f(0.5)) * stepy
    found = surface[min(jy, h2 - 1), min(jx, w2 - 1)]
    inverse = found[0] + found[1] * shiftx + found[2] * shifty
    ahead = f(1) - lz * inverse
    nx, ny, nz = t[12] * found[1], t[15] * found[2], inverse - found[1] * (u - t[14]) - found[2] * (v - t[16])
    norm = max(f(math.sqrt(nx * nx + ny * ny + nz * nz)), f(1e-9))
    away = max(f(math.sqrt(ox * ox + oy * oy + oz * oz)), f(1e-9))
    far = max(f(math.sqrt(tx * tx + ty * ty + tz * tz)), f(1e-9))
    distance = ahead / (norm * unit)
    cue[0] = _clip(distance, f(-2), f(2))
    cue[1] = _clip(distance * f(6), f(-2), f(2))
    cue[2] = _clip(ahead / (reach * f(6)), f(-2), f(2))
    cue[3], cue[4], cue[5] = found[3], found[4], found[5]
    cue[6] = min(f(1) - (ox * tx + oy * ty + oz * tz) / (away * far), f(0.5)) * f(4)
    cue[7] = _clip(f(math.log(away / far)), f(-2), f(2))
    cue[8] = abs(nx * lx + ny * ly + nz * lz) / (norm * away)
    cue[9] = f(1) if seen else f(0)
    return iu, iv, seen


@njit(fastmath=True)
def _bilinear(values, u, v, out, start):
    """A channels-last map at level coordinates, into ``out`` from ``start`` on."""
    h, w, c = values.shape
    x, y = _clip(u - f(0.5), f(0), f(w - 1)), _clip(v - f(0.5), f(0), f(h - 1))
    j, i = int(x), int(y)
    fx, fy = x - f(j), y - f(i)
    i1, j1 = min(i + 1, h - 1), min(j + 1, w - 1)
    p00, p01, p10, p11 = values[i, j], values[i, j1], values[i1, j], values[i1, j1]
    w00, w01, w10, w11 = (f(1) - fx) * (f(1) - fy), fx * (f(1) - fy), (f(1) - fx) * fy, fx * fy
    for q in range(c):
        out[start + q] = p00[q] * w00 + p01[q] * w01 + p10[q] * w10 + p11[q] * w11


@njit(parallel=True, fastmath=True, cache=True)
def _gather(table, images, quarter, half, surface, points, origins, reach, tokens, photo, seen, distance, units):
    n, s, _ = points.shape
    views, height, width, _ = images.shape
    c4, c2 = quarter.shape[3], half.shape[3]
    for ray in prange(n):
        cue = np.zeros(10, np.float32)
        a, b, c = origins[ray]
        for i in range(s):
            x, y, z = points[ray, i]
            unit = _unit(table, x, y, z, reach)
            units[ray, i] = unit
            for k in range(views):
                u, v, inside = _cues(table[k], surface[k], x, y, z, x - a, y - b, z - c, unit, reach, width, height, cue)
                token = tokens[ray, i, k]
                _bilinear(quarter[k], u * f(quarter.shape[2]) / f(width), v * f(quarter.shape[1]) / f(height), token, 0)
                _bilinear(half[k], u * f(half.shape[2]) / f(width), v * f(half.shape[1]) / f(height), token, c4)
                _bilinear(images[k], u, v, token, c4 + c2)
                rest = c4 + c2
                for q in range(3):
                    photo[ray, i, k, q] = token[rest + q]
                for q in range(10):
                    token[rest + 3 + q] = cue[q]
                for q in range(rest + 13, len(token)):
                    token[q] = f(0)
                seen[ray, i, k] = inside
                distance[ray, i, k] = cue[0]


@njit(fastmath=True)
def _layer(x, weight, bias, out):
    """out = weight @ x + bias, one column per sample: the inner loops run along the samples, which fills the vector units."""
    s = x.shape[1]
    for o in range(len(weight)):
        row = out[o]
        for i in range(s):
            row[i] = bias[o]
        for k in range(len(x)):
            factor, column = weight[o, k], x[k]
            for i in range(s):
                row[i] += factor * column[i]


@njit(fastmath=True)
def _relu(x):
    for o in range(len(x)):
        for i in range(x.shape[1]):
            x[o, i] = max(x[o, i], f(0))


@njit(parallel=True, fastmath=True, cache=True)
def _coarse(table, surface, points, origins, reach, width, height, w1, b1, w2, b2, mix, mix_bias, taps, tap_bias, leave, leave_bias, signed, units):
    n, s, _ = points.shape
    views, c, m = len(table), len(b1), len(mix_bias)
    for ray in prange(n):
        cue, cues = np.zeros(10, np.float32), np.zeros((10, s), np.float32)
        first, second, pooled = np.zeros((c, s), np.float32), np.zeros((c + 1, s), np.float32), np.zeros((2 * c + 2, s), np.float32)
        top, mass, keep, weight = np.full(s, f(-1e30), np.float32), np.zeros(s, np.float32), np.zeros(s, np.float32), np.zeros(s, np.float32)
        # Two empty samples at either end are the padding of the convolutions.
        here, there = np.zeros((m, s + 4), np.float32), np.zeros((m, s + 4), np.float32)
        mixed, total = np.zeros((m, s), np.float32), np.zeros(s, np.float32)
        a, b, d = origins[ray]
        share, middle = pooled[2 * c], pooled[2 * c + 1]
        for i in range(s):
            units[ray, i] = _unit(table, points[ray, i, 0], points[ray, i, 1], points[ray, i, 2], reach)
        for k in range(views):
            for i in range(s):
                x, y, z = points[ray, i]
                _cues(table[k], surface[k], x, y, z, x - a, y - b, z - d, units[ray, i], reach, width, height, cue)
                for q in range(10):
                    cues[q, i] = cue[q]
            _layer(cues, w1, b1, first)
            _relu(first)
            _layer(first, w2, b2, second)
            visible = cues[9]
            for i in range(s):
                score = second[c, i] - f(1e4) * (f(1) - visible[i])
                higher = max(top[i], score)
                keep[i], weight[i] = math.exp(top[i] - higher), math.exp(score - higher)
                top[i] = higher
                mass[i] = mass[i] * keep[i] + weight[i]
                middle[i] = middle[i] * keep[i] + weight[i] * cues[0, i]
                share[i] += visible[i]
            for q in range(c):
                value, mean, peak = second[q], pooled[q], pooled[c + q]
                for i in range(s):
                    x = max(value[i], f(0))
                    mean[i] = mean[i] * keep[i] + weight[i] * x
                    peak[i] = max(peak[i], x * visible[i])
        for i in range(s):
            share[i] /= f(views)
            middle[i] /= mass[i]
            mass[i] = f(1) / mass[i]
        for q in range(c):
            for i in range(s):
                pooled[q, i] *= mass[i]
        _layer(pooled, mix, mix_bias, mixed)
        for q in range(m):
            for i in range(s):
                here[q, i + 2] = max(mixed[q, i], f(0))
        for layer in range(2):
            source, target = (here, there) if layer == 0 else (there, here)
            for o in range(m):
                for i in range(s):
                    total[i] = tap_bias[layer, o]
                for p in range(m):
                    row = source[p]
                    t0, t1, t2, t3, t4 = taps[layer, o, p]
                    for i in range(s):
                        total[i] += t0 * row[i] + t1 * row[i + 1] + t2 * row[i + 2] + t3 * row[i + 3] + t4 * row[i + 4]
                for i in range(s):
                    target[o, i + 2] = source[o, i + 2] + max(total[i], f(0))
        for i in range(s):
            total[i] = middle[i] + leave_bias
        for q in range(m):
            for i in range(s):
                total[i] += here[q, i + 2] * leave[q]
        for i in range(s):
            signed[ray, i] = total[i]


def gather(maps: Maps, points: Tensor, origins: Tensor, reach: float) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """See `sighted.gather`; tokens are single precision."""
    n, s = points.shape[:2]
    views, c4, c2 = len(maps.table), maps.quarter.shape[3], maps.half.shape[3]
    token = -(-(c4 + c2 + 13) // TOKEN_PADDING) * TOKEN_PADDING
    tokens, photo = torch.empty(n, s, views, token), torch.empty(n, s, views, 3)
    seen, distance, unit = torch.empty(n, s, views, dtype=torch.bool), torch.empty(n, s, views), torch.empty(n, s)
    _gather(
        *_arrays(maps.table, maps.images.permute(0, 2, 3, 1), maps.quarter, maps.half, maps.surface, points, origins), f(reach),
        *(t.numpy() for t in (tokens, photo, seen, distance, unit)),
    )  # fmt: skip
    return tokens, photo, seen, distance, unit


def coarse(maps: Maps, weights: CoarseWeights, points: Tensor, origins: Tensor, reach: float) -> tuple[Tensor, Tensor]:
    """See `sighted.coarse`."""
    signed, unit = torch.empty(points.shape[:2]), torch.empty(points.shape[:2])
    height, width = maps.images.shape[-2:]
    w = weights
    layers = _arrays(w.view1, w.bias1, w.view2, w.bias2, w.mix, w.mix_bias, w.along, w.along_bias, w.leave)
    _coarse(*_arrays(maps.table, maps.surface, points, origins), f(reach), width, height, *layers, f(w.leave_bias.item()), signed.numpy(), unit.numpy())
    return signed, unit


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().float().contiguous().numpy() for t in tensors]
