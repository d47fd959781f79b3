"""`texels`, compiled by numba."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@nb.njit(**_OPTIONS)
def rasterise(uv, faces, side, owner, weights):
    """Face and barycentric coordinates of every texel's centre; one core, so that overlaps are decided the same each time."""
    for face in range(len(faces)):
        a, b, c = faces[face, 0], faces[face, 1], faces[face, 2]
        ax, ay, bx, by, cx, cy = uv[a, 0], uv[a, 1], uv[b, 0], uv[b, 1], uv[c, 0], uv[c, 1]
        twice = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if twice == 0:
            continue
        first = max(int(math.ceil(min(ax, min(bx, cx)) * side - 0.5)), 0)
        last = min(int(math.floor(max(ax, max(bx, cx)) * side - 0.5)), side - 1)
        top = max(int(math.ceil((1 - max(ay, max(by, cy))) * side - 0.5)), 0)
        bottom = min(int(math.floor((1 - min(ay, min(by, cy))) * side - 0.5)), side - 1)
        for row in range(top, bottom + 1):
            y = 1 - (row + 0.5) / side
            for column in range(first, last + 1):
                x = (column + 0.5) / side
                wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / twice
                wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / twice
                if wb >= 0 and wc >= 0 and wb + wc <= 1:
                    at = row * side + column
                    owner[at] = face
                    weights[at, 0], weights[at, 1], weights[at, 2] = 1 - wb - wc, wb, wc


@nb.njit(parallel=True, **_OPTIONS)
def interpolate(vertices, normals, faces, number, owner, weights, points, across, nearest):
    for i in nb.prange(len(number)):
        at = number[i]
        a, b, c = faces[owner[at], 0], faces[owner[at], 1], faces[owner[at], 2]
        wa, wb, wc = weights[at, 0], weights[at, 1], weights[at, 2]
        nearest[i] = a if wa >= wb and wa >= wc else (b if wb >= wc else c)
        square = 0.0
        for k in range(3):
            points[i, k] = wa * vertices[a, k] + wb * vertices[b, k] + wc * vertices[c, k]
            n = wa * normals[a, k] + wb * normals[b, k] + wc * normals[c, k]
            across[i, k] = n
            square += n * n
        scale = 1 / max(math.sqrt(square), 1e-12)
        for k in range(3):
            across[i, k] *= scale


@nb.njit(parallel=True, **_OPTIONS)
def facing(points, normals, eye, m, width, height, least, border, seen, good):
    for i in nb.prange(len(points)):
        x, y, z = points[i, 0], points[i, 1], points[i, 2]
        ex, ey, ez = eye[0] - x, eye[1] - y, eye[2] - z
        distance = math.sqrt(ex * ex + ey * ey + ez * ez)
        cosine = (normals[i, 0] * ex + normals[i, 1] * ey + normals[i, 2] * ez) / max(distance, 1e-12)
        depth = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        good[i] = False
        if cosine > least and depth > 0:
            u = (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]) / depth
            v = (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]) / depth
            good[i] = u > border and u < width - border and v > border and v < height - border
            seen[i, 0], seen[i, 1], seen[i, 2], seen[i, 3] = u, v, cosine, distance


@nb.njit(parallel=True, **_OPTIONS)
def add_photo(picture, low, trust, rows, seen, share, typical, least, detail, base):
    height, width = trust.shape
    half, one = np.float32(0.5), np.float32(1)
    band = np.float32(0.05 * max(height, width))
    for k in nb.prange(len(rows)):
        if share[k] > 0:
            x, y, cosine, distance = seen[k, 0], seen[k, 1], seen[k, 2], seen[k, 3]
            i, j = int(math.floor(x - half)), int(math.floor(y - half))
            a, b = x - half - np.float32(i), y - half - np.float32(j)
            w00, w01, w10, w11 = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
            edge = min(min(x, np.float32(width) - x), min(y, np.float32(height) - y))
            fade = min(max(edge / band, np.float32(0.02)), one)
            trusted = w00 * trust[j, i] + w01 * trust[j, i + 1] + w10 * trust[j + 1, i] + w11 * trust[j + 1, i + 1]
            worth = cosine * typical / distance
            weight = worth * worth * fade * trusted * share[k]
            if weight > least:
                row, best = rows[k], weight * weight * weight * weight
                for c in range(3):
                    blurred = w00 * low[j, i, c] + w01 * low[j, i + 1, c] + w10 * low[j + 1, i, c] + w11 * low[j + 1, i + 1, c]
                    sharp = w00 * np.float32(picture[j, i, c]) + w01 * np.float32(picture[j, i + 1, c])
                    sharp += w10 * np.float32(picture[j + 1, i, c]) + w11 * np.float32(picture[j + 1, i + 1, c])
                    detail[row, c] += (sharp - blurred) * best
                    base[row, c] += blurred * weight
                detail[row, 3] += best
                base[row, 3] += weight


@nb.njit(fastmath=True, **_OPTIONS)
def compare(texture, at, across, down, colors, weight, square, num, den):
    side = int(math.sqrt(len(texture)))
    one, error = np.float32(1), 0.0
    share, place = np.empty(4, np.float32), np.empty(4, np.int64)
    for i in range(len(at)):
        a, b, t = across[i], down[i], at[i]
        share[0], share[1], share[2], share[3] = (one - a) * (one - b), a * (one - b), (one - a) * b, a * b
        place[0], place[1], place[2], place[3] = t, t + 1, t + side, t + side + 1
        r0, r1, r2 = np.float32(colors[i, 0]), np.float32(colors[i, 1]), np.float32(colors[i, 2])
        for k in range(4):
            r0 -= share[k] * texture[place[k], 0]
            r1 -= share[k] * texture[place[k], 1]
            r2 -= share[k] * texture[place[k], 2]
        off = r0 * r0 + r1 * r1 + r2 * r2
        error += off
        worth = weight[i] / (one + off / square)
        for k in range(4):
            w = share[k] * worth
            num[place[k], 0] += w * r0
            num[place[k], 1] += w * r1
            num[place[k], 2] += w * r2
            den[place[k]] += w
    return error
