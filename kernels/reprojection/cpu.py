"""`reprojection`, compiled by numba: points are shared among the cores."""

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@nb.njit(inline="always")
def _pixel(points, i, m, height, width):
    """Row, column and depth of a point; row -1 where it falls on no pixel."""
    x, y, z = points[i, 0], points[i, 1], points[i, 2]
    depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
    if not depth > 0:
        return -1, -1, depth
    u = np.floor((m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth)
    v = np.floor((m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth)
    if not (u >= 0 and v >= 0 and u < width and v < height):
        return -1, -1, depth
    return int(v), int(u), depth


@nb.njit(parallel=True, **_OPTIONS)
def vote(points, projection, depth, tolerance, agree, violate):
    height, width = depth.shape
    for i in nb.prange(len(points)):
        row, column, z = _pixel(points, i, projection, height, width)
        if row >= 0:
            seen = depth[row, column]
            if seen > 0:
                if abs(z - seen) < tolerance * z:
                    agree[i] += 1
                elif z < seen * (1 - 2 * tolerance):
                    violate[i] += 1


@nb.njit(parallel=True, **_OPTIONS)
def silhouette(points, projection, mask, whole, kept, seen):
    height, width = mask.shape
    for i in nb.prange(len(points)):
        row, column, _ = _pixel(points, i, projection, height, width)
        if row >= 0:
            seen[i] += 1
            if not mask[row, column]:
                kept[i] = False
        elif whole:
            kept[i] = False


@nb.njit(parallel=True, **_OPTIONS)
def lift(depth, rows, columns, inverse, pose, points):
    for i in nb.prange(len(rows)):
        u, v, z = columns[i] + 0.5, rows[i] + 0.5, np.float64(depth[rows[i], columns[i]])
        x = (inverse[0, 0] * u + inverse[0, 1] * v + inverse[0, 2]) * z
        y = (inverse[1, 0] * u + inverse[1, 1] * v + inverse[1, 2]) * z
        for k in range(3):
            points[i, k] = pose[k, 0] * x + pose[k, 1] * y + pose[k, 2] * z + pose[k, 3]


@nb.njit(parallel=True, **_OPTIONS)
def rays_toward(points, rows, eye, origin, margin, rays):
    for i in nb.prange(len(rows)):
        x, y, z = points[rows[i], 0], points[rows[i], 1], points[rows[i], 2]
        dx, dy, dz = eye[0] - x, eye[1] - y, eye[2] - z
        scale = 1 / max(np.sqrt(dx * dx + dy * dy + dz * dz), 1e-12)
        dx, dy, dz = dx * scale, dy * scale, dz * scale
        rays[i, 0], rays[i, 1], rays[i, 2] = x - origin[0] + margin * dx, y - origin[1] + margin * dy, z - origin[2] + margin * dz
        rays[i, 3], rays[i, 4], rays[i, 5] = dx, dy, dz
