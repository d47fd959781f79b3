"""Signed distance of a world at a point.

Every function here is compiled by numba for the CPU and, called from a CUDA kernel, for the GPU: scalars only, single
precision (``f`` makes literals single too). Distance formulas of the primitives are the standard ones (Quilez, "Distance
functions", 2008); displaced, bent and smoothly joined shapes give bounds, which `signed_distance` corrects to first order.
"""

import math

import numpy as np
from numba import njit

from data.worlds import layout as L
from data.worlds.tracer.noise import value_noise

f = np.float32


@njit(inline="always")
def _length2(x, y):
    return math.sqrt(x * x + y * y + f(1e-20))


@njit(inline="always")
def _length3(x, y, z):
    return math.sqrt(x * x + y * y + z * z + f(1e-20))


@njit
def _box(x, y, z, a, b, c, r):
    x, y, z = abs(x) - a + r, abs(y) - b + r, abs(z) - c + r
    return _length3(max(x, f(0)), max(y, f(0)), max(z, f(0))) + min(max(x, max(y, z)), f(0)) - r


@njit
def _capped(radial, axial):
    """Distance to a solid of revolution from its distances along the radius and the axis."""
    return min(max(radial, axial), f(0)) + _length2(max(radial, f(0)), max(axial, f(0)))


@njit
def _frame_bar(x, y, z, e):
    return _length3(max(x, f(0)), max(y, f(0)), max(z, f(0))) + min(max(x, max(y, z)), f(0)) - e


@njit
def _shape(kind, x, y, z, a, b, c, r):
    """Distance to one primitive in its own coordinates; what a, b, c and r mean depends on the kind."""
    if kind == L.ELLIPSOID:
        k0 = _length3(x / a, y / b, z / c)
        if k0 < f(0.05):
            return -min(a, min(b, c))
        return k0 * (k0 - f(1)) / max(_length3(x / (a * a), y / (b * b), z / (c * c)), f(1e-6))
    if kind == L.BOX:
        return _box(x, y, z, a, b, c, r)
    if kind == L.TORUS:
        return _length2(_length2(x, y) - a, z) - b
    if kind == L.CYLINDER:
        return _capped(_length2(x, y) - a + r, abs(z) - b + r) - r
    if kind == L.CAPSULE:
        return _length3(x, y, z - min(max(z, -b), b)) - a
    if kind == L.CONE:
        slope = (a - b) / (f(2) * c)
        at = min(max((z + c) / (f(2) * c), f(0)), f(1))
        return _capped((_length2(x, y) - (a + (b - a) * at)) / math.sqrt(f(1) + slope * slope), abs(z) - c)
    if kind == L.FRAME:
        x, y, z = abs(x) - a, abs(y) - b, abs(z) - c
        u, v, w = abs(x + r) - r, abs(y + r) - r, abs(z + r) - r
        return min(_frame_bar(x, v, w, f(0)), min(_frame_bar(u, y, w, f(0)), _frame_bar(u, v, z, f(0))))
    if kind == L.OCTAHEDRON:
        return (abs(x) + abs(y) + abs(z) - a) * f(0.57735)
    # a hexagonal prism
    x, y = abs(x), abs(y)
    return max(abs(z) - b, max(x * f(0.866025) + y * f(0.5), y) - a)


@njit
def _primitive(q, wx, wy, wz):
    """Distance to a primitive of the table, repetition, bend and relief included."""
    wx, wy, wz = wx - q[L.CENTRE], wy - q[L.CENTRE + 1], wz - q[L.CENTRE + 2]
    x = q[L.ROTATION] * wx + q[L.ROTATION + 1] * wy + q[L.ROTATION + 2] * wz
    y = q[L.ROTATION + 3] * wx + q[L.ROTATION + 4] * wy + q[L.ROTATION + 5] * wz
    z = q[L.ROTATION + 6] * wx + q[L.ROTATION + 7] * wy + q[L.ROTATION + 8] * wz
    repeat = int(q[L.REPEAT])
    if repeat == L.AROUND:
        sector = f(6.2831853) / q[L.REPEAT_COUNT]
        angle = math.atan2(y, x)
        angle = angle - sector * f(math.floor(angle / sector + f(0.5)))
        radius = _length2(x, y)
        x, y = radius * math.cos(angle) - q[L.REPEAT_SPACING], radius * math.sin(angle)
    elif repeat != L.ONCE:
        half = f(math.floor(q[L.REPEAT_COUNT] * f(0.5)))
        x = x - q[L.REPEAT_SPACING] * min(max(f(math.floor(x / q[L.REPEAT_SPACING] + f(0.5))), -half), half)
        if repeat == L.IN_A_GRID:
            y = y - q[L.REPEAT_SPACING] * min(max(f(math.floor(y / q[L.REPEAT_SPACING] + f(0.5))), -half), half)
    z = z + q[L.BEND] * x * x
    d = _shape(int(q[L.SHAPE]), x, y, z, q[L.SIZE], q[L.SIZE + 1], q[L.SIZE + 2], q[L.ROUND])
    amount = q[L.RELIEF]
    if amount > f(0) and d < f(3) * amount + f(0.05):
        w = q[L.RELIEF_FREQUENCY]
        if int(q[L.RELIEF_KIND]) == 0:
            d -= amount * math.sin(w * x) * math.sin(w * y + f(1)) * math.sin(w * z + f(2))
        else:
            d -= f(2) * amount * (value_noise(x * w * f(0.5), y * w * f(0.5), z * w * f(0.5), 77) - f(0.5))
    return d


@njit
def _surroundings(h, x, y, z):
    """Distance to ground or room, and its material."""
    kind = int(h[L.SURROUNDINGS])
    if kind == L.NOTHING:
        return f(1e9), 0
    d = z - h[L.FLOOR_Z]
    material = int(h[L.FLOOR_MATERIAL])
    if kind == L.BUMPY_GROUND and d < f(0.5):
        d -= h[L.BUMP_HEIGHT] * (value_noise(x * h[L.BUMP_FREQUENCY], y * h[L.BUMP_FREQUENCY], f(0.5), 5) - f(0.5))
    if kind == L.ROOM:
        ax, ay = h[L.ROOM_HALF] - abs(x - h[L.ROOM_X]), h[L.ROOM_HALF + 1] - abs(y - h[L.ROOM_Y])
        top = h[L.FLOOR_Z] + f(2) * h[L.ROOM_HALF + 2] - z
        if ax < d:
            d, material = ax, int(h[L.WALL_MATERIAL])
        if ay < d:
            d, material = ay, int(h[L.WALL_MATERIAL]) + 1
        if top < d:
            d, material = top, int(h[L.CEILING_MATERIAL])
    return d, material


@njit
def distance(h, objects, primitives, x, y, z):
    """Distance bound at a point, the material there, and the number of the object that it belongs to, from 1 (0: ground or room)."""
    best, material = _surroundings(h, x, y, z)
    solid = 0
    for o in range(int(h[L.OBJECT_COUNT])):
        row = objects[o]
        gap = _length3(x - row[L.SPHERE], y - row[L.SPHERE + 1], z - row[L.SPHERE + 2]) - row[L.SPHERE + 3]
        if gap >= best:
            continue
        d, paint = f(1e9), 0
        first = int(row[L.FIRST])
        for i in range(first, first + int(row[L.COUNT])):
            q = primitives[i]
            operation = int(q[L.OPERATION])
            if operation == L.HOLLOW:
                d = abs(d) - q[L.BLEND]
                continue
            own = _primitive(q, x, y, z)
            if operation == L.SUBTRACT:
                if -own > d:
                    d, paint = -own, int(q[L.PAINT])
            elif operation == L.INTERSECT:
                if own > d:
                    d, paint = own, int(q[L.PAINT])
            else:
                if own < d:
                    paint = int(q[L.PAINT])
                if operation == L.SMOOTH_UNION:
                    k = q[L.BLEND]
                    overlap = max(k - abs(d - own), f(0)) / k
                    d = min(d, own) - overlap * overlap * k * f(0.25)
                else:
                    d = min(d, own)
        if d < best:
            best, material, solid = d, paint, o + 1
    return best, material, solid


@njit
def gradient(h, objects, primitives, x, y, z, e):
    """Gradient of the distance by four samples at the corners of a tetrahedron of size ``e``."""
    gx, gy, gz = f(0), f(0), f(0)
    # A loop with one call: four inlined copies of a whole world overflow the GPU's instruction cache.
    for i in range(4):
        sx, sy, sz = f(1 - 2 * ((i ^ (i >> 1)) & 1)), f(2 * (i >> 1) - 1), f(2 * (i & 1) - 1)
        d = distance(h, objects, primitives, x + sx * e, y + sy * e, z + sz * e)[0]
        gx, gy, gz = gx + sx * d, gy + sy * d, gz + sz * d
    k = f(0.25) / e
    return gx * k, gy * k, gz * k


@njit
def signed_distance(h, objects, primitives, x, y, z):
    """Signed distance, divided by the length of its gradient: exact at the surface up to second order."""
    d = distance(h, objects, primitives, x, y, z)[0]
    gx, gy, gz = gradient(h, objects, primitives, x, y, z, f(1e-3))
    return d / min(max(_length3(gx, gy, gz), f(0.5)), f(2))
