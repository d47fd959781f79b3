"""Triangles to pixels without clipping, in homogeneous coordinates (Olano & Greer 1997).

A vertex is taken as `K (R p + t)`: its pixel times its depth, and its depth. For a triangle a, b, c and a pixel q = (x, y, 1) the
numbers w_a = q . (b x c) / det(a, b, c), likewise w_b and w_c, sum to the inverse depth there and are its barycentric
coordinates times that sum; the pixel lies inside where none is negative. Vertices behind the camera need no special care.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Raster:
    """What each pixel's centre shows first."""

    face: Int[ndarray, "h w"]
    """-1 where nothing is."""
    depth: Float[ndarray, "h w"]
    """Along the optical axis; infinity where nothing is."""


def rasterize(corners: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], size: tuple[int, int], layers: Sequence[int] = ()) -> Raster:
    """The nearest face at every pixel that is seen from its front (counter-clockwise). Of faces equally near the first is taken.

    Args:
        corners: ``K (R p + t)`` of the vertices.
        size: width and height.
        layers: where the faces of one layer end and the next one's begin; each fills only what those before it leave empty.
    """
    from kernels.realtime import cpu

    width, height = size
    face = np.full((height, width), -1, np.int32)
    depth = np.full((height, width), np.inf, np.float32)
    corners, faces = np.ascontiguousarray(corners, np.float64), np.ascontiguousarray(faces, np.int32)
    for start, end in pairwise((0, *layers, len(faces))):
        if end > start:
            cpu.rasterize(corners, faces, start, end, face, depth)
    return Raster(face, depth)


def rasterize_reference(corners: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], size: tuple[int, int], layers: Sequence[int] = ()) -> Raster:
    """The twin of `rasterize` in plain NumPy, face by face."""
    width, height = size
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    pixels = np.stack([x, y, np.ones_like(x)], axis=-1)
    face, depth = np.full((height, width), -1, np.int32), np.full((height, width), np.inf, np.float32)
    for start, end in pairwise((0, *layers, len(faces))):
        empty = face < 0
        for number in range(start, end):
            a, b, c = np.asarray(corners[faces[number]], np.float64)
            planes = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)])
            twice = planes[0] @ a
            if twice >= 0:  # seen from behind, or from its edge: rows run downwards
                continue
            w = pixels @ (planes / twice).T
            total = w.sum(-1)
            inside = empty & (w >= 0).all(-1) & (total > 0)
            z = np.where(inside, 1 / np.where(inside, total, 1), np.inf).astype(np.float32)
            nearer = z < depth
            face[nearer], depth[nearer] = number, z[nearer]
    return Raster(face, depth)
