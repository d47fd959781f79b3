"""Truncated signed distance fusion of depth pictures (Curless & Levoy 1996), by Open3D's voxel block grid."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.errors import InputError
from recon.depthmaps import DepthMaps
from recon.surface.options import SurfaceOptions
from recon.surface.triangles import Triangles


def voxel_size(maps: DepthMaps, box: Float[ndarray, "2 3"], options: SurfaceOptions) -> float:
    """Side of a voxel in scene units: the extent of what was seen over the resolution, but no finer than the pixels."""
    low, high = seen_box(maps, box)
    wanted = float((high - low).max()) / options.resolution
    footprints = [np.median(d[d > 0]) / k[0, 0] for d, k in zip(maps.depth, maps.cameras.intrinsics, strict=True) if (d > 0).any()]
    return max(wanted, 0.6 * float(np.median(footprints)))


def seen_box(maps: DepthMaps, box: Float[ndarray, "2 3"]) -> tuple[Float[ndarray, "3"], Float[ndarray, "3"]]:
    """Box of the points that the depth pictures hold (0.5th to 99.5th percentile), within ``box``.

    Raises:
        InputError: no picture holds any depth.
    """
    points = []
    for i, depth in enumerate(maps.depth):
        rows, columns = np.nonzero(depth)
        pick = slice(None, None, max(len(rows) // 4000, 1))
        pixels = np.stack([columns[pick], rows[pick]], axis=-1) + 0.5
        points.append(maps.cameras.unproject(i, pixels, depth[rows[pick], columns[pick]].astype(np.float64)))
    every = np.concatenate(points) if points else np.empty((0, 3))
    if len(every) < 100:
        raise InputError(
            "No surface was found that several photos agree on. Take photos that overlap more, of something with visible "
            "texture, or use a higher --quality."
        )
    low, high = np.percentile(every, [0.5, 99.5], axis=0)
    return np.maximum(low, box[0]), np.minimum(high, box[1])


def fuse(maps: DepthMaps, voxel: float) -> Triangles:
    """One mesh from all depth pictures, in world coordinates."""
    import open3d as o3d

    core = o3d.core
    # Open3D works in single precision: fuse around the origin, so that coordinates far from it keep their digits.
    origin = maps.cameras.centers.mean(0)

    def grid_of(blocks: int):  # type: ignore[no-untyped-def]  # Open3D has no types
        return o3d.t.geometry.VoxelBlockGrid(("tsdf", "weight"), (core.float32, core.float32), ((1), (1)), voxel, 16, blocks)

    touching, views = grid_of(1), []
    for i, depth in enumerate(maps.depth):
        if not (depth > 0).any():
            continue
        world_to_camera = maps.cameras.world_to_camera[i].copy()
        world_to_camera[:3, 3] += world_to_camera[:3, :3] @ origin
        k = maps.cameras.intrinsics[i].copy()
        k[:2, 2] -= 0.5  # Open3D puts the first pixel's centre at (0, 0)
        picture = o3d.t.geometry.Image(core.Tensor(np.ascontiguousarray(depth[..., None])))
        seen = (picture, core.Tensor(k), core.Tensor(world_to_camera), 1.0, float(depth.max()) * 1.01, 6.0)
        views.append((touching.compute_unique_block_coordinates(*seen), seen))
    # Room for what is touched and no more: each block is 32 KB, and clearing them all is a large part of the work.
    every = np.concatenate([np.zeros((0, 3), np.int32), *(blocks.numpy() for blocks, _ in views)])
    grid = grid_of(len(np.unique(every, axis=0)) + 1)
    for blocks, seen in views:
        grid.integrate(blocks, *seen)
    mesh = grid.extract_triangle_mesh(weight_threshold=0.5).to_legacy()
    return Triangles(np.asarray(mesh.vertices, dtype=np.float64) + origin, np.asarray(mesh.triangles, dtype=np.int64))
