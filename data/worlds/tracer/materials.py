"""Solid textures: the colour of a material at a point, filtered by the pixel's footprint so that nothing aliases."""

import math

import numpy as np
from numba import njit

from data.worlds import layout as L
from data.worlds.tracer.noise import fractal_noise, hash01, mix, smooth_step, value_noise

f = np.float32


@njit(inline="always")
def fract(x):
    return x - f(math.floor(x))


@njit(inline="always")
def _cell(x):
    return int(math.floor(x))


@njit
def _voronoi(x, y, z, seed):
    """Cell pattern (Worley 1996): identity of the nearest site and how much farther the second is."""
    i, j, k = _cell(x), _cell(y), _cell(z)
    nearest, second, identity = f(1e9), f(1e9), f(0)
    for c in range(-1, 2):
        for b in range(-1, 2):
            for a in range(-1, 2):
                dx = f(i + a) + hash01(i + a, j + b, k + c, seed) - x
                dy = f(j + b) + hash01(i + a, j + b, k + c, seed + 7) - y
                dz = f(k + c) + hash01(i + a, j + b, k + c, seed + 9) - z
                d = dx * dx + dy * dy + dz * dz
                if d < nearest:
                    second, nearest, identity = nearest, d, hash01(i + a, j + b, k + c, seed + 31)
                elif d < second:
                    second = d
    return identity, math.sqrt(second) - math.sqrt(nearest)


@njit
def _text(x, z, seed):
    """Ink of lines of made-up writing: 1 on a letter's stroke."""
    line = _cell(z)
    row = fract(z)
    if row < f(0.2) or row > f(0.85) or hash01(line, 3, 5, seed) < f(0.12):
        return f(0)
    letter = _cell(x * f(1.7))
    if hash01(letter, line, 11, seed) < f(0.18):
        return f(0)
    column = int(fract(x * f(1.7)) * f(4))
    bar = int((row - f(0.2)) / f(0.65) * f(5))
    if column == 3:
        return f(0)
    return f(1) if hash01(letter * 4 + column, line * 8 + bar, 13, seed) < f(0.58) else f(0)


@njit
def albedo(m, px, py, pz, footprint):
    """Linear RGB of a material row at a world point; ``footprint`` is a pixel's width there, scene units."""
    seed = int(m[L.TEXTURE_SEED])
    qx = (m[L.TEXTURE_ROTATION] * px + m[L.TEXTURE_ROTATION + 1] * py + m[L.TEXTURE_ROTATION + 2] * pz) * m[L.STRETCH]
    qy = (m[L.TEXTURE_ROTATION + 3] * px + m[L.TEXTURE_ROTATION + 4] * py + m[L.TEXTURE_ROTATION + 5] * pz) * m[L.STRETCH + 1]
    qz = (m[L.TEXTURE_ROTATION + 6] * px + m[L.TEXTURE_ROTATION + 7] * py + m[L.TEXTURE_ROTATION + 8] * pz) * m[L.STRETCH + 2]
    if m[L.WARP] > f(0):
        w = m[L.WARP_FREQUENCY]
        qx += (value_noise(px * w, py * w, pz * w, seed + 1) - f(0.5)) * m[L.WARP]
        qy += (value_noise(px * w, py * w, pz * w, seed + 2) - f(0.5)) * m[L.WARP]
        qz += (value_noise(px * w, py * w, pz * w, seed + 3) - f(0.5)) * m[L.WARP]
    frequency = m[L.FREQUENCY]
    fine = frequency * footprint * max(m[L.STRETCH], max(m[L.STRETCH + 1], m[L.STRETCH + 2]))
    keep = f(1) - smooth_step(f(0.25), f(0.7), fine)
    x, y, z = qx * frequency, qy * frequency, qz * frequency
    contrast = m[L.CONTRAST]
    pattern = int(m[L.PATTERN])
    # The colour is A + s (B - A), then + t (C - that).
    s, t = f(0), f(0)
    if pattern == L.CLOUDS:
        s = smooth_step(f(0.5) - contrast, f(0.5) + contrast, fractal_noise(x, y, z, seed, 5, f(0.6), fine))
    elif pattern == L.CHECKS:
        s = mix(f(0.5), f((_cell(x) + _cell(y) + _cell(z)) & 1), keep)
    elif pattern == L.STRIPES:
        edge, at = max(fine, f(0.02)), fract(x)
        s = mix(contrast, smooth_step(f(0), edge, at) * (f(1) - smooth_step(contrast, contrast + edge, at)), keep)
    elif pattern == L.CELLS:
        identity, gap = _voronoi(x, y, z, seed)
        s = mix(f(0.5), identity, keep)
        t = (f(1) - smooth_step(f(0.02), f(0.06) + fine, gap)) * keep
        if identity > f(0.7):
            t = max(t, f(0.7) * keep)
    elif pattern == L.BRICKS:
        row = _cell(z)
        along = (x + y + f(0.5) * f(row & 1)) * f(0.5)
        s = mix(f(0.5), hash01(_cell(along), row, 3, seed), keep)
        t = keep if fract(along) < f(0.04) or fract(z) < f(0.08) else f(0)
    elif pattern == L.DOTS:
        a, b, c = fract(x) - f(0.5), fract(y) - f(0.5), fract(z) - f(0.5)
        radius = contrast * f(0.5) + f(0.1)
        s = (f(1) - smooth_step(radius, radius + max(fine, f(0.03)), math.sqrt(a * a + b * b + c * c))) * keep + f(0.3) * (f(1) - keep)
        t = s * keep * (f(1) if hash01(_cell(x), _cell(y), _cell(z), seed) > f(0.5) else f(0))
    elif pattern == L.MARBLE:
        wave = math.sin(f(6.2831) * (x * f(0.5) + f(2.5) * fractal_noise(x, y, z, seed, 4, f(0.5), fine)))
        s = mix(f(0.5), f(0.5) + f(0.5) * wave, keep)
    elif pattern == L.BLOCKS:
        scale = f(1)
        for o in range(3):
            visible = f(1) - smooth_step(f(0.25), f(0.7), fine * scale)
            a, b, c = _cell(x * scale + f(0.3 * o)), _cell(y * scale + f(0.7 * o)), _cell(z * scale + f(0.1 * o))
            if hash01(a, b, c, seed + o * 5) > f(0.55):
                s = mix(s, hash01(a, b, c, seed + o * 5 + 1), visible)
                t = mix(t, hash01(a, b, c, seed + o * 5 + 2), visible)
            scale *= f(2)
    elif pattern == L.SPECKLES:
        s = f(0.5) + f(0.5) * math.sin(x)
        spot = f(1) if value_noise(x * f(8), y * f(8), z * f(8), seed) > f(0.68) else f(0)
        t = spot * (f(1) - smooth_step(f(0.25), f(0.7), fine * f(8)))
    elif pattern == L.TEXT:
        strokes = f(1) - smooth_step(f(0.08), f(0.25), fine)
        s = mix(f(0.35), _text(x, z, seed), strokes)
        t = f(1) if hash01(_cell(x * f(0.13)), _cell(z * f(0.2)), 3, seed) > f(0.85) else f(0)
    elif pattern == L.RINGS:
        wobble = fractal_noise(x * f(0.4), y * f(0.4), z * f(0.4), seed, 3, f(0.5), fine * f(0.4))
        s = mix(f(0.5), fract(math.sqrt(x * x + y * y) + f(1.5) * wobble), keep)
    r, g, b = mix(m[L.COLOR_A], m[L.COLOR_B], s), mix(m[L.COLOR_A + 1], m[L.COLOR_B + 1], s), mix(m[L.COLOR_A + 2], m[L.COLOR_B + 2], s)
    r, g, b = mix(r, m[L.COLOR_C], t), mix(g, m[L.COLOR_C + 1], t), mix(b, m[L.COLOR_C + 2], t)
    if m[L.GRAIN] > f(0):
        w = m[L.GRAIN_FREQUENCY]
        n = f(1) + m[L.GRAIN] * f(2) * (fractal_noise(px * w, py * w, pz * w, seed + 100, 4, f(0.65), w * footprint) - f(0.5))
        r, g, b = r * n, g * n, b * n
    return min(max(r, f(0)), f(1.2)), min(max(g, f(0)), f(1.2)), min(max(b, f(0)), f(1.2))


@njit
def sky(h, x, y, z, footprint):
    """Linear RGB seen in a direction where nothing is."""
    kind = int(h[L.SKY_KIND])
    r, g, b = h[L.SKY_LOW], h[L.SKY_LOW + 1], h[L.SKY_LOW + 2]
    if kind == 0:
        return r, g, b
    t = min(max(f(0.5) + f(0.7) * z, f(0)), f(1))
    r, g, b = mix(r, h[L.SKY_HIGH], t), mix(g, h[L.SKY_HIGH + 1], t), mix(b, h[L.SKY_HIGH + 2], t)
    if kind == 2:
        w = h[L.SKY_FREQUENCY]
        cloud = f(0.8) * smooth_step(f(0.45), f(0.62), fractal_noise(x * w, y * w, z * w, int(h[L.SKY_SEED]), 5, f(0.6), w * footprint))
        r, g, b = mix(r, f(1) - h[L.SKY_LOW], cloud), mix(g, f(1) - h[L.SKY_LOW + 1], cloud), mix(b, f(1) - h[L.SKY_LOW + 2], cloud)
    return r, g, b
