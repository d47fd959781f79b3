"""What every photo shows at points of a surface: how bright photos are beside each other, and which of them disagree with the rest."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from data.scene import Scene
from kernels.realtime import rasterize
from kernels.realtime.blending import TOLERANCE
from recon.surface.triangles import Triangles

SIDE = 320
"""Longest side of the shrunken photos that are compared, pixels: what is smaller is detail, and no disagreement."""
LEAST = 3
"""Photos that must see a point before one of them can be called wrong."""
APART = 0.1
"""Difference of colour (sRGB, 0 to 1) from the median that halves a photo's trust, where all others agree perfectly."""


@dataclass(frozen=True)
class Shown:
    """Points as n photos show them."""

    color: Float[ndarray, "p n 3"]
    """sRGB, 0 to 1."""
    cosine: Float[ndarray, "p n"]
    """Between the normal and the photo's ray; 0 where the photo does not see the point."""
    distance: Float[ndarray, "p n"]

    @property
    def seen(self) -> Bool[ndarray, "p n"]:
        return self.cosine > 0


def shown(mesh: Triangles, scene: Scene, rows: Int[ndarray, "p"], colors: bool = True) -> Shown:
    """What the photos show at some vertices.

    Args:
        colors: False: only who sees what.
    """
    points, normals, origin = mesh.vertices[rows], mesh.vertex_normals[rows], mesh.vertices.mean(0)
    cameras = scene.posed()
    cameras = cameras.resized(np.maximum(cameras.sizes * SIDE // cameras.sizes.max(), 2))
    vertices, faces = (mesh.vertices - origin).astype(np.float32), mesh.faces.astype(np.int32)
    n = len(cameras)
    color, cosine, distance = np.zeros((len(rows), n, 3), np.float32), np.zeros((len(rows), n), np.float32), np.ones((len(rows), n), np.float32)
    for i, eye in enumerate(cameras.centers):
        size = (int(cameras.sizes[i, 0]), int(cameras.sizes[i, 1]))
        m = cameras.projections[i]
        depths = rasterize(vertices @ m[:, :3].T + (m[:, :3] @ origin + m[:, 3]), faces, size).depth
        pixels, depth = cameras.project(i, points)
        inside = (depth > 0) & (pixels > 0).all(1) & (pixels < cameras.sizes[i]).all(1)
        column, row = (np.where(inside, pixels[:, d], 0).astype(int) for d in (0, 1))
        toward = eye - points
        distance[:, i] = np.maximum(np.linalg.norm(toward, axis=1), 1e-12)
        facing = (normals * toward).sum(1) / distance[:, i]
        mask = scene.mask(i)
        if mask is not None:
            small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
            inside &= small[row, column] > 0
        seen = inside & (facing > 0.1) & (depth < depths[row, column] * (1 + TOLERANCE))
        cosine[seen, i] = facing[seen]
        if colors:
            picture = cv2.resize(scene.image(i), size, interpolation=cv2.INTER_AREA)
            color[:, i] = picture[row, column] / np.float32(255)
    return Shown(color, cosine, distance)


def gains(what: Shown, rounds: int = 10) -> Float[ndarray, "n 3"]:
    """Factors that make photos as bright as each other where they show the same points; their geometric mean is 1.

    Least squares on logarithms, each point's own colour unknown as well, differences beyond 30 % counting less (Huber 1964). Points
    that are nearly black or nearly white say nothing.
    """
    n = what.color.shape[1]
    usable = what.seen & (what.color > 0.04).all(-1) & (what.color < 0.96).all(-1)
    usable &= usable.sum(1, keepdims=True) >= 2
    log = np.log(np.maximum(what.color, 1e-3))
    gain = np.zeros((n, 3))
    weight = usable[..., None] * np.ones(3)
    for _ in range(rounds):
        total = np.maximum(weight.sum(1, keepdims=True), 1e-9)
        level = (weight * (log + gain)).sum(1, keepdims=True) / total
        off = level - log
        count = weight.sum(0)
        new = np.where(count > 50, (weight * off).sum(0) / np.maximum(count, 1e-9), 0)
        gain = new - new.mean(0)
        weight = usable[..., None] * np.minimum(1, 0.3 / np.maximum(np.abs(off - gain), 1e-9))
    return np.exp(np.clip(gain, np.log(0.5), np.log(2)))


def trust(what: Shown, gain: Float[ndarray, "n 3"]) -> Float[ndarray, "p n"]:
    """How far each photo agrees with the median of those that see a point, 0 to 1: little where something passed before the surface, or
    where a highlight stands. Where fewer than `LEAST` see it, or where all differ, all are trusted."""
    color = np.where(what.seen[..., None], what.color * gain.astype(np.float32), np.nan)
    with np.errstate(all="ignore"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # points that nobody sees
            middle = np.nanmedian(color, axis=1, keepdims=True)
            off = np.abs(color - middle).max(-1)
            spread = np.nanmedian(off, axis=1, keepdims=True)
    value = 1 / (1 + (off / np.maximum(APART, 3 * np.nan_to_num(spread))) ** 4)
    judged = what.seen & (what.seen.sum(1, keepdims=True) >= LEAST)
    return np.where(judged, np.nan_to_num(value, nan=1.0), 1.0).astype(np.float32)
