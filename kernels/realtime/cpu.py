"""`rasterizing` and `blending`, compiled by numba."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}
_FAST = {**_OPTIONS, "fastmath": True}
_BAND = 50
"""Rows of the picture that one core fills at a time: none of its pixels is another's."""


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
            for row in range(max(spans[n, 2], above), min(spans[n, 3], below) + 1):
                y = row + 0.5
                for column in range(spans[n, 0], spans[n, 1] + 1):
                    x = column + 0.5
                    wa, wb, wc = (ux * x + uy * y + uz) * inverse, (vx * x + vy * y + vz) * inverse, (wx * x + wy * y + wz) * inverse
                    total = wa + wb + wc
                    if wa >= 0 and wb >= 0 and wc >= 0 and total > 0:
                        z = np.float32(1 / total)
                        if z < depth[row, column] and (face[row, column] < 0 or face[row, column] >= start):
                            depth[row, column] = z
                            face[row, column] = f


@nb.njit(inline="always", **_FAST)
def _bilinear(picture, x, y, out):
    height, width = picture.shape[:2]
    half, one = np.float32(0.5), np.float32(1)
    x = min(max(x - half, np.float32(0)), np.float32(width - 1))
    y = min(max(y - half, np.float32(0)), np.float32(height - 1))
    j, i = min(int(x), width - 2), min(int(y), height - 2)
    a, b = x - np.float32(j), y - np.float32(i)
    w00, w01, w10, w11 = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
    for c in range(3):
        out[c] = (
            w00 * np.float32(picture[i, j, c]) + w01 * np.float32(picture[i, j + 1, c])
            + w10 * np.float32(picture[i + 1, j, c]) + w11 * np.float32(picture[i + 1, j + 1, c])
        )  # fmt: skip


@nb.njit(parallel=True, **_FAST)
def blend(
    vertices, normals, faces, mesh, colors, photos, depths, projections, centers, trust, face, corners, eye, chosen, importance,
    sharpness, floor, tolerance, border, least, background, picture,
):  # fmt: skip
    height, width = face.shape
    tall, wide = photos.shape[1], photos.shape[2]
    half, one, zero = np.float32(0.5), np.float32(1), np.float32(0)
    fade = one / (border * np.float32(max(tall, wide)))
    m = projections.astype(np.float32)
    o = centers.astype(np.float32)
    e = eye.astype(np.float32)
    for row in nb.prange(height):
        sample = np.empty(3, np.float32)
        color = np.empty(3, np.float32)
        for column in range(width):
            f = face[row, column]
            if f < 0:
                for c in range(3):
                    picture[row, column, c] = background[c]
                continue
            a, b, c_ = faces[f, 0], faces[f, 1], faces[f, 2]
            ax, ay, az = corners[a, 0], corners[a, 1], corners[a, 2]
            bx, by, bz = corners[b, 0], corners[b, 1], corners[b, 2]
            cx, cy, cz = corners[c_, 0], corners[c_, 1], corners[c_, 2]
            x, y = column + 0.5, row + 0.5
            da = (by * cz - bz * cy) * x + (bz * cx - bx * cz) * y + (bx * cy - by * cx)
            db = (cy * az - cz * ay) * x + (cz * ax - cx * az) * y + (cx * ay - cy * ax)
            dc = (ay * bz - az * by) * x + (az * bx - ax * bz) * y + (ax * by - ay * bx)
            inverse = 1 / (da + db + dc)
            wa, wb, wc = np.float32(da * inverse), np.float32(db * inverse), np.float32(dc * inverse)
            px = wa * vertices[a, 0] + wb * vertices[b, 0] + wc * vertices[c_, 0]
            py = wa * vertices[a, 1] + wb * vertices[b, 1] + wc * vertices[c_, 1]
            pz = wa * vertices[a, 2] + wb * vertices[b, 2] + wc * vertices[c_, 2]
            nx = wa * normals[a, 0] + wb * normals[b, 0] + wc * normals[c_, 0]
            ny = wa * normals[a, 1] + wb * normals[b, 1] + wc * normals[c_, 1]
            nz = wa * normals[a, 2] + wb * normals[b, 2] + wc * normals[c_, 2]
            n = one / max(math.sqrt(nx * nx + ny * ny + nz * nz), np.float32(1e-12))
            rx, ry, rz = px - e[0], py - e[1], pz - e[2]
            r = one / max(math.sqrt(rx * rx + ry * ry + rz * rz), np.float32(1e-12))
            lining = f >= mesh
            total = np.float32(1e-9) if lining else floor
            for c in range(3):
                color[c] = total * (wa * np.float32(colors[a, c]) + wb * np.float32(colors[b, c]) + wc * np.float32(colors[c_, c]))
            for q in range(len(chosen)):
                k = chosen[q]
                trusted = (wa * np.float32(trust[a, k]) + wb * np.float32(trust[b, k]) + wc * np.float32(trust[c_, k])) * np.float32(1 / 255)
                if trusted <= 0 and not lining:
                    continue
                z = m[k, 2, 0] * px + m[k, 2, 1] * py + m[k, 2, 2] * pz + m[k, 2, 3]
                if z <= 0:
                    continue
                sx = (m[k, 0, 0] * px + m[k, 0, 1] * py + m[k, 0, 2] * pz + m[k, 0, 3]) / z
                sy = (m[k, 1, 0] * px + m[k, 1, 1] * py + m[k, 1, 2] * pz + m[k, 1, 3]) / z
                inside = sx > 0 and sx < wide and sy > 0 and sy < tall
                if not inside and not lining:
                    continue
                sx, sy = min(max(sx, zero), wide - half), min(max(sy, zero), tall - half)
                behind = z / depths[k, int(sy), int(sx)] - one
                visible = min(max((tolerance + tolerance - behind) / tolerance, zero), one)
                edge = min(min(min(sx, wide - sx), min(sy, tall - sy)) * fade, one)
                weight = trusted * visible * edge if inside else zero
                if lining:
                    weight = max(weight, floor)
                if weight <= 0:
                    continue
                tx, ty, tz = o[k, 0] - px, o[k, 1] - py, o[k, 2] - pz
                t = one / max(math.sqrt(tx * tx + ty * ty + tz * tz), np.float32(1e-12))
                cosine = min(max((nx * tx + ny * ty + nz * tz) * n * t, least), one)
                weight *= importance[q] * cosine * cosine * math.exp(-sharpness * (one + (tx * rx + ty * ry + tz * rz) * t * r))
                _bilinear(photos[k], sx, sy, sample)
                for c in range(3):
                    color[c] += weight * sample[c]
                total += weight
            for c in range(3):
                picture[row, column, c] = np.uint8(min(max(color[c] / total + half, zero), np.float32(255)))
