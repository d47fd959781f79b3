"""`tsdf.integrate`, compiled by numba."""

import math

import numba as nb
import numpy as np

_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy"}


@nb.njit(**_OPTIONS)
def _outside(block, m, side, width, height):
    """Whether all of a block lies beside the picture, on one side of it, or behind the camera."""
    left, right, above, below, behind = 0, 0, 0, 0, 0
    for corner in range(8):
        x, y, z = side * (block[0] + (corner & 1)), side * (block[1] + (corner >> 1 & 1)), side * (block[2] + (corner >> 2))
        u = m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3]
        v = m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3]
        w = m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3]
        left += u < 0
        right += u > width * w
        above += v < 0
        below += v > height * w
        behind += w <= 0
    return left == 8 or right == 8 or above == 8 or below == 8 or behind == 8


@nb.njit(parallel=True, **_OPTIONS)
def integrate(blocks, distance, weight, depth, trust, m, voxel, reach, front):
    height, width = depth.shape
    one = np.float32(1)
    for b in nb.prange(len(blocks)):
        if _outside(blocks[b], m, 16 * voxel, width, height):
            continue
        for z in range(16):
            pz = voxel * (16 * blocks[b, 2] + z)
            for y in range(16):
                py = voxel * (16 * blocks[b, 1] + y)
                ux, uy, uz = m[0, 1] * py + m[0, 2] * pz + m[0, 3], m[1, 1] * py + m[1, 2] * pz + m[1, 3], m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                for x in range(16):
                    px = voxel * (16 * blocks[b, 0] + x)
                    deep = m[2, 0] * px + uz
                    if deep <= 0:
                        continue
                    u, v = math.floor((m[0, 0] * px + ux) / deep), math.floor((m[1, 0] * px + uy) / deep)
                    if not (u >= 0 and u < width and v >= 0 and v < height):
                        continue
                    i, j = int(v), int(u)
                    seen = depth[i, j]
                    if seen <= 0:
                        continue
                    signed = np.float32((seen - deep) / reach)
                    if signed < -one:
                        continue
                    gain = trust[i, j] * (front if signed > one else one)
                    if gain > 0:
                        total = weight[b, z, y, x] + gain
                        distance[b, z, y, x] = (distance[b, z, y, x] * weight[b, z, y, x] + min(signed, one) * gain) / total
                        weight[b, z, y, x] = total


@nb.njit(parallel=True, **_OPTIONS)
def carve(blocks, distance, seen, inside, m, focal, voxel, reach, whole):
    height, width = inside.shape
    one = np.float32(1)
    for b in nb.prange(len(blocks)):
        for z in range(16):
            pz = voxel * (16 * blocks[b, 2] + z)
            for y in range(16):
                py = voxel * (16 * blocks[b, 1] + y)
                for x in range(16):
                    px = voxel * (16 * blocks[b, 0] + x)
                    deep = m[2, 0] * px + m[2, 1] * py + m[2, 2] * pz + m[2, 3]
                    fallen = False
                    if deep > 0:
                        u = math.floor((m[0, 0] * px + m[0, 1] * py + m[0, 2] * pz + m[0, 3]) / deep)
                        v = math.floor((m[1, 0] * px + m[1, 1] * py + m[1, 2] * pz + m[1, 3]) / deep)
                        fallen = u >= 0 and u < width and v >= 0 and v < height
                        if fallen:
                            outside = np.float32(-inside[int(v), int(u)] * deep / focal / reach)
                            distance[b, z, y, x] = max(distance[b, z, y, x], min(max(outside, -one), one))
                            seen[b, z, y, x] += 1
                    if not fallen and whole:
                        distance[b, z, y, x] = one
