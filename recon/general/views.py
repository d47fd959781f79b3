"""Which way is up, which views go together, how far the scene reaches: what the engine decides so that nobody need say it."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.cameras import Cameras, focus_point, mean_up
from data.errors import InputError


def check_views(cameras: Cameras, sizes: Int[ndarray, "n 2"]) -> None:
    """Whether depth can be found from these views at all.

    Raises:
        InputError: too few views, sizes that do not fit, lenses that bend lines, or no baseline.
    """
    if len(cameras) < 2:
        raise InputError(f"{len(cameras)} view is too few: depth needs at least 2 that show the same things from different places. Add photos.")
    if len(sizes) != len(cameras):
        raise InputError(f"There are {len(sizes)} images but {len(cameras)} cameras. Give one camera for each image.")
    wrong = np.flatnonzero((sizes != cameras.sizes).any(1))
    if len(wrong):
        i = int(wrong[0])
        raise InputError(
            f"Image {i} has {sizes[i][0]} x {sizes[i][1]} pixels, its camera {cameras.sizes[i][0]} x {cameras.sizes[i][1]}. "
            "Resize the image, or scale the camera with Cameras.resized."
        )
    if cameras.distorted:
        raise InputError("The cameras have lens distortion. Undistort the photos first (data.prepare does).")
    centers = cameras.centers
    spread = np.linalg.norm(centers - centers.mean(0), axis=1).max()
    if spread <= 1e-9 * max(1.0, float(np.abs(centers).max())):
        raise InputError("All photos were taken from the same place, so nothing says how far things are. Take photos from different places.")


def quarter_turns(cameras: Cameras) -> Int[ndarray, "n"]:
    """How often each photo must be turned by 90 degrees (anticlockwise, as `numpy.rot90`) so that all are about upright."""
    up = mean_up(cameras)
    mine = -cameras.camera_to_world[:, :3, 1]
    if np.linalg.norm(mine.mean(0)) <= 0.1:
        up = mine[0]  # no common direction: the first photo decides
    turns = np.zeros(len(cameras), dtype=np.int64)
    first = cameras.camera_to_world[0, :3, :3]
    for i, pose in enumerate(cameras.camera_to_world[:, :3, :3]):
        seen = pose.T @ up
        if np.hypot(seen[0], seen[1]) < 0.2:
            # Looking along the vertical: turn like the first photo, carried over by the smallest rotation between the axes.
            seen = pose.T @ -first[:, 1]
        angle = np.arctan2(seen[0], -seen[1])  # 0: up is up; 90 degrees: up points right in the photo
        turns[i] = int(np.round(angle / (np.pi / 2))) % 4
    return turns


def turned(cameras: Cameras, turns: Int[ndarray, "n"]) -> Cameras:
    """The cameras of photos turned by `numpy.rot90(photo, turns)`: the same rays through other pixels."""
    k, pose, sizes = cameras.intrinsics.copy(), cameras.camera_to_world.copy(), cameras.sizes.copy()
    for i, count in enumerate(turns):
        for _ in range(int(count)):
            width = sizes[i, 0]
            # Pixel (x, y) moves to (y, width - x): new x axis = old y axis, new y axis = minus old x axis.
            fx, fy, cx, cy = k[i, 0, 0], k[i, 1, 1], k[i, 0, 2], k[i, 1, 2]
            k[i] = np.array([[fy, 0, cy], [0, fx, width - cx], [0, 0, 1]])
            pose[i, :3, :3] = np.stack([pose[i, :3, 1], -pose[i, :3, 0], pose[i, :3, 2]], axis=1)
            sizes[i] = sizes[i, ::-1]
    return Cameras.pinhole(k, pose, sizes)


def unlikeness(
    centers: Float[ndarray, "n 3"], forwards: Float[ndarray, "n 3"], center: Float[ndarray, "3"], forward: Float[ndarray, "3"], scale: float
) -> Float[ndarray, "n"]:
    """How different viewpoints are from one: distance relative to ``scale``, and difference of viewing directions."""
    return np.linalg.norm(centers - center, axis=1) / max(scale, 1e-12) + 1.5 * np.linalg.norm(forwards - forward, axis=1)


def corner_cosine(cameras: Cameras, view: int) -> float:
    """Cosine of the angle between where a pinhole camera looks and its picture's farthest corner."""
    k, (width, height) = cameras.intrinsics[view], cameras.sizes[view]
    x = max(k[0, 2], width - k[0, 2]) / k[0, 0]
    y = max(k[1, 2], height - k[1, 2]) / k[1, 1]
    return float(1 / np.sqrt(1 + x * x + y * y))


def mean_distance(cameras: Cameras) -> float:
    """Mean distance between any two cameras (a camera and itself count, as in training)."""
    c = cameras.centers
    return float(np.linalg.norm(c[:, None] - c[None], axis=-1).mean())


def neighbours_of(cameras: Cameras, count: int) -> Int[ndarray, "n k"]:
    """The views that each view is compared with, most alike first; views from the same place tell nothing and come last."""
    scale = mean_distance(cameras)
    rows = []
    for i in range(len(cameras)):
        unlike = unlikeness(cameras.centers, cameras.forwards, cameras.centers[i], cameras.forwards[i], scale)
        unlike[np.linalg.norm(cameras.centers - cameras.centers[i], axis=1) < 1e-4 * scale] = 1e6
        # A view that looks away shares nothing.
        unlike[cameras.forwards @ cameras.forwards[i] < 0.1] += 1e3
        unlike[i] = np.inf
        rows.append(np.argsort(unlike)[: min(count, len(cameras) - 1)])
    return np.stack(rows)


def guessed_range(cameras: Cameras) -> Float[ndarray, "n 2"]:
    """A wide range of z-depths from the cameras alone, for a first look."""
    focus = focus_point(cameras)
    depth = ((focus - cameras.centers) * cameras.forwards).sum(1)
    base = mean_distance(cameras)
    converging = depth > 0.5 * base
    near = np.where(converging, np.minimum(0.3 * depth, 3 * base), 1.5 * base)
    far = np.where(converging, np.maximum(3.5 * depth, 30 * base), 60 * base)
    return np.stack([near, np.maximum(far, 3 * near)], axis=1)


def range_of_depths(inverse: Float[Tensor, "n h w"], confidence: Float[Tensor, "n h w"], wide: Float[ndarray, "n 2"]) -> Float[ndarray, "n 2"]:
    """A tight range for every view from a first look: what is confidently seen, with a margin."""
    sure = confidence > confidence.flatten().quantile(0.5).clamp(max=0.6)
    out = wide.copy()
    for i in range(len(inverse)):
        w = inverse[i][sure[i]]
        if w.numel() >= 50:
            low, high = torch.quantile(w, torch.tensor([0.02, 0.99], device=w.device)).tolist()
            out[i] = max(0.75 / high, wide[i, 0] * 0.5), min(1.5 / max(low, 1e-9), wide[i, 1])
    return out
