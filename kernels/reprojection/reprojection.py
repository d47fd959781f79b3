"""What one picture says of many points, added to what others said; a projection is ``K [R | t]``, world to pixels.

Meshing asks this of every pixel in several other views, so that it is compiled: no array in between, every core.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


def vote(
    points: Float[ndarray, "p 3"], projection: Float[ndarray, "3 4"], depth: Float[ndarray, "h w"], tolerance: float,
    agree: Int[ndarray, "p"], violate: Int[ndarray, "p"],
) -> None:  # fmt: skip
    """Add one to ``agree`` where the picture shows a surface at the point, to ``violate`` where it shows something behind.

    Args:
        depth: along the optical axis; 0 where unknown, which says nothing.
        tolerance: relative difference in depth that agrees; twice as much must lie behind.
        agree, violate: changed in place.
    """
    from kernels.reprojection import cpu

    cpu.vote(np.ascontiguousarray(points, np.float64), projection, np.ascontiguousarray(depth, np.float32), tolerance, agree, violate)


def vote_reference(
    points: Float[ndarray, "p 3"], projection: Float[ndarray, "3 4"], depth: Float[ndarray, "h w"], tolerance: float,
    agree: Int[ndarray, "p"], violate: Int[ndarray, "p"],
) -> None:  # fmt: skip
    """The twin of `vote` in plain NumPy."""
    inside, row, column, z = _fallen(points, projection, *depth.shape)
    seen = np.where(inside, depth[row, column], 0.0)
    known = seen > 0
    agree += known & (np.abs(z - seen) < tolerance * z)
    violate += known & (z < seen * (1 - 2 * tolerance))


def silhouette(
    points: Float[ndarray, "p 3"], projection: Float[ndarray, "3 4"], mask: Bool[ndarray, "h w"], whole: bool,
    kept: Bool[ndarray, "p"], seen: Int[ndarray, "p"],
) -> None:  # fmt: skip
    """Clear ``kept`` where a point falls beside the silhouette, and add one to ``seen`` where it falls into the picture.

    Args:
        whole: the subject lies in the picture as a whole, so that points beside the picture are no part of it either.
        kept, seen: changed in place.
    """
    from kernels.reprojection import cpu

    cpu.silhouette(np.ascontiguousarray(points, np.float64), projection, np.ascontiguousarray(mask), whole, kept, seen)


def silhouette_reference(
    points: Float[ndarray, "p 3"], projection: Float[ndarray, "3 4"], mask: Bool[ndarray, "h w"], whole: bool,
    kept: Bool[ndarray, "p"], seen: Int[ndarray, "p"],
) -> None:  # fmt: skip
    """The twin of `silhouette` in plain NumPy."""
    inside, row, column, _ = _fallen(points, projection, *mask.shape)
    seen += inside
    kept &= np.where(inside, mask[row, column], not whole)


def lift(
    depth: Float[ndarray, "h w"], inverse: Float[ndarray, "3 3"], camera_to_world: Float[ndarray, "4 4"]
) -> tuple[Int[ndarray, "p"], Int[ndarray, "p"], Float[ndarray, "p 3"]]:
    """Rows and columns of the pixels whose depth is known, and the points that they show in the world.

    Args:
        inverse: of the camera matrix.
    """
    from kernels.reprojection import cpu

    rows, columns = np.nonzero(depth)
    points = np.empty((len(rows), 3))
    cpu.lift(np.ascontiguousarray(depth, np.float32), rows, columns, inverse, np.ascontiguousarray(camera_to_world), points)
    return rows, columns, points


def lift_reference(
    depth: Float[ndarray, "h w"], inverse: Float[ndarray, "3 3"], camera_to_world: Float[ndarray, "4 4"]
) -> tuple[Int[ndarray, "p"], Int[ndarray, "p"], Float[ndarray, "p 3"]]:
    """The twin of `lift` in plain NumPy."""
    rows, columns = np.nonzero(depth)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    local = pixels @ inverse.T * depth[rows, columns].astype(np.float64)[:, None]
    return rows, columns, local @ camera_to_world[:3, :3].T + camera_to_world[:3, 3]


def rays_toward(
    points: Float[ndarray, "p 3"], rows: Int[ndarray, "k"], eye: Float[ndarray, "3"], origin: Float[ndarray, "3"], margin: float
) -> Float[ndarray, "k 6"]:
    """Rays from some of the points to an eye: start and unit direction, single precision, counted from ``origin``.

    Args:
        rows: which points.
        margin: how far before its point a ray starts.
    """
    from kernels.reprojection import cpu

    rays = np.empty((len(rows), 6), np.float32)
    cpu.rays_toward(np.ascontiguousarray(points, np.float64), rows, np.asarray(eye, np.float64), np.asarray(origin, np.float64), margin, rays)
    return rays


def rays_toward_reference(
    points: Float[ndarray, "p 3"], rows: Int[ndarray, "k"], eye: Float[ndarray, "3"], origin: Float[ndarray, "3"], margin: float
) -> Float[ndarray, "k 6"]:
    """The twin of `rays_toward` in plain NumPy."""
    direction = eye - points[rows]
    direction /= np.maximum(np.linalg.norm(direction, axis=1, keepdims=True), 1e-12)
    return np.concatenate([points[rows] - origin + margin * direction, direction], axis=1).astype(np.float32)


def _fallen(points: ndarray, projection: ndarray, height: int, width: int) -> tuple[ndarray, ndarray, ndarray, ndarray]:
    """Whether each point falls on a pixel, that pixel's row and column (0 where not), and the point's depth."""
    local = points @ projection[:, :3].T + projection[:, 3]
    z = local[:, 2]
    x, y = np.floor(local[:, :2] / np.where(z > 0, z, 1)[:, None]).T
    inside = (z > 0) & (x >= 0) & (y >= 0) & (x < width) & (y < height)
    return inside, np.where(inside, y, 0).astype(np.int64), np.where(inside, x, 0).astype(np.int64), z
