"""Truncated signed distance fusion of depth pictures (Curless & Levoy 1996), each pixel with the weight that it deserves."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.allocator import release_freed_memory
from data.errors import InputError
from kernels.tsdf import SIDE, integrate
from recon.depthmaps import DepthMaps
from recon.surface.blocks import joined, packed, regions, surface_in, unpacked, with_neighbours
from recon.surface.options import SurfaceOptions
from recon.surface.triangles import Triangles

REACH = 6.0
"""Voxels before and behind a surface that learn its distance."""
LEAST = 0.15
"""Weight that a voxel must have gathered: a pixel that one other view confirms, or a few that none contradicts."""
REGION = 2048
"""Blocks of one region: 64 MB, and seven times that while its surface is looked for."""
MOST_FACES = 4_000_000
"""Faces from which on regions are decimated as they come; some 150 bytes each while a mesh is cleaned."""


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


def fuse(maps: DepthMaps, voxel: float, weights: list[Float[ndarray, "_ _"]] | None = None, most_blocks: int = REGION, most_faces: int = MOST_FACES) -> Triangles:
    """One mesh from all depth pictures, in world coordinates.

    Large scenes are fused region by region, each with the blocks that touch it, so that memory follows the regions' size and not
    the scene's; what they share is computed twice, alike.

    Args:
        weights: how far each pixel is trusted; 1 everywhere if not given. A surface is what gathers more than `LEAST`.
        most_blocks: blocks of 16^3 voxels (32 KB each) that are held at a time, neighbours not counted.
        most_faces: of all regions together, about: beyond that, regions are decimated as they come.
    """
    from recon.surface.cleaning import decimated

    # Around the origin single precision suffices for coordinates far from it.
    origin = maps.cameras.centers.mean(0)
    if weights is None:
        weights = [(depth > 0).astype(np.float32) for depth in maps.depth]
    reach = REACH * voxel
    blocks = _touched(maps, weights, origin, voxel, reach)
    projections = maps.cameras.projections.copy()
    projections[:, :, 3] += projections[:, :, :3] @ origin
    parts: list[Triangles] = []
    done, faces = 0, 0
    for chosen in regions(blocks, most_blocks):
        rows = with_neighbours(blocks, chosen)
        distance, weight = np.ones((len(rows), SIDE, SIDE, SIDE), np.float32), np.zeros((len(rows), SIDE, SIDE, SIDE), np.float32)
        for depth, trust, projection in zip(maps.depth, weights, projections, strict=True):
            integrate(blocks[rows], distance, weight, depth, trust, projection, voxel, reach)
        part = surface_in(blocks[rows], distance, weight, voxel, LEAST, int(chosen.sum()))
        done += int(chosen.sum())
        faces += len(part.faces)
        expected = faces / done * len(blocks)
        if expected > most_faces:
            part = decimated(part, max(int(len(part.faces) * most_faces / expected), 1), keep_rims=True)
        parts.append(part)
        del distance, weight
    release_freed_memory()
    mesh = joined(parts, voxel)
    return Triangles(mesh.vertices + origin, mesh.faces)


def _touched(
    maps: DepthMaps, weights: list[Float[ndarray, "_ _"]], origin: Float[ndarray, "3"], voxel: float, reach: float
) -> Int[ndarray, "b 3"]:
    """Blocks that lie within ``reach`` of what some pixel shows, along its ray."""
    side = SIDE * voxel
    steps = np.linspace(-reach, reach, int(np.ceil(4 * reach / side)) + 1)
    every: list[ndarray] = []
    for i, (depth, trust) in enumerate(zip(maps.depth, weights, strict=True)):
        rows, columns = np.nonzero((depth > 0) & (trust > 0))
        pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
        rays = pixels @ (maps.cameras.camera_to_world[i, :3, :3] @ np.linalg.inv(maps.cameras.intrinsics[i])).T
        z = depth[rows, columns].astype(np.float64)
        for step in steps:
            points = rays * (z + step)[:, None] + (maps.cameras.centers[i] - origin)
            every.append(np.unique(packed(np.floor(points / side).astype(np.int64))))
    return unpacked(np.unique(np.concatenate(every))) if every else np.zeros((0, 3), np.int64)
