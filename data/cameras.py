"""Cameras and the one place where axis conventions meet.

Camera axes are OpenCV's (x right, y down, z forward). Pixel coordinates have the first pixel's centre at
(0.5, 0.5). World coordinates and units are the input's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.errors import InputError

Lens = Literal["pinhole", "opencv", "fisheye"]
"""`pinhole`: no distortion; `opencv`: k1 k2 p1 p2 k3 k4 k5 k6; `fisheye`: k1 k2 k3 k4 of OpenCV's equidistant model."""

_FLIP_YZ = np.diag([1.0, -1.0, -1.0, 1.0])


def opencv_to_opengl(camera_to_world: Float[ndarray, "*n 4 4"]) -> Float[ndarray, "*n 4 4"]:
    """Camera-to-world with OpenCV axes -> the same with OpenGL axes (x right, y up, z backwards): nerfstudio, Blender."""
    return camera_to_world @ _FLIP_YZ


def opengl_to_opencv(camera_to_world: Float[ndarray, "*n 4 4"]) -> Float[ndarray, "*n 4 4"]:
    """Inverse of `opencv_to_opengl` (it is its own inverse)."""
    return camera_to_world @ _FLIP_YZ


def llff_to_opencv(camera_to_world: Float[ndarray, "*n 3 4"]) -> Float[ndarray, "*n 4 4"]:
    """LLFF camera-to-world, axes [down, right, backwards] -> OpenCV axes."""
    down, right, backwards, center = np.moveaxis(camera_to_world, -1, 0)
    top = np.stack([right, down, -backwards, center], axis=-1)
    bottom = np.broadcast_to([0.0, 0.0, 0.0, 1.0], (*top.shape[:-2], 1, 4))
    return np.concatenate([top, bottom], axis=-2)


def quaternion_wxyz_to_rotation(wxyz: Float[ndarray, "*n 4"]) -> Float[ndarray, "*n 3 3"]:
    """Unit quaternion, scalar first (COLMAP) -> rotation matrix."""
    from scipy.spatial.transform import Rotation

    flat = np.roll(wxyz.reshape(-1, 4), -1, axis=-1)
    return Rotation.from_quat(flat).as_matrix().reshape(*wxyz.shape[:-1], 3, 3)  # type: ignore[no-any-return]


def rotation_to_quaternion_wxyz(rotation: Float[ndarray, "*n 3 3"]) -> Float[ndarray, "*n 4"]:
    """Inverse of `quaternion_wxyz_to_rotation`, with w >= 0."""
    from scipy.spatial.transform import Rotation

    xyzw = Rotation.from_matrix(rotation.reshape(-1, 3, 3)).as_quat(canonical=True)
    return np.roll(xyzw, 1, axis=-1).reshape(*rotation.shape[:-2], 4)


def rigid_inverse(transform: Float[ndarray, "*n 4 4"]) -> Float[ndarray, "*n 4 4"]:
    """Inverse of rotation + translation."""
    inverse = np.zeros_like(transform)
    rotation = np.swapaxes(transform[..., :3, :3], -1, -2)
    inverse[..., :3, :3] = rotation
    inverse[..., :3, 3] = -(rotation @ transform[..., :3, 3:])[..., 0]
    inverse[..., 3, 3] = 1.0
    return inverse


@dataclass(frozen=True)
class Cameras:
    """A list of calibrated, posed cameras."""

    intrinsics: Float[ndarray, "n 3 3"]
    """Camera matrices in pixels."""
    camera_to_world: Float[ndarray, "n 4 4"]
    """Poses, OpenCV axes, world in the units of the input."""
    sizes: Int[ndarray, "n 2"]
    """Width and height in pixels."""
    distortion: Float[ndarray, "n 8"]
    """Lens coefficients, zero-padded; see `Lens`."""
    lenses: tuple[Lens, ...]
    """Lens model of each camera."""

    @classmethod
    def pinhole(
        cls,
        intrinsics: Float[ndarray, "n 3 3"],
        camera_to_world: Float[ndarray, "n 4 4"],
        sizes: Int[ndarray, "n 2"],
    ) -> "Cameras":
        """Cameras without lens distortion."""
        pinhole: Lens = "pinhole"
        lenses = (pinhole,) * len(intrinsics)
        return cls(intrinsics, camera_to_world, sizes, np.zeros((len(intrinsics), 8)), lenses)

    def __len__(self) -> int:
        return len(self.intrinsics)

    def select(self, indices: Sequence[int] | ndarray) -> "Cameras":
        """The cameras at ``indices``, in that order."""
        rows = np.asarray(indices, dtype=np.int64)
        return type(self)(
            self.intrinsics[rows],
            self.camera_to_world[rows],
            self.sizes[rows],
            self.distortion[rows],
            tuple(self.lenses[i] for i in rows),
        )

    @property
    def centers(self) -> Float[ndarray, "n 3"]:
        """Positions in the world."""
        return self.camera_to_world[:, :3, 3]

    @property
    def forwards(self) -> Float[ndarray, "n 3"]:
        """Unit viewing directions in the world."""
        return self.camera_to_world[:, :3, 2]

    @property
    def world_to_camera(self) -> Float[ndarray, "n 4 4"]:
        """Inverse poses."""
        return rigid_inverse(self.camera_to_world)

    @property
    def projections(self) -> Float[ndarray, "n 3 4"]:
        """``K [R | t]``: homogeneous points of the world to pixels times z-depth.

        Raises:
            ValueError: a lens bends straight lines; `data.prepare` straightens the photos.
        """
        if self.distorted:
            raise ValueError("a distorting lens has no projection matrix: prepare the scene first")
        return self.intrinsics @ self.world_to_camera[:, :3]

    @property
    def distorted(self) -> bool:
        """Whether any lens bends straight lines."""
        return any(lens != "pinhole" for lens in self.lenses) and bool(np.any(self.distortion != 0) or "fisheye" in self.lenses)

    def resized(self, sizes: Int[ndarray, "n 2"]) -> "Cameras":
        """The same views on images of other sizes (width, height): intrinsics scale with them."""
        scale = sizes / self.sizes
        intrinsics = self.intrinsics.copy()
        intrinsics[:, 0] *= scale[:, :1]
        intrinsics[:, 1] *= scale[:, 1:]
        return replace(self, intrinsics=intrinsics, sizes=sizes)

    def moved(self, similarity: Float[ndarray, "4 4"]) -> "Cameras":
        """The same cameras after the world moved by ``similarity`` (uniform scale, rotation, translation)."""
        scale = np.cbrt(np.linalg.det(similarity[:3, :3]))
        pose = similarity @ self.camera_to_world
        pose[:, :3, :3] /= scale
        return replace(self, camera_to_world=pose)

    def project(self, index: int, points: Float[ndarray, "p 3"]) -> tuple[Float[ndarray, "p 2"], Float[ndarray, "p"]]:
        """World points -> pixels and z-depths (along the optical axis; not positive behind the camera)."""
        local = points @ self.world_to_camera[index, :3, :3].T + self.world_to_camera[index, :3, 3]
        depth = local[:, 2]
        safe = np.where(np.abs(depth) > 1e-12, depth, 1e-12)
        plane = local[:, :2] / safe[:, None]
        return self._distort(index, plane), depth

    def unproject(
        self, index: int, pixels: Float[ndarray, "p 2"], depth: Float[ndarray, "p"]
    ) -> Float[ndarray, "p 3"]:
        """Pixels and z-depths -> world points; inverse of `project`."""
        plane = self._undistort(index, pixels)
        local = np.concatenate([plane, np.ones((len(plane), 1))], axis=1) * depth[:, None]
        return local @ self.camera_to_world[index, :3, :3].T + self.camera_to_world[index, :3, 3]

    def _distort(self, index: int, plane: ndarray) -> ndarray:
        """Points of the z = 1 plane -> pixels."""
        k, lens = self.intrinsics[index], self.lenses[index]
        if lens == "fisheye":
            return cv2.fisheye.distortPoints(plane[None].astype(np.float64), k, self.distortion[index, :4])[0]
        if lens == "opencv":
            rays = np.concatenate([plane, np.ones((len(plane), 1))], axis=1)
            out, _ = cv2.projectPoints(rays[:, None].astype(np.float64), np.zeros(3), np.zeros(3), k, self.distortion[index])
            return out[:, 0] + k[0, 1] * plane[:, 1:] * np.array([[1.0, 0.0]])
        return plane @ k[:2, :2].T + k[:2, 2]

    def _undistort(self, index: int, pixels: ndarray) -> ndarray:
        """Pixels -> points of the z = 1 plane."""
        k, lens = self.intrinsics[index], self.lenses[index]
        criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-12)
        points = pixels[:, None].astype(np.float64)
        if lens == "fisheye":
            return cv2.fisheye.undistortPoints(points, k, self.distortion[index, :4], criteria=criteria)[:, 0]
        if lens == "opencv":
            return cv2.undistortPoints(points, k, self.distortion[index], criteria=criteria)[:, 0]
        return (pixels - k[:2, 2]) @ np.linalg.inv(k[:2, :2]).T

    def problem(self, index: int) -> str | None:
        """Why camera ``index`` cannot be used, or None if it can."""
        pose, k = self.camera_to_world[index], self.intrinsics[index]
        if not np.isfinite(pose).all():
            return "its pose holds NaN or infinity"
        if not (np.isfinite(k).all() and np.isfinite(self.distortion[index]).all()):
            return "its intrinsics hold NaN or infinity"
        rotation = pose[:3, :3]
        if abs(np.linalg.det(rotation)) < 1e-6:
            return "its pose matrix is singular"
        if not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-2):
            return "its pose is not a rotation and translation"
        if np.linalg.det(rotation) < 0:
            return "its pose mirrors the world (determinant -1)"
        if k[0, 0] <= 0 or k[1, 1] <= 0:
            return "its focal length is not positive"
        return None

    def checked(self, names: Sequence[str], where: str) -> "Cameras":
        """These cameras, or an `InputError` that names the first unusable one."""
        for index, name in enumerate(names):
            problem = self.problem(index)
            if problem:
                raise InputError(f"{where}: camera of '{name}' cannot be used, {problem}. Correct that entry or remove it.")
        return self


def concatenate(parts: Sequence[Cameras]) -> Cameras:
    """Several lists of cameras as one."""
    return Cameras(
        np.concatenate([p.intrinsics for p in parts]),
        np.concatenate([p.camera_to_world for p in parts]),
        np.concatenate([p.sizes for p in parts]),
        np.concatenate([p.distortion for p in parts]),
        tuple(lens for p in parts for lens in p.lenses),
    )


def intrinsic_matrix(fx: float, fy: float, cx: float, cy: float) -> Float[ndarray, "3 3"]:
    """Camera matrix in pixels."""
    return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


def look_at(
    eye: Float[ndarray, "3"], target: Float[ndarray, "3"], up: Float[ndarray, "3"]
) -> Float[ndarray, "4 4"]:
    """Pose (OpenCV axes) of a camera at ``eye`` that looks at ``target`` with ``up`` upwards in the picture."""
    forward = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(forward, up)
    if np.linalg.norm(right) < 1e-9:
        right = np.cross(forward, np.array([1.0, 0.0, 0.0]) if abs(forward[0]) < 0.9 else np.array([0.0, 1.0, 0.0]))
    right /= np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3] = np.stack([right, np.cross(forward, right), forward, eye], axis=1)
    return pose


def focus_point(cameras: Cameras) -> Float[ndarray, "3"]:
    """The point nearest to all optical axes in the least-squares sense."""
    forward = cameras.forwards
    projector = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    matrix = projector.sum(0) + 1e-6 * len(cameras) * np.eye(3)
    target = (projector @ cameras.centers[:, :, None]).sum(0)[:, 0] + 1e-6 * len(cameras) * cameras.centers.mean(0)
    return np.linalg.solve(matrix, target)


def mean_up(cameras: Cameras) -> Float[ndarray, "3"]:
    """The direction that the photographer held as up: the mean of the pictures' up vectors, unit length."""
    up = -cameras.camera_to_world[:, :3, 1].mean(0)
    norm = np.linalg.norm(up)
    return up / norm if norm > 0.1 else np.array([0.0, 0.0, 1.0])
