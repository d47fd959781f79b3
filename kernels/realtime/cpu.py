"""`rasterizing` and `blending`, compiled by numba."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_FAST = {**_OPTIONS, "fastmath": True}
_BAND = 50
"""Rows of the picture that one core fills at a time: none of its pixels is another's."""
_CHUNK = 64
"""Pixels of a row that are blended together: what can be vectorised is computed for all of them, what must be gathered one by one."""


@nb.njit(inline="always", **_OPTIONS)
def _planes(corners, faces, f):
    """Of a triangle: `b x c`, `c x a`, `a x b` and its determinant."""
    a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
    ax, ay, az = corners[a, 0], corners[a, 1], corners[a, 2]
    bx, by, bz = corners[b, 0], corners[b, 1], corners[b, 2]
    cx, cy, cz = corners[c, 0], corners[c, 1], corners[c, 2]
    ux, uy, uz = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    vx, vy, vz = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    wx, wy, wz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    return ux, uy, uz, vx, vy, vz, wx, wy, wz, ax * ux + ay * uy + az * uz


@nb.njit(parallel=True, **_OPTIONS)
def rasterize(corners, faces, start, end, face, depth):
    height, width = face.shape
    pixels = np.empty((len(corners), 2), np.float32)
    for v in nb.prange(len(corners)):
        if corners[v, 2] > 0:
            pixels[v, 0], pixels[v, 1] = corners[v, 0] / corners[v, 2], corners[v, 1] / corners[v, 2]
    spans = np.empty((end - start, 4), np.int16)
    for n in nb.prange(end - start):
        f = start + n
        left, right, top, bottom = np.float32(1e9), np.float32(-1e9), np.float32(1e9), np.float32(-1e9)
        behind = 0
        for k in range(3):
            v = faces[f, k]
            if corners[v, 2] <= 0:
                behind += 1
            else:
                left, right = min(left, pixels[v, 0]), max(right, pixels[v, 0])
                top, bottom = min(top, pixels[v, 1]), max(bottom, pixels[v, 1])
        if 0 < behind < 3:  # it may reach anywhere
            left, right, top, bottom = np.float32(0), np.float32(width), np.float32(0), np.float32(height)
        # A thousandth of a pixel for what single precision may have lost.
        first, last = max(int(math.ceil(max(left - 0.501, -1.0))), 0), min(int(math.floor(min(right - 0.499, float(width)))), width - 1)
        high, low = max(int(math.ceil(max(top - 0.501, -1.0))), 0), min(int(math.floor(min(bottom - 0.499, float(height)))), height - 1)
        empty = behind == 3 or first > last or high > low
        spans[n, 0], spans[n, 1], spans[n, 2], spans[n, 3] = first, last, 1 if empty else high, 0 if empty else low
    for band in nb.prange((height + _BAND - 1) // _BAND):
        above, below = band * _BAND, min((band + 1) * _BAND, height) - 1
        for n in range(end - start):
            if spans[n, 2] > below or spans[n, 3] < above or spans[n, 2] > spans[n, 3]:
                continue
            f = start + n
            ux, uy, uz, vx, vy, vz, wx, wy, wz, twice = _planes(corners, faces, f)
            if twice >= 0:  # seen from behind, or from its edge: rows run downwards
                continue
            inverse = 1 / twice
            ux, uy, uz, vx, vy, vz = ux * inverse, uy * inverse, uz * inverse, vx * inverse, vy * inverse, vz * inverse
            wx, wy, wz = wx * inverse, wy * inverse, wz * inverse
            for row in range(max(spans[n, 2], above), min(spans[n, 3], below) + 1):
                y = row + 0.5
                u, v, w = uy * y + uz, vy * y + vz, wy * y + wz
                first, last = _inside(ux, u, vx, v, wx, w, spans[n, 0], spans[n, 1])
                for column in range(first, last + 1):
                    if start > 0 and 0 <= face[row, column] < start:  # a layer before this one shows something
                        continue
                    x = column + 0.5
                    wa, wb, wc = ux * x + u, vx * x + v, wx * x + w
                    total = wa + wb + wc
                    if wa >= 0 and wb >= 0 and wc >= 0 and total > 0:
                        z = np.float32(1 / total)
                        if z < depth[row, column]:
                            depth[row, column] = z
                            face[row, column] = f


@nb.njit(inline="always", **_OPTIONS)
def _inside(ux, u, vx, v, wx, w, first, last):
    """Columns of a row outside of which one of the three lines `slope x + start` is negative; a pixel more to be sure."""
    if last - first <= 3:
        return np.int64(first), np.int64(last)
    low, high = float(first), float(last)
    for slope, start in ((ux, u), (vx, v), (wx, w)):
        if slope > 0:
            low = max(low, -start / slope - 1.5)
        elif slope < 0:
            high = min(high, -start / slope + 0.5)
    return np.int64(min(low, 1e6)), np.int64(max(high, -1.0))


@nb.njit(inline="always", **_FAST)
def _surface(row, begin, count, mesh, vertices, normals, faces, colors, corners, face, e, floor, point, normal, ray, share, least, color):
    """Of the pixels of a chunk: where they lie, the directions of the surface and of the ray there, what the vertices say."""
    one, zero = np.float32(1), np.float32(0)
    y, before = row + 0.5, -1
    shown = False
    for i in range(count):
        f = face[row, begin + i]
        if f < 0:
            for d in range(3):
                point[d, i] = normal[d, i] = zero
            continue
        shown = True
        if f != before:
            before = f
            a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = corners[a, 0], corners[a, 1], corners[a, 2]
            bx, by, bz = corners[b, 0], corners[b, 1], corners[b, 2]
            cx, cy, cz = corners[c, 0], corners[c, 1], corners[c, 2]
            ux, uy = by * cz - bz * cy, (bz * cx - bx * cz) * y + (bx * cy - by * cx)
            vx, vy = cy * az - cz * ay, (cz * ax - cx * az) * y + (cx * ay - cy * ax)
            wx, wy = ay * bz - az * by, (az * bx - ax * bz) * y + (ax * by - ay * bx)
        x = begin + i + 0.5
        da, db, dc = ux * x + uy, vx * x + vy, wx * x + wy
        inverse = 1 / (da + db + dc)
        wa, wb, wc = np.float32(da * inverse), np.float32(db * inverse), np.float32(dc * inverse)
        share[0, i], share[1, i], share[2, i] = wa, wb, wc
        for d in range(3):
            point[d, i] = wa * vertices[a, d] + wb * vertices[b, d] + wc * vertices[c, d]
            normal[d, i] = wa * normals[a, d] + wb * normals[b, d] + wc * normals[c, d]
            color[i, d] = floor * (wa * np.float32(colors[a, d]) + wb * np.float32(colors[b, d]) + wc * np.float32(colors[c, d]))
        color[i, 3] = floor * np.float32(255)
        least[i] = floor if f >= mesh else zero
    for i in range(_CHUNK):
        n = one / math.sqrt(normal[0, i] * normal[0, i] + normal[1, i] * normal[1, i] + normal[2, i] * normal[2, i] + np.float32(1e-24))
        x, y_, z = point[0, i] - e[0], point[1, i] - e[1], point[2, i] - e[2]
        r = one / math.sqrt(x * x + y_ * y_ + z * z + np.float32(1e-24))
        normal[0, i], normal[1, i], normal[2, i] = normal[0, i] * n, normal[1, i] * n, normal[2, i] * n
        ray[0, i], ray[1, i], ray[2, i] = x * r, y_ * r, z * r
    return shown


@nb.njit(inline="always", **_FAST)
def _seen(m, o, important, sharpness, flattest, fade, wide, tall, point, normal, ray, column, line, depth, edge, weight):
    """Of a chunk in a photo: its pixels, their depth, how far from the photo's border, and the weight by angles."""
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    m00, m01, m02, m03 = m[0, 0], m[0, 1], m[0, 2], m[0, 3]
    m10, m11, m12, m13 = m[1, 0], m[1, 1], m[1, 2], m[1, 3]
    m20, m21, m22, m23 = m[2, 0], m[2, 1], m[2, 2], m[2, 3]
    ox, oy, oz = o[0], o[1], o[2]
    steep = sharpness * np.float32(1 / 32)
    for i in range(_CHUNK):
        px, py, pz = point[0, i], point[1, i], point[2, i]
        z = m20 * px + m21 * py + m22 * pz + m23
        inverse = one / (z if z > zero else one)
        x, y = (m00 * px + m01 * py + m02 * pz + m03) * inverse, (m10 * px + m11 * py + m12 * pz + m13) * inverse
        edge[i] = min(max(min(min(x, wide - x), min(y, tall - y)) * fade, zero), one)
        column[i], line[i], depth[i] = min(max(x, zero), wide - half), min(max(y, zero), tall - half), z
        tx, ty, tz = ox - px, oy - py, oz - pz
        t = one / math.sqrt(tx * tx + ty * ty + tz * tz + np.float32(1e-24))
        cosine = min(max((normal[0, i] * tx + normal[1, i] * ty + normal[2, i] * tz) * t, flattest), one)
        # exp(x) as exp(x / 32) ** 32, the former by its series: a call of the library's would keep the loop from being vectorised.
        g = max(-steep * max(one + (tx * ray[0, i] + ty * ray[1, i] + tz * ray[2, i]) * t, zero), np.float32(-1))
        g = one + g * (one + g * (half + g * (np.float32(1 / 6) + g * (np.float32(1 / 24) + g * np.float32(1 / 120)))))
        g *= g
        g *= g
        g *= g
        g *= g
        g *= g
        weight[i] = (important if z > zero else zero) * cosine * g


@nb.njit(parallel=True, **_FAST)
def blend(
    vertices, normals, faces, mesh, colors, photos, depths, projections, centers, trust, doubted, face, corners, eye, chosen, importance,
    sharpness, floor, tolerance, border, flattest, background, picture,
):  # fmt: skip
    height, width = face.shape
    rows, stride = depths.shape[1], depths.shape[2]
    half, one, two, zero = np.float32(0.5), np.float32(1), np.float32(2), np.float32(0)
    tall, wide = np.float32(rows), np.float32(stride)
    fade = one / (border * max(tall, wide))
    strict = one / tolerance
    m = projections.astype(np.float32)
    o = centers.astype(np.float32)
    e = eye.astype(np.float32)
    for row in nb.prange(height):
        point, normal, ray, share = np.zeros((3, _CHUNK), np.float32), np.zeros((3, _CHUNK), np.float32), np.zeros((3, _CHUNK), np.float32), np.zeros((3, _CHUNK), np.float32)
        column, line, depth, edge, weight, least, there = (
            np.zeros(_CHUNK, np.float32), np.zeros(_CHUNK, np.float32), np.zeros(_CHUNK, np.float32), np.zeros(_CHUNK, np.float32),
            np.zeros(_CHUNK, np.float32), np.zeros(_CHUNK, np.float32), np.ones(_CHUNK, np.float32),
        )  # fmt: skip
        at, quad, color = np.zeros(_CHUNK, np.int32), np.zeros((4, _CHUNK), np.float32), np.zeros((_CHUNK, 4), np.float32)
        for begin in range(0, width, _CHUNK):
            count = min(_CHUNK, width - begin)
            shown = _surface(row, begin, count, mesh, vertices, normals, faces, colors, corners, face, e, floor, point, normal, ray, share, least, color)
            for q in range(len(chosen) if shown else 0):
                k = chosen[q]
                _seen(m[k], o[k], importance[q], sharpness, flattest, fade, wide, tall, point, normal, ray, column, line, depth, edge, weight)
                for i in range(count):
                    there[i] = min(depths[k, np.int64(line[i]), np.int64(column[i])], np.float32(1e30))  # infinity has no fast inverse
                for i in range(_CHUNK):
                    edge[i] *= min(max(two - (depth[i] / there[i] - one) * strict, zero), one)
                if doubted[k]:
                    for i in range(count):
                        f = face[row, begin + i]
                        if f >= 0 and edge[i] > zero:
                            a, b, c = trust[faces[f, 0], k], trust[faces[f, 1], k], trust[faces[f, 2], k]
                            edge[i] *= (share[0, i] * np.float32(a) + share[1, i] * np.float32(b) + share[2, i] * np.float32(c)) * np.float32(1 / 255)
                for i in range(_CHUNK):
                    w = max(edge[i], least[i]) * weight[i]
                    x, y = min(max(column[i] - half, zero), wide - one), min(max(line[i] - half, zero), tall - one)
                    left, top = np.int32(min(x, wide - two)), np.int32(min(y, tall - two))
                    x, y = x - np.float32(left), y - np.float32(top)
                    at[i] = top * np.int32(stride) + left
                    quad[3, i] = x * y * w
                    quad[1, i], quad[2, i] = x * w - quad[3, i], y * w - quad[3, i]
                    quad[0, i] = w - quad[1, i] - quad[2, i] - quad[3, i]
                    weight[i] = w
                texels = photos[k]
                for i in range(count):
                    if weight[i] <= zero or face[row, begin + i] < 0:
                        continue
                    w00, w01, w10, w11, t = quad[0, i], quad[1, i], quad[2, i], quad[3, i], at[i]
                    for c in range(4):  # the fourth is 255: the weight
                        color[i, c] += (
                            w00 * np.float32(texels[t, c]) + w01 * np.float32(texels[t + 1, c])
                            + w10 * np.float32(texels[t + stride, c]) + w11 * np.float32(texels[t + stride + 1, c])
                        )  # fmt: skip
            for i in range(count):
                if face[row, begin + i] < 0:
                    for c in range(3):
                        picture[row, begin + i, c] = background[c]
                else:
                    scale = np.float32(255) / color[i, 3]
                    for c in range(3):
                        picture[row, begin + i, c] = np.uint8(min(max(color[i, c] * scale + half, zero), np.float32(255)))
