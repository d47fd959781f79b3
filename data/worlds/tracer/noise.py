"""Hashing and value noise, for the CPU and the GPU alike (see `shapes`)."""

import math

import numpy as np
from numba import njit

f = np.float32


@njit(inline="always")
def hash01(x, y, z, seed):
    """A number in [0, 1) for a cell of the integer lattice (integer finaliser of Wellons' hash prospector)."""
    # Casts to 32 bits after every step: numba would go on in 64, which GPUs emulate.
    h = np.uint32(x * 73856093 ^ y * 19349663 ^ z * 83492791 ^ seed * 2654435761)
    h = np.uint32(np.uint32(h ^ np.uint32(h >> np.uint32(16))) * np.uint32(0x7FEB352D))
    h = np.uint32(np.uint32(h ^ np.uint32(h >> np.uint32(15))) * np.uint32(0x846CA68B))
    h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
    return f(np.int32(h >> np.uint32(8))) * f(1 / 16777216)


@njit(inline="always")
def mix(a, b, t):
    return a + (b - a) * t


@njit(inline="always")
def smooth_step(low, high, x):
    t = min(max((x - low) / (high - low), f(0)), f(1))
    return t * t * (f(3) - f(2) * t)


@njit
def value_noise(x, y, z, seed):
    """Smooth noise in [0, 1] with features of unit size."""
    i, j, k = int(math.floor(x)), int(math.floor(y)), int(math.floor(z))
    a, b, c = x - f(i), y - f(j), z - f(k)
    a, b, c = a * a * (f(3) - f(2) * a), b * b * (f(3) - f(2) * b), c * c * (f(3) - f(2) * c)
    low = mix(mix(hash01(i, j, k, seed), hash01(i + 1, j, k, seed), a), mix(hash01(i, j + 1, k, seed), hash01(i + 1, j + 1, k, seed), a), b)
    k += 1
    high = mix(mix(hash01(i, j, k, seed), hash01(i + 1, j, k, seed), a), mix(hash01(i, j + 1, k, seed), hash01(i + 1, j + 1, k, seed), a), b)
    return mix(low, high, c)


@njit
def fractal_noise(x, y, z, seed, octaves, gain, footprint):
    """Octaves of noise in [0, 1]; those finer than the pixel's ``footprint`` fade to their mean, so that nothing aliases."""
    amplitude, total, value = f(0.5), f(0), f(0)
    for i in range(octaves):
        keep = f(1) - smooth_step(f(0.35), f(0.9), footprint)
        value += amplitude * mix(f(0.5), value_noise(x, y, z, seed + i * 17), keep)
        total += amplitude
        x, y, z = x * f(2.03) + f(3.1), y * f(2.03) + f(1.7), z * f(2.03) + f(9.2)
        footprint *= f(2.03)
        amplitude *= gain
    return value / total
