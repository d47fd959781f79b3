"""A depth picture added to blocks of voxels, each pixel with the weight that it deserves."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

SIDE = 16
"""Voxels along a block's side."""
FRONT = 0.3
"""Share of a pixel's weight that counts beyond ``reach`` before what it shows: that something is empty is said by many pixels, a
few of them wrong at outlines, and must not wear away the thin things that few pixels show."""


def integrate(
    blocks: Int[ndarray, "b 3"], distance: Float[ndarray, "b 16 16 16"], weight: Float[ndarray, "b 16 16 16"],
    depth: Float[ndarray, "h w"], trust: Float[ndarray, "h w"], projection: Float[ndarray, "3 4"], voxel: float, reach: float,
) -> None:  # fmt: skip
    """Add a picture to the running means.

    A voxel farther than ``reach`` behind what its pixel shows learns nothing; one before it learns how far, up to ``reach``.

    Args:
        blocks: integer coordinates; voxel (x, y, z) of block (i, j, k) lies at ``voxel`` times (16 i + x, ...).
        distance: means in units of ``reach``, -1 to 1, indexed z, y, x; changed in place, as is ``weight``.
        depth: along the optical axis, 0 where unknown.
        trust: weight of each pixel.
        projection: world to pixels times z-depth, with the first pixel's centre at (0.5, 0.5).
    """
    from kernels.tsdf import cpu

    cpu.integrate(
        np.ascontiguousarray(blocks, np.int32), distance, weight, np.ascontiguousarray(depth, np.float32),
        np.ascontiguousarray(trust, np.float32), np.ascontiguousarray(projection, np.float64), float(voxel), np.float32(reach), np.float32(FRONT),
    )  # fmt: skip


def integrate_reference(
    blocks: Int[ndarray, "b 3"], distance: Float[ndarray, "b 16 16 16"], weight: Float[ndarray, "b 16 16 16"],
    depth: Float[ndarray, "h w"], trust: Float[ndarray, "h w"], projection: Float[ndarray, "3 4"], voxel: float, reach: float,
) -> None:  # fmt: skip
    """The twin of `integrate` in plain NumPy."""
    z, y, x = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    inner = np.stack([x, y, z], axis=-1)
    points = voxel * (SIDE * blocks[:, None, None, None] + inner)
    local = points @ projection[:, :3].T + projection[:, 3]
    deep = local[..., 2]
    ahead = deep > 0
    u, v = (np.floor(local[..., k] / np.where(ahead, deep, 1)) for k in (0, 1))
    height, width = depth.shape
    inside = ahead & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    i, j = np.where(inside, v, 0).astype(int), np.where(inside, u, 0).astype(int)
    seen, signed = depth[i, j], (depth[i, j] - deep) / reach
    gain = np.where(inside & (seen > 0) & (signed >= -1), trust[i, j] * np.where(signed > 1, np.float32(FRONT), 1), 0)
    total = weight + gain
    mean = (distance * weight + np.clip(signed, -1, 1) * gain) / np.where(total > 0, total, 1)
    distance[:] = np.where(gain > 0, mean, distance)
    weight[:] = total


def carve(
    blocks: Int[ndarray, "b 3"], distance: Float[ndarray, "b 16 16 16"], seen: Int[ndarray, "b 16 16 16"],
    inside: Float[ndarray, "h w"], projection: Float[ndarray, "3 4"], focal: float, voxel: float, reach: float, whole: bool,
) -> None:  # fmt: skip
    """Move the surface inwards to a silhouette: the distance becomes the larger of what it was and how far outside a voxel is.

    Args:
        distance: as `integrate` has it, positive outside; changed in place.
        seen: pictures that each voxel falls into; counted up in place.
        inside: pixels to the silhouette's outline, negative outside of it.
        focal: of the picture, pixels.
        whole: all of the subject is in the picture, so that what falls beside it is outside.
    """
    from kernels.tsdf import cpu

    cpu.carve(
        np.ascontiguousarray(blocks, np.int32), distance, seen, np.ascontiguousarray(inside, np.float32), np.ascontiguousarray(projection, np.float64),
        float(focal), float(voxel), np.float32(reach), bool(whole),
    )  # fmt: skip


def carve_reference(
    blocks: Int[ndarray, "b 3"], distance: Float[ndarray, "b 16 16 16"], seen: Int[ndarray, "b 16 16 16"],
    inside: Float[ndarray, "h w"], projection: Float[ndarray, "3 4"], focal: float, voxel: float, reach: float, whole: bool,
) -> None:  # fmt: skip
    """The twin of `carve` in plain NumPy."""
    z, y, x = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    local = voxel * (SIDE * blocks[:, None, None, None] + np.stack([x, y, z], axis=-1)) @ projection[:, :3].T + projection[:, 3]
    deep = local[..., 2]
    ahead = deep > 0
    u, v = (np.floor(local[..., k] / np.where(ahead, deep, 1)) for k in (0, 1))
    height, width = inside.shape
    fallen = ahead & (u >= 0) & (u < width) & (v >= 0) & (v < height)
    at = inside[np.where(fallen, v, 0).astype(int), np.where(fallen, u, 0).astype(int)]
    outside = np.clip(-at * deep / focal / reach, -1, 1).astype(np.float32)
    seen += fallen
    distance[:] = np.where(fallen, np.maximum(distance, outside), np.where(whole, 1, distance))
