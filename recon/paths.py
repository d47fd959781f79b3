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


def through(poses: Float[ndarray, "k 4 4"], fields_of_view: Float[ndarray, "k"], frames: int, size: tuple[int, int], loop: bool = False) -> Cameras:
    """A smooth way through key cameras, each met exactly: centripetal Catmull-Rom splines of the places (Yuksel et al. 2011), spherical
    interpolation of the directions, linear of the lens.

    Args:
        poses: camera to world, OpenCV axes; two at least.
        fields_of_view: vertical, degrees.
        frames: of the whole way, the first and (unless it is a loop) the last key among them; each stretch takes as long as its length asks.
    """
    from scipy.spatial.transform import Rotation, Slerp

    if loop:
        poses, fields_of_view = np.concatenate([poses, poses[:1]]), np.concatenate([fields_of_view, fields_of_view[:1]])
    places = poses[:, :3, 3]
    turns = Rotation.from_matrix(poses[:, :3, :3])
    # How long a stretch is: its way, or its turn as if half a radian were a median stretch, so that a mere turn takes time too.
    way = np.linalg.norm(np.diff(places, axis=0), axis=1)
    angle = (turns[1:] * turns[:-1].inv()).magnitude()
    typical = float(np.median(way[way > 0])) if (way > 0).any() else 1.0
    length = np.maximum(np.maximum(way, typical * angle / 0.5), 1e-9)
    times = np.concatenate([[0.0], np.cumsum(length)])
    asked = np.linspace(0, times[-1], frames, endpoint=not loop)
    stretch = np.clip(np.searchsorted(times, asked, side="right") - 1, 0, len(length) - 1)
    share = (asked - times[stretch]) / length[stretch]
    ends = (places[-2:-1], places[1:2]) if loop else (2 * places[:1] - places[1:2], 2 * places[-1:] - places[-2:-1])
    around = np.concatenate([ends[0], places, ends[1]])
    where = np.stack([_catmull_rom(around[i : i + 4], t) for i, t in zip(stretch, share, strict=True)])
    lens = np.interp(asked, times, fields_of_view)
    out = np.tile(np.eye(4), (frames, 1, 1))
    out[:, :3, :3] = Slerp(times, turns)(asked).as_matrix()
    out[:, :3, 3] = where
    focal = 0.5 * size[1] / np.tan(np.radians(lens) / 2)
    matrices = np.stack([intrinsic_matrix(f, f, size[0] / 2, size[1] / 2) for f in focal])
    return Cameras.pinhole(matrices, out, np.tile(np.array(size), (frames, 1)))


def _catmull_rom(p: Float[ndarray, "4 3"], share: float) -> Float[ndarray, "3"]:
    """Between the middle two of four places, by Barry and Goldman's pyramid; knots at the square roots of the distances."""
    knots = np.concatenate([[0.0], np.cumsum(np.sqrt(np.maximum(np.linalg.norm(np.diff(p, axis=0), axis=1), 1e-12)))])
    t = knots[1] + share * (knots[2] - knots[1])

    def mix(a: ndarray, b: ndarray, i: int, j: int) -> ndarray:
        return np.asarray(((knots[j] - t) * a + (t - knots[i]) * b) / (knots[j] - knots[i]))

    a = [mix(p[i], p[i + 1], i, i + 1) for i in range(3)]
    b = [mix(a[0], a[1], 0, 2), mix(a[1], a[2], 1, 3)]
    return mix(b[0], b[1], 1, 2)


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
