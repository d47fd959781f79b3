"""Importance sampling along rays on a CPU, compiled by numba: one thread a ray."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_MAX_STEPS = 2048


@nb.njit(inline="always")
def _lookup(ox, oy, oz, dx, dy, dz, t, grid, contracted):
    """Density of the cell at distance ``t``; zero outside the grid."""
    x, y, z = ox + t * dx, oy + t * dy, oz + t * dz
    one = np.float32(1)
    if contracted:
        norm = max(abs(x), max(abs(y), abs(z)))
        if norm > one:
            factor = (np.float32(2) - one / norm) / norm
            x, y, z = x * factor, y * factor, z * factor
        quarter, two = np.float32(0.25), np.float32(2)
        x, y, z = (x + two) * quarter, (y + two) * quarter, (z + two) * quarter
    else:
        half = np.float32(0.5)
        x, y, z = (x + one) * half, (y + one) * half, (z + one) * half
    if x < 0 or y < 0 or z < 0 or x >= one or y >= one or z >= one:
        return np.float32(0)
    side = grid.shape[0]
    s = np.float32(side)
    return grid[min(int(z * s), side - 1), min(int(y * s), side - 1), min(int(x * s), side - 1)]


@nb.njit(parallel=True, **_OPTIONS)
def sample(origins, directions, near, far, jitter, grid, step, cone, finest, uniform, contracted, counts, positions, lengths):
    """Fill ``counts [rays]``, ``positions`` and ``lengths [rays, samples]``."""
    rays, most = positions.shape
    groups = 64
    share = (rays + groups - 1) // groups
    small, growth = np.float32(step), np.float32(cone)
    for group in nb.prange(groups):
        starts = np.empty(_MAX_STEPS, np.float32)
        spans = np.empty(_MAX_STEPS, np.float32)
        mass = np.empty(_MAX_STEPS, np.float64)
        shares = np.empty(_MAX_STEPS, np.float64)
        for ray in range(group * share, min(rays, (group + 1) * share)):
            ox, oy, oz = origins[ray, 0], origins[ray, 1], origins[ray, 2]
            dx, dy, dz = directions[ray, 0], directions[ray, 1], directions[ray, 2]
            # 1. the occupied steps, their weights by the grid's density, their shares of even sampling
            n, t = 0, near[ray]
            transmittance, total_mass, total_share, total_length = 1.0, 0.0, 0.0, 0.0
            while t < far[ray] and n < _MAX_STEPS:
                end = t + max(t * growth, small)
                middle = np.float32(0.5) * (t + end)
                sigma = _lookup(ox, oy, oz, dx, dy, dz, middle, grid, contracted)
                if sigma > 0:
                    span = end - t
                    kept = math.exp(-float(sigma) * float(span))
                    starts[n], spans[n] = t, span
                    mass[n] = transmittance * (1.0 - kept)
                    shares[n] = span / (span + middle)
                    transmittance *= kept
                    total_mass += mass[n]
                    total_share += shares[n]
                    total_length += span
                    n += 1
                t = end
            if n == 0:
                counts[ray] = 0
                continue
            count = min(int(math.ceil(total_length / (step * finest) - 0.01)), most)
            counts[ray] = count
            known = (1.0 - uniform) * min(total_mass, 1.0)
            scale_mass = known / max(total_mass, 1e-12)
            scale_share = (1.0 - known) / max(total_share, 1e-12)
            # 2. walk the distribution once: boundaries of equal shares, and the sample inside each
            at, below, arc, bound = 0, 0.0, 0.0, 0.0
            k, want_sample = 0, True
            p = mass[0] * scale_mass + shares[0] * scale_share
            while k < count:
                u = (k + jitter[ray]) / count if want_sample else (k + 1.0) / count
                while at < n - 1 and below + p <= u:
                    below += p
                    arc += spans[at]
                    at += 1
                    p = mass[at] * scale_mass + shares[at] * scale_share
                f = min(max((u - below) / max(p, 1e-12), 0.0), 1.0)
                if want_sample:
                    positions[ray, k] = starts[at] + np.float32(f) * spans[at]
                else:
                    reached = total_length if k == count - 1 else arc + f * spans[at]
                    lengths[ray, k] = np.float32(reached - bound)
                    bound = reached
                    k += 1
                want_sample = not want_sample


@nb.njit(**_OPTIONS)
def blend_into_cells(cells, values, limits, rate, grid):
    """Move the cells that were seen towards what was seen there, at most their limit; ``limits`` and ``grid`` are flat."""
    r = np.float32(rate)
    for i in range(cells.shape[0]):
        c = cells[i]
        grid[c] += r * (min(values[i], limits[c]) - grid[c])
