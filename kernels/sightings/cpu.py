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
    """out = x @ weight + bias for one row; the inner loop runs along the outputs."""
    for o in range(len(out)):
        out[o] = bias[o]
    for i in range(len(x)):
        xi = x[i]
        row = weight[i]
        for o in range(len(out)):
            out[o] += xi * row[o]


@njit(parallel=True, fastmath=True, cache=True)
def _coarse(table, surface, points, origins, reach, width, height, w1, b1, w2, b2, mix, mix_bias, taps, tap_bias, leave, leave_bias, signed, units):
    n, s, _ = points.shape
    views, c, m = len(table), len(b1), len(mix_bias)
    for ray in prange(n):
        cue, first, second = np.zeros(10, np.float32), np.zeros(c, np.float32), np.zeros(c + 1, np.float32)
        pooled = np.zeros(2 * c + 2, np.float32)
        # Two empty samples at either end are the padding of the convolutions.
        here, there = np.zeros((s + 4, m), np.float32), np.zeros((s + 4, m), np.float32)
        total = np.zeros(m, np.float32)
        base = np.zeros(s, np.float32)
        a, b, d = origins[ray]
        for i in range(s):
            x, y, z = points[ray, i]
            unit = _unit(table, x, y, z, reach)
            units[ray, i] = unit
            top, mass, share, middle = f(-1e30), f(0), f(0), f(0)
            for q in range(2 * c):
                pooled[q] = f(0)
            for k in range(views):
                inside = _cues(table[k], surface[k], x, y, z, x - a, y - b, z - d, unit, reach, width, height, cue)[2]
                _layer(cue, w1, b1, first)
                for q in range(c):
                    first[q] = max(first[q], f(0))
                _layer(first, w2, b2, second)
                score = second[c] - (f(0) if inside else f(1e4))
                higher = max(top, score)
                keep, weight = f(math.exp(top - higher)), f(math.exp(score - higher))
                top, mass, middle = higher, mass * keep + weight, middle * keep + weight * cue[0]
                for q in range(c):
                    value = max(second[q], f(0))
                    pooled[q] = pooled[q] * keep + weight * value
                    pooled[c + q] = max(pooled[c + q], value * cue[9])
                share += cue[9]
            for q in range(c):
                pooled[q] /= mass
            base[i] = middle / mass
            pooled[2 * c], pooled[2 * c + 1] = share / f(views), base[i]
            _layer(pooled, mix, mix_bias, total)
            for q in range(m):
                here[i + 2, q] = max(total[q], f(0))
        for layer in range(2):
            source, target = (here, there) if layer == 0 else (there, here)
            for i in range(s):
                for q in range(m):
                    total[q] = tap_bias[layer, q]
                for k in range(5):
                    for p in range(m):
                        value = source[i + k, p]
                        row = taps[layer, k, p]
                        for q in range(m):
                            total[q] += value * row[q]
                for q in range(m):
                    target[i + 2, q] = source[i + 2, q] + max(total[q], f(0))
        for i in range(s):
            out = base[i] + leave_bias
            for q in range(m):
                out += here[i + 2, q] * leave[q]
            signed[ray, i] = out


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
    # [layer, tap, in, out]
    layers = _arrays(w.view1.T, w.bias1, w.view2.T, w.bias2, w.mix.T, w.mix_bias, w.along.permute(0, 3, 2, 1), w.along_bias, w.leave)
    _coarse(*_arrays(maps.table, maps.surface, points, origins), f(reach), width, height, *layers, f(w.leave_bias.item()), signed.numpy(), unit.numpy())
    return signed, unit


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [t.detach().float().contiguous().numpy() for t in tensors]
