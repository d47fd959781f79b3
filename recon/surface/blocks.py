"""Sparse blocks of voxels around surfaces, and the surface in them (marching cubes, by Open3D)."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from kernels.tsdf import SIDE
from recon.surface.triangles import Triangles

_HALF = 1 << 20
"""Block coordinates lie between minus and plus this."""


def packed(blocks: Int[ndarray, "b 3"]) -> Int[ndarray, "b"]:
    """One number for each block."""
    x, y, z = (blocks.astype(np.int64) + _HALF).T
    return (x << 42) | (y << 21) | z


def unpacked(numbers: Int[ndarray, "b"]) -> Int[ndarray, "b 3"]:
    """Inverse of `packed`."""
    mask = 2 * _HALF - 1
    return np.stack([numbers >> 42, (numbers >> 21) & mask, numbers & mask], axis=1) - _HALF


def regions(blocks: Int[ndarray, "b 3"], most: int) -> Iterator[Bool[ndarray, "b"]]:
    """Compact sets of at most ``most`` blocks that together are all of them: halved across the longest side until small enough."""
    waiting = [np.arange(len(blocks))]
    while waiting:
        part = waiting.pop()
        if len(part) <= most:
            chosen = np.zeros(len(blocks), bool)
            chosen[part] = True
            yield chosen
            continue
        axis = int(np.ptp(blocks[part], axis=0).argmax())
        at = blocks[part, axis]
        middle = np.median(at)
        lower = at <= middle if (at > middle).any() else at < middle
        waiting += [part[lower], part[~lower]]


def with_neighbours(blocks: Int[ndarray, "b 3"], chosen: Bool[ndarray, "b"]) -> Int[ndarray, "c"]:
    """Places of the chosen blocks, then of those that touch one of them."""
    numbers = packed(blocks)
    order = np.argsort(numbers)
    steps = np.array([[x, y, z] for x in (-1, 0, 1) for y in (-1, 0, 1) for z in (-1, 0, 1)])
    around = np.unique(packed((blocks[chosen][:, None] + steps).reshape(-1, 3)))
    at = np.minimum(np.searchsorted(numbers[order], around), len(numbers) - 1)
    found = order[at[numbers[order][at] == around]]
    return np.concatenate([np.flatnonzero(chosen), found[~chosen[found]]])


def surface_in(
    blocks: Int[ndarray, "b 3"], distance: Float[ndarray, "b 16 16 16"], weight: Float[ndarray, "b 16 16 16"], voxel: float,
    least: float, own: int | None = None,
) -> Triangles:  # fmt: skip
    """The surface where the distance is zero, among voxels that weigh at least ``least``; indexed z, y, x within blocks.

    Args:
        own: only what lies in the first so many blocks; the others are there for what they share with these.
    """
    import open3d as o3d

    core = o3d.core
    grid = o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight"), (core.float32, core.float32), ((1), (1)), voxel, SIDE, len(blocks) + 1)
    rows = grid.hashmap().activate(core.Tensor(np.ascontiguousarray(blocks, np.int32)))[0].numpy().astype(np.int64)
    grid.attribute("tsdf").numpy()[rows, ..., 0] = distance
    grid.attribute("weight").numpy()[rows, ..., 0] = weight
    mesh = grid.extract_triangle_mesh(weight_threshold=least)
    if "indices" not in mesh.triangle:
        return Triangles(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    found = Triangles(mesh.vertex.positions.numpy().astype(np.float64), mesh.triangle.indices.numpy().astype(np.int64))
    if own is None or own == len(blocks):
        return found
    cell = np.floor(found.vertices[found.faces].mean(1) / voxel).astype(np.int64)
    return found.kept(np.isin(packed(cell // SIDE), packed(blocks[:own])))


def joined(parts: list[Triangles], voxel: float) -> Triangles:
    """Parts that were cut along blocks, as one mesh: vertices on the cuts are shared again. The list is emptied: they take much memory."""
    if len(parts) == 1:
        return parts.pop()
    vertices = np.concatenate([p.vertices for p in parts]) if parts else np.zeros((0, 3))
    faces = np.empty((sum(len(p.faces) for p in parts), 3), np.int64)
    first, start = 0, 0
    for part in parts:
        np.add(part.faces, start, out=faces[first : first + len(part.faces)])
        first, start = first + len(part.faces), start + len(part.vertices)
    parts.clear()
    side = SIDE * voxel
    near = np.flatnonzero(np.logical_or.reduce([np.abs(v - np.round(v)) * SIDE < 1e-2 for v in (vertices[:, k] / side for k in range(3))]))
    key = np.round(vertices[near] / (voxel * 1e-2)).astype(np.int64)
    _, kept, inverse = np.unique(key, axis=0, return_index=True, return_inverse=True)
    target = np.arange(len(vertices))
    target[near] = near[kept[inverse.reshape(-1)]]
    for k in range(3):
        faces[:, k] = target[faces[:, k]]
    whole = (faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])
    return Triangles(vertices, faces).kept(whole)
