"""Sparse surface points of a posed scene, triangulated from matched features: where things are, without being told."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data.cameras import Cameras
from data.images import resize
from data.parallel import mapped
from data.scene import Scene, SparsePoints

_SIDE = 800
_FEATURES = 3000
_NEIGHBOURS = 4
_THREADS = 8


@dataclass(frozen=True)
class Triangulation:
    """Points, and which views saw which."""

    points: SparsePoints
    views: Int[ndarray, "p 2"]
    epipolar_error_px: float
    """Median distance of matched features from their epipolar lines: large if the poses are wrong."""


def triangulate(scene: Scene) -> Triangulation:
    """Match SIFT features between neighbouring views and triangulate what agrees with the poses (pinhole views)."""
    cameras = scene.posed()
    pictures = [_shrink(scene.image(i)) for i in range(len(scene))]
    sizes = np.array([[p.shape[1], p.shape[0]] for p in pictures])
    cameras = cameras.resized(sizes)
    features = list(mapped(lambda i: _features(pictures[i], scene.mask(i)), range(len(scene)), _THREADS))
    pairs = neighbour_pairs(cameras)
    xyz, rgb, views, errors = [], [], [], []
    for (a, b), (found, error) in zip(pairs, mapped(lambda p: _pair(cameras, *p, features[p[0]], features[p[1]]), pairs, _THREADS), strict=True):
        errors.append(error)
        if len(found):
            pixel = np.clip(cameras.project(a, found)[0].astype(int), 0, sizes[a] - 1)
            xyz.append(found)
            rgb.append(pictures[a][pixel[:, 1], pixel[:, 0]])
            views.append(np.tile([a, b], (len(found), 1)))
    every_error = np.concatenate(errors) if errors else np.empty(0)
    if not xyz:
        return Triangulation(SparsePoints(np.empty((0, 3)), np.empty((0, 3), np.uint8)), np.empty((0, 2), int), float("nan"))
    median = float(np.median(every_error)) if len(every_error) else float("nan")
    return Triangulation(SparsePoints(np.concatenate(xyz), np.concatenate(rgb)), np.concatenate(views), median)


def _features(
    picture: UInt8[ndarray, "h w 3"], mask: Bool[ndarray, "h2 w2"] | None
) -> tuple[Float[ndarray, "k 2"], Float[ndarray, "k 128"] | None]:
    """SIFT features inside the mask: pixels and descriptors."""
    seen = None if mask is None else cv2.resize(mask.astype(np.uint8) * 255, picture.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    keypoints, descriptors = cv2.SIFT.create(_FEATURES).detectAndCompute(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), seen)
    return np.array([k.pt for k in keypoints], dtype=np.float64).reshape(-1, 2) + 0.5, descriptors


def with_points(scene: Scene) -> Scene:
    """The scene with sparse points and depth ranges, made if it has none."""
    if scene.points is not None and len(scene.points) >= 50 and scene.near_far is not None:
        return scene
    points = scene.points
    views = None
    if points is None or len(points) < 50:
        found = triangulate(scene)
        if len(found.points) >= 30:
            points, views = found.points, found.views
    if points is None or len(points) < 30:
        return scene
    near_far = scene.near_far if scene.near_far is not None else depth_ranges(scene.posed(), points, views)
    return replace(scene, points=points, near_far=near_far)


def depth_ranges(
    cameras: Cameras, points: SparsePoints, views: Int[ndarray, "p 2"] | None = None
) -> Float[ndarray, "n 2"]:
    """Depth range (1st to 99th percentile) of the points that each view sees; of all views' where it sees too few."""
    ranges = np.full((len(cameras), 2), np.nan)
    for i in range(len(cameras)):
        xyz = points.xyz if views is None else points.xyz[(views == i).any(1)]
        pixels, depth = cameras.project(i, xyz)
        inside = (depth > 0) & (pixels >= 0).all(1) & (pixels < cameras.sizes[i]).all(1)
        if inside.sum() >= 12:
            ranges[i] = np.percentile(depth[inside], [1, 99])
    known = np.isfinite(ranges[:, 0])
    if not known.any():
        distance = np.linalg.norm(points.xyz[None] - cameras.centers[:, None], axis=-1)
        return np.percentile(distance, [1, 99], axis=1).T
    ranges[~known] = [ranges[known, 0].min(), ranges[known, 1].max()]
    return ranges


def neighbour_pairs(cameras: Cameras, neighbours: int = _NEIGHBOURS) -> list[tuple[int, int]]:
    """Pairs of views that look the same way from places not too near each other: near in angle and distance."""
    distance = np.linalg.norm(cameras.centers[:, None] - cameras.centers[None], axis=-1)
    angle = np.arccos(np.clip(cameras.forwards @ cameras.forwards.T, -1, 1))
    cost = distance / max(np.median(distance), 1e-12) + 2 * angle
    np.fill_diagonal(cost, np.inf)
    pairs = set()
    for i in range(len(cameras)):
        for j in np.argsort(cost[i])[:neighbours]:
            if np.isfinite(cost[i, j]):
                pairs.add((min(i, int(j)), max(i, int(j))))
    return sorted(pairs)


def _pair(
    cameras: Cameras, a: int, b: int, first: tuple[ndarray, ndarray | None], second: tuple[ndarray, ndarray | None]
) -> tuple[Float[ndarray, "p 3"], Float[ndarray, "m"]]:
    """Points seen in both views, and the epipolar errors of all matches in pixels."""
    empty = np.empty((0, 3)), np.empty(0)
    if first[1] is None or second[1] is None or len(first[1]) < 8 or len(second[1]) < 8:
        return empty
    knn = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first[1], second[1], k=2)
    good = [m[0] for m in knn if len(m) == 2 and m[0].distance < 0.75 * m[1].distance]
    if len(good) < 8:
        return empty
    x1 = first[0][[m.queryIdx for m in good]]
    x2 = second[0][[m.trainIdx for m in good]]
    projection = cameras.intrinsics @ cameras.world_to_camera[:, :3]
    error = _epipolar_distance(cameras, a, b, x1, x2)
    fits = error < 2.0
    if not fits.any():
        return empty[0], error
    homogeneous = cv2.triangulatePoints(projection[a], projection[b], x1[fits].T, x2[fits].T)
    xyz = (homogeneous[:3] / homogeneous[3]).T
    (p1, d1), (p2, d2) = cameras.project(a, xyz), cameras.project(b, xyz)
    to_a, to_b = cameras.centers[a] - xyz, cameras.centers[b] - xyz
    cosine = (to_a * to_b).sum(1) / (np.linalg.norm(to_a, axis=1) * np.linalg.norm(to_b, axis=1) + 1e-12)
    sound = (d1 > 0) & (d2 > 0) & (np.linalg.norm(p1 - x1[fits], axis=1) < 1.5) & (np.linalg.norm(p2 - x2[fits], axis=1) < 1.5)
    return xyz[sound & (cosine < np.cos(np.radians(1.0))) & np.isfinite(xyz).all(1)], error


def _epipolar_distance(cameras: Cameras, a: int, b: int, x1: ndarray, x2: ndarray) -> Float[ndarray, "m"]:
    relative = cameras.world_to_camera[b] @ cameras.camera_to_world[a]
    t = relative[:3, 3]
    cross = np.array([[0, -t[2], t[1]], [t[2], 0, -t[0]], [-t[1], t[0], 0]])
    fundamental = np.linalg.inv(cameras.intrinsics[b]).T @ cross @ relative[:3, :3] @ np.linalg.inv(cameras.intrinsics[a])
    lines = np.concatenate([x1, np.ones((len(x1), 1))], axis=1) @ fundamental.T
    return np.abs((lines[:, :2] * x2).sum(1) + lines[:, 2]) / (np.linalg.norm(lines[:, :2], axis=1) + 1e-12)


def _shrink(picture: ndarray) -> ndarray:
    scale = min(1.0, _SIDE / max(picture.shape[:2]))
    return resize(picture, round(picture.shape[1] * scale), round(picture.shape[0] * scale))
