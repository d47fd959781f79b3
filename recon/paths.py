"""Camera paths: around a subject, along the photographer's way, between given cameras."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.cameras import Cameras, focus_point, intrinsic_matrix, look_at, mean_up


def orbit(
    center: Float[ndarray, "3"], up: Float[ndarray, "3"], start: Float[ndarray, "3"], frames: int, size: tuple[int, int],
    field_of_view: float = 45.0,
) -> Cameras:  # fmt: skip
    """A full circle around ``center`` and ``up`` that begins at ``start``; ``field_of_view`` in degrees, vertical."""
    width, height = size
    focal = 0.5 * height / np.tan(np.radians(field_of_view) / 2)
    arm = start - center
    poses = []
    for angle in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        poses.append(look_at(center + _turned(arm, up, angle), center, up))
    return _same(np.stack(poses), focal, size)


def swing(cameras: Cameras, frames: int, size: tuple[int, int]) -> Cameras:
    """A gentle closed loop about the middle camera, no wider than the photos' own spread: stays where it was seen."""
    center = focus_point(cameras)
    up = mean_up(cameras)
    middle = int(np.argmin(np.linalg.norm(cameras.centers - cameras.centers.mean(0), axis=1)))
    pose = cameras.camera_to_world[middle]
    if ((center - pose[:3, 3]) @ pose[:3, 2]) < 0:
        center = pose[:3, 3] + pose[:3, 2] * np.linalg.norm(cameras.centers - cameras.centers.mean(0), axis=1).max() * 4
    offsets = (cameras.centers - pose[:3, 3]) @ pose[:3, :3]
    reach = np.percentile(np.abs(offsets[:, :2]), 60, axis=0)
    poses = []
    for angle in np.linspace(0, 2 * np.pi, frames, endpoint=False):
        eye = pose[:3, 3] + pose[:3, :2] @ (reach * np.array([np.cos(angle), 0.5 * np.sin(angle)]))
        poses.append(look_at(eye, center, up))
    scale = max(size[0] / cameras.sizes[middle, 0], size[1] / cameras.sizes[middle, 1])
    return _same(np.stack(poses), float(cameras.intrinsics[middle, 1, 1] * scale), size)


def surrounds(cameras: Cameras) -> bool:
    """Whether the cameras stand on several sides of what they look at."""
    forward = cameras.forwards.mean(0)
    return float(np.linalg.norm(forward)) < 0.6


def _same(poses: Float[ndarray, "n 4 4"], focal: float, size: tuple[int, int]) -> Cameras:
    n = len(poses)
    matrix = intrinsic_matrix(focal, focal, size[0] / 2, size[1] / 2)
    return Cameras.pinhole(np.tile(matrix, (n, 1, 1)), poses, np.tile(np.array(size), (n, 1)))


def _turned(vector: ndarray, axis: ndarray, angle: float) -> ndarray:
    """Rodrigues' rotation formula."""
    axis = axis / np.linalg.norm(axis)
    return vector * np.cos(angle) + np.cross(axis, vector) * np.sin(angle) + axis * (axis @ vector) * (1 - np.cos(angle))
