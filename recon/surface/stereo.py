"""Depth from the photos themselves: a plane sweep (Collins 1996) scored by zero-mean normalised cross-correlation and
regularised by semi-global aggregation (Hirschmüller 2008).

It needs no training and is exact where a surface has texture; where it has none, its scores are low and nothing is
claimed. The radiance field is the other way round, so the two complete each other.
"""

import os
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.cameras import Cameras, focus_point
from data.images import resize
from data.progress import Progress
from data.scene import Scene
from kernels.stereo import aggregate
from recon.depthmaps import DepthMaps
from recon.frame import hull_box


@dataclass(frozen=True)
class StereoOptions:
    """How the sweep is run."""

    neighbours: int = 5
    """Views that each view is compared with."""
    best: int = 2
    """Of these, how many must see the point: the mean of the best scores counts, so occlusion in the others is harmless."""
    window: int = 7
    """Side of the correlation window in pixels."""
    most_planes: int = 160
    """Most depth hypotheses a view."""
    score: float = 0.3
    """Least correlation that is believed; other views must confirm what is (see `recon.surface.depth.consistent`)."""
    smooth: float = 0.08
    """Penalty of a change of depth by one plane between neighbouring pixels."""
    jump: float = 0.8
    """Penalty of a larger change; less at edges of the picture."""


def sweep_depths(
    scene: Scene, side: int, ranges: Float[ndarray, "n 2"], options: StereoOptions | None = None
) -> Generator[Progress, None, DepthMaps]:
    """Depth of every view by plane sweep; 0 where no depth is believed.

    Args:
        side: longest side of the depth pictures in pixels.
        ranges: nearest and farthest z-depth of every view, scene units.
    """
    options = options or StereoOptions()
    cameras = scene.posed()
    scale = np.minimum(1.0, side / cameras.sizes.max(1, keepdims=True))
    cameras = cameras.resized(np.maximum(np.round(cameras.sizes * scale), 1).astype(np.int64))
    pictures = [_grey(scene.image(i), cameras.sizes[i]) for i in range(len(scene))]
    maps = []
    for i in range(len(scene)):
        yield Progress("stereo", i / len(scene), f"view {i + 1} of {len(scene)}")
        depth = _sweep(cameras, i, pictures, ranges[i], options)
        mask = scene.mask(i)
        if mask is not None:
            depth[resize(mask.astype(np.uint8)[..., None] * 255, *(int(v) for v in cameras.sizes[i])).reshape(depth.shape) < 128] = 0
        maps.append(depth)
    return DepthMaps(cameras, maps)


def sweep_ranges(scene: Scene) -> Float[ndarray, "n 2"]:
    """Nearest and farthest z-depth worth trying in each view: of the silhouettes' hull, or of the sparse points."""
    cameras = scene.posed()
    if scene.mask_meaning == "object":
        low, high = hull_box(scene)
        corners = np.array([[x, y, z] for x in (low[0], high[0]) for y in (low[1], high[1]) for z in (low[2], high[2])])
        depths = np.stack([cameras.project(i, corners)[1] for i in range(len(cameras))])
        far = np.maximum(depths.max(1), 1e-6)
        return np.stack([np.maximum(depths.min(1), 0.02 * far), far], axis=1)
    if scene.near_far is not None:
        return scene.near_far * np.array([0.8, 1.4])
    distance = np.linalg.norm(cameras.centers - focus_point(cameras), axis=1)
    return np.stack([0.4 * distance, 3.0 * distance], axis=1)


def neighbours_of(cameras: Cameras, view: int, count: int) -> Int[ndarray, "k"]:
    """Views that look at the same thing from some 5 to 40 degrees aside, nearest to 15 first."""
    to = cameras.centers - cameras.centers[view]
    focus = cameras.centers[view] + cameras.forwards[view] * max(float(np.median(np.linalg.norm(to, axis=1))), 1e-9)
    arms = cameras.centers - focus
    arms = arms / np.maximum(np.linalg.norm(arms, axis=1, keepdims=True), 1e-12)
    angle = np.degrees(np.arccos(np.clip(arms @ arms[view], -1, 1)))
    facing = np.degrees(np.arccos(np.clip(cameras.forwards @ cameras.forwards[view], -1, 1)))
    cost = np.abs(np.log(np.maximum(angle, 0.5) / 15.0)) + np.maximum(facing - 45, 0)
    cost[view] = np.inf
    cost[facing > 60] = np.inf
    order = np.argsort(cost)[:count]
    return order[np.isfinite(cost[order])]


def _sweep(cameras: Cameras, view: int, pictures: list[ndarray], span: ndarray, options: StereoOptions) -> Float[ndarray, "h w"]:
    width, height = (int(v) for v in cameras.sizes[view])
    others = neighbours_of(cameras, view, options.neighbours)
    if len(others) == 0 or not span[1] > span[0] > 0:
        return np.zeros((height, width), np.float32)
    baseline = np.linalg.norm(cameras.centers[others] - cameras.centers[view], axis=1).max()
    disparity = cameras.intrinsics[view, 0, 0] * baseline * (1 / span[0] - 1 / span[1])
    planes = int(np.clip(disparity / 0.8, 24, options.most_planes))
    inverse = np.linspace(1 / span[0], 1 / span[1], planes)
    size = (options.window, options.window)
    reference = pictures[view]
    mean, square = cv2.blur(reference, size), cv2.blur(reference * reference, size)
    deviation = np.sqrt(np.maximum(square - mean * mean, 0))
    textured = deviation > 1.5
    scores = np.empty((planes, height, width), np.float32)
    warps = [_plane_warp(cameras, view, int(j)) for j in others]

    def score(p: int) -> None:
        best = np.full((min(options.best, len(others)), height, width), -np.inf, np.float32)
        for j, (base, slope) in zip(others, warps, strict=True):
            value = _correlation(reference, mean, deviation, cv2.warpPerspective(
                pictures[j], base + inverse[p] * slope, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                borderMode=cv2.BORDER_CONSTANT, borderValue=-1.0,
            ), size)  # fmt: skip
            for kept in best:  # the best ones, in order: each place passes the lesser of two on
                lesser = np.minimum(kept, value)
                np.maximum(kept, value, out=kept)
                value = lesser
        scores[p] = best.mean(0)

    # Pictures are too small for OpenCV to share among the cores; planes are not.
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(score, range(planes)))
    finally:
        cv2.setNumThreads(threads)
    costs = np.ascontiguousarray(np.moveaxis(1 - scores, 0, -1))
    costs[~textured] = 1.0  # nothing to see: the neighbours decide
    gradient = np.abs(cv2.Laplacian(cv2.GaussianBlur(reference, (0, 0), 1.0), cv2.CV_32F))
    total = aggregate(costs, options.smooth, options.jump, 1 / (1 + gradient / 8))
    best = total.argmin(-1)
    rows, columns = np.indices(best.shape)
    inner = np.clip(best, 1, planes - 2)
    left, middle, right = (total[rows, columns, inner + d] for d in (-1, 0, 1))
    curvature = left - 2 * middle + right
    shift = np.where((best == inner) & (curvature > 1e-6), 0.5 * (left - right) / np.maximum(curvature, 1e-6), 0.0)
    value = inverse[0] + (best + np.clip(shift, -0.5, 0.5)) * (inverse[1] - inverse[0])
    believed = (scores[best, rows, columns] > options.score) & (best > 0) & (best < planes - 1)
    return np.where(believed, 1 / np.maximum(value, 1e-12), 0).astype(np.float32)


def _plane_warp(cameras: Cameras, view: int, other: int) -> tuple[Float[ndarray, "3 3"], Float[ndarray, "3 3"]]:
    """The homography of the plane at inverse depth ``w`` is the first matrix plus ``w`` times the second (OpenCV pixels)."""
    centre_zero = np.array([[1.0, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])
    k1, k2 = centre_zero @ cameras.intrinsics[view], centre_zero @ cameras.intrinsics[other]
    relative = cameras.world_to_camera[other] @ cameras.camera_to_world[view]
    inverse = np.linalg.inv(k1)
    normal = np.array([[0.0, 0.0, 1.0]])
    return k2 @ relative[:3, :3] @ inverse, k2 @ relative[:3, 3:] @ normal @ inverse


def _correlation(reference: ndarray, mean: ndarray, deviation: ndarray, warped: ndarray, size: tuple[int, int]) -> Float[ndarray, "h w"]:
    """ZNCC of windows; -1 where the other picture ends."""
    outside = warped < 0
    other_mean = cv2.blur(warped, size)
    other_deviation = np.sqrt(np.maximum(cv2.blur(warped * warped, size) - other_mean * other_mean, 0))
    value = (cv2.blur(reference * warped, size) - mean * other_mean) / (deviation * other_deviation + 2.0)
    value[outside] = -1
    return value


def _grey(picture: ndarray, size: ndarray) -> Float[ndarray, "h w"]:
    return cv2.cvtColor(resize(picture, int(size[0]), int(size[1])), cv2.COLOR_RGB2GRAY).astype(np.float32)
