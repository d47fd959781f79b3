"""Cameras: the axioms of frames, and projection undone by unprojection for every lens."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from data.cameras import (
    Cameras,
    focus_point,
    intrinsic_matrix,
    llff_to_opencv,
    look_at,
    opencv_to_opengl,
    opengl_to_opencv,
    quaternion_wxyz_to_rotation,
    rigid_inverse,
    rotation_to_quaternion_wxyz,
)  # fmt: skip

LENSES = {
    "pinhole": np.zeros(8),
    "opencv": np.array([0.06, -0.08, 1e-3, -5e-4, 0.01, 0, 0, 0]),
    "fisheye": np.array([0.05, -0.01, 0.003, -0.001, 0, 0, 0, 0]),
}


def camera(seed: int, lens: str) -> Cameras:
    random = np.random.default_rng(seed)
    pose = np.eye(4)
    pose[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    pose[:3, 3] = random.normal(size=3) * 10
    k = intrinsic_matrix(500 + 50 * random.random(), 510.0, 330.0, 235.0)
    return Cameras(k[None], pose[None], np.array([[640, 480]]), LENSES[lens][None], (lens,))


@pytest.mark.parametrize("lens", LENSES)
@given(seed=st.integers(0, 1000))
@settings(max_examples=15, deadline=None)
def test_unprojection_undoes_projection(lens: str, seed: int) -> None:
    cameras = camera(seed, lens)
    random = np.random.default_rng(seed)
    pixels = random.uniform([0, 0], [640, 480], (50, 2))
    depth = random.uniform(0.5, 20, 50)
    again, z = cameras.project(0, cameras.unproject(0, pixels, depth))
    np.testing.assert_allclose(again, pixels, atol=1e-4)
    np.testing.assert_allclose(z, depth, rtol=1e-9)


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_conversions_are_inverse_and_rigid(seed: int) -> None:
    pose = camera(seed, "pinhole").camera_to_world
    np.testing.assert_allclose(opengl_to_opencv(opencv_to_opengl(pose)), pose)
    np.testing.assert_allclose(rigid_inverse(pose) @ pose, np.eye(4)[None], atol=1e-9)
    rotation = pose[:, :3, :3]
    np.testing.assert_allclose(quaternion_wxyz_to_rotation(rotation_to_quaternion_wxyz(rotation)), rotation, atol=1e-12)
    assert np.linalg.det(opencv_to_opengl(pose)[0, :3, :3]) == pytest.approx(1)


def test_llff_axes_are_down_right_backwards() -> None:
    matrix = np.zeros((1, 3, 4))
    matrix[0, :, 0], matrix[0, :, 1], matrix[0, :, 2] = [0, 1, 0], [1, 0, 0], [0, 0, -1]
    np.testing.assert_allclose(llff_to_opencv(matrix)[0, :3, :3], np.eye(3))


def test_resizing_scales_pixels_and_moving_the_world_changes_no_picture() -> None:
    cameras = camera(3, "opencv")
    points = cameras.unproject(0, np.random.default_rng(0).uniform(0, 480, (20, 2)), np.full(20, 3.0))
    half = cameras.resized(cameras.sizes // 2)
    np.testing.assert_allclose(half.project(0, points)[0], cameras.project(0, points)[0] / 2, atol=1e-6)
    similarity = np.eye(4)
    similarity[:3, :3] = 2.5 * Rotation.from_euler("xyz", [0.3, 1, 2]).as_matrix()
    similarity[:3, 3] = [1, -7, 3]
    moved = points @ similarity[:3, :3].T + similarity[:3, 3]
    np.testing.assert_allclose(cameras.moved(similarity).project(0, moved)[0], cameras.project(0, points)[0], atol=1e-6)


def test_cameras_that_look_at_a_point_focus_there() -> None:
    target = np.array([1.0, 2.0, 3.0])
    poses = np.stack([look_at(target + offset, target, np.array([0.0, 0, 1])) for offset in np.eye(3) * 4])
    cameras = Cameras.pinhole(np.tile(np.eye(3), (3, 1, 1)), poses, np.ones((3, 2), dtype=np.int64))
    np.testing.assert_allclose(focus_point(cameras), target, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: p.__setitem__((0, 0, 3), np.nan), "NaN"),
        (lambda p: p.__setitem__((0, slice(0, 3), 0), 0.0), "singular"),
        (lambda p: p.__setitem__((0, slice(0, 3), 0), p[0, :3, 0] * 3), "not a rotation"),
        (lambda p: p.__setitem__((0, slice(0, 3), 0), -p[0, :3, 0]), "mirrors"),
    ],
)
def test_unusable_poses_are_named(change, words: str) -> None:
    cameras = camera(1, "pinhole")
    change(cameras.camera_to_world)
    assert words in (cameras.problem(0) or "")
