"""Importance sampling along rays on a CPU, compiled by numba: one thread a ray."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"fastmath": True, "cache": True, "nogil": True, "error_model": "numpy"}
_MAX_STEPS = 2048


@nb.njit(inline="always")
def _unit(x, y, z, contracted):
    """Normalised coordinates -> the unit cube, as `kernels.sampling.grid.unit_coordinates`."""
    one, two, quarter, half = np.float32(1), np.float32(2), np.float32(0.25), np.float32(0.5)
    if contracted:
        norm = max(abs(x), max(abs(y), abs(z)))
        if norm > one:
            inverse = one / norm
            factor = (two - inverse) * inverse
            x, y, z = x * factor, y * factor, z * factor
        return (x + two) * quarter, (y + two) * quarter, (z + two) * quarter
    return (x + one) * half, (y + one) * half, (z + one) * half


@nb.njit(inline="always")
def _lookup(ox, oy, oz, dx, dy, dz, t, grid, occupied, contracted):
    """Density of the cell at distance ``t``; zero outside the grid. The bits, which fit a cache, are asked first."""
    x, y, z = _unit(ox + t * dx, oy + t * dy, oz + t * dz, contracted)
    one, zero = np.float32(1), np.float32(0)
    if x < zero or y < zero or z < zero or x >= one or y >= one or z >= one:
        return zero
    side = grid.shape[0]
    s = np.float32(side)
    k, j, i = min(int(z * s), side - 1), min(int(y * s), side - 1), min(int(x * s), side - 1)
    cell = (k * side + j) * side + i
    if not (occupied[cell >> 3] >> (7 - (cell & 7))) & 1:
        return zero
    return grid[k, j, i]


@nb.njit(parallel=True, **_OPTIONS)
def unit_points(origins, directions, positions, rays, contracted, out):
    """Fill ``out [3, samples]`` with the samples' places in the unit cube, axis by axis."""
    n = positions.shape[0]
    groups = 64
    share = (n + groups - 1) // groups
    for group in nb.prange(groups):
        for i in range(group * share, min(n, (group + 1) * share)):
            r, t = rays[i], positions[i]
            x, y, z = _unit(
                origins[r, 0] + t * directions[r, 0], origins[r, 1] + t * directions[r, 1], origins[r, 2] + t * directions[r, 2], contracted
            )
            out[0, i], out[1, i], out[2, i] = x, y, z


_HALVINGS = (2.0 ** -np.arange(128.0)).astype(np.float32)


@nb.njit(inline="always")
def _exp_minus(x):
    """``exp(-x)`` of ``x >= 0`` to six digits: a power of two from a table, the rest by a polynomial."""
    scaled = min(x * np.float32(1.4426950408889634), np.float32(126))
    whole = int(scaled)
    f = scaled - np.float32(whole)
    # 2^-f on [0, 1)
    p = np.float32(1.47238555e-4) - np.float32(1.08235107e-5) * f
    p = np.float32(-1.32771048e-3) + f * p
    p = np.float32(9.61546574e-3) + f * p
    p = np.float32(-5.55034073e-2) + f * p
    p = np.float32(2.40226412e-1) + f * p
    p = np.float32(-6.93147175e-1) + f * p
    return (np.float32(1) + f * p) * _HALVINGS[whole]


@nb.njit(parallel=True, **_OPTIONS)
def sample(origins, directions, near, far, jitter, grid, occupied, step, cone, finest, uniform, contracted, counts, positions, lengths):
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
                sigma = _lookup(ox, oy, oz, dx, dy, dz, middle, grid, occupied, contracted)
                if sigma > 0:
                    span = end - t
                    kept = _exp_minus(sigma * span)
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


@nb.njit(parallel=True, **_OPTIONS)
def blend_into_cells(points, values, limits, rate, parts, grid):
    """Move the cells of ``points [3, n]`` of the unit cube towards what was seen there, at most their limit.

    Cores own ``parts`` slabs of the grid, so that every cell meets its points in their order; ``limits`` and ``grid`` are flat.
    """
    r, side = np.float32(rate), int(round(grid.shape[0] ** (1 / 3)))
    s = np.float32(side)
    for part in nb.prange(parts):
        low, high = side * part // parts, side * (part + 1) // parts
        for i in range(points.shape[1]):
            z = min(max(int(points[2, i] * s), 0), side - 1)
            if low <= z < high:
                c = (z * side + min(max(int(points[1, i] * s), 0), side - 1)) * side + min(max(int(points[0, i] * s), 0), side - 1)
                grid[c] += r * (min(values[i], limits[c]) - grid[c])
