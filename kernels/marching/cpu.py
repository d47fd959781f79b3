"""Ray marching on a CPU, compiled by numba: count the samples of every ray, then write them."""

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@nb.njit(inline="always")
def _occupied(ox, oy, oz, dx, dy, dz, t, grid, contracted):
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    one = np.float32(1)
    if contracted:
        norm = max(abs(x), max(abs(y), abs(z)))
        if norm > one:
            factor = (np.float32(2) - one / norm) / norm
            x, y, z = x * factor, y * factor, z * factor
        quarter = np.float32(0.25)
        x, y, z = (x + np.float32(2)) * quarter, (y + np.float32(2)) * quarter, (z + np.float32(2)) * quarter
    else:
        half = np.float32(0.5)
        x, y, z = (x + one) * half, (y + one) * half, (z + one) * half
    side = grid.shape[0]
    if x < 0 or y < 0 or z < 0 or x >= one or y >= one or z >= one:
        return False
    s = np.float32(side)
    return grid[min(int(z * s), side - 1), min(int(y * s), side - 1), min(int(x * s), side - 1)]


@nb.njit(parallel=True, **_OPTIONS)
def count(origins, directions, near, far, jitter, grid, step, cone, contracted, counts):
    """Samples of ray ``i`` into ``counts[i + 1]``."""
    small, growth, half = np.float32(step), np.float32(cone), np.float32(0.5)
    for i in nb.prange(origins.shape[0]):
        total = 0
        t = near[i] + jitter[i] * max(near[i] * growth, small)
        while t < far[i]:
            end = t + max(t * growth, small)
            if _occupied(origins[i, 0], origins[i, 1], origins[i, 2], directions[i, 0], directions[i, 1], directions[i, 2],
                         half * (t + end), grid, contracted):  # fmt: skip
                total += 1
            t = end
        counts[i + 1] = total


@nb.njit(parallel=True, **_OPTIONS)
def fill(origins, directions, near, far, jitter, grid, step, cone, contracted, offsets, starts, ends):
    """The samples themselves, at the offsets that `count` gave."""
    small, growth, half = np.float32(step), np.float32(cone), np.float32(0.5)
    for i in nb.prange(origins.shape[0]):
        at = offsets[i]
        last = offsets[i + 1]
        t = near[i] + jitter[i] * max(near[i] * growth, small)
        while t < far[i] and at < last:
            end = t + max(t * growth, small)
            if _occupied(origins[i, 0], origins[i, 1], origins[i, 2], directions[i, 0], directions[i, 1], directions[i, 2],
                         half * (t + end), grid, contracted):  # fmt: skip
                starts[at] = t
                ends[at] = end
                at += 1
            t = end
