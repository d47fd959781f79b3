"""Colours of backdrops, for where no photo that a picture is blended from sees them."""

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from kernels.realtime import Surroundings
from kernels.realtime.blending import LEAST_COSINE, TOLERANCE

NEIGHBOURS = 32


def lining_colors(around: Surroundings, start: int) -> UInt8[ndarray, "b 3"]:
    """Of the vertices from ``start`` on: the mean of the photos that see one, where none does a mean of the colours nearest to it.

    Args:
        around: with the colours of the vertices before ``start``.
    """
    from scipy.spatial import cKDTree

    points, normals = around.vertices[start:].astype(np.float64), around.normals[start:]
    height, width = around.photos.shape[1:3]
    total, color = np.zeros(len(points)), np.zeros((len(points), 3))
    for k, matrix in enumerate(around.projections):
        local = points @ matrix[:, :3].T + matrix[:, 3]
        z = local[:, 2]
        x, y = (local[:, :2] / np.where(z > 0, z, 1)[:, None]).T
        inside = (z > 0) & (x > 0) & (x < width) & (y > 0) & (y < height)
        column, row = np.clip(x, 0, width - 1).astype(int), np.clip(y, 0, height - 1).astype(int)
        seen = inside & (z < around.depths[k, row, column] * (1 + TOLERANCE))
        toward = around.centers[k] - points
        cosine = (normals * toward).sum(1) / np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
        weight = np.where(seen, np.clip(cosine, LEAST_COSINE, 1) * around.trust[start:, k] / 255, 0)
        total += weight
        color += weight[:, None] * around.photos[k, row, column, :3]
    known = total > LEAST_COSINE / 2
    color[known] /= total[known, None]
    if not known.all() and start + known.sum():
        places = np.concatenate([around.vertices[:start], points[known]])
        shades = np.concatenate([around.colors[:start], color[known]])
        distance, near = cKDTree(places).query(points[~known], k=min(NEIGHBOURS, len(places)))
        distance, near = distance.reshape(len(near), -1), near.reshape(len(near), -1)
        nearness: Float[ndarray, "u k"] = 1 / np.maximum(distance, 1e-9) ** 2
        color[~known] = (nearness[..., None] * shades[near]).sum(1) / nearness.sum(1, keepdims=True)
    return np.clip(np.round(color), 0, 255).astype(np.uint8)
