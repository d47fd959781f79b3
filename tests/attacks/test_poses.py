"""Poses between poses: the group's axioms."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from attacks.poses import interpolate, slerp, unseen_camera
from tests.conftest import ring_of_cameras


def rotation(seed: int) -> np.ndarray:
    return Rotation.random(random_state=seed).as_matrix()


@settings(deadline=None, max_examples=60)
@given(a=st.integers(0, 10_000), b=st.integers(0, 10_000), share=st.floats(0, 1))
def test_the_way_between_rotations_is_the_shortest_and_even(a: int, b: int, share: float) -> None:
    one, two = rotation(a), rotation(b)
    between = slerp(one, two, share)
    assert np.allclose(between @ between.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(between) > 0
    whole = Rotation.from_matrix(one.T @ two).magnitude()
    assert np.isclose(Rotation.from_matrix(one.T @ between).magnitude(), share * whole, atol=1e-6)
    assert np.allclose(slerp(one, two, 0.0), one, atol=1e-9)
    assert np.allclose(slerp(one, two, 1.0), two, atol=1e-7)


def test_equal_and_nearly_equal_rotations_are_no_special_case() -> None:
    one = rotation(1)
    assert np.allclose(slerp(one, one, 0.4), one)
    near = one @ Rotation.from_rotvec([1e-12, 0, 0]).as_matrix()
    assert np.isfinite(slerp(one, near, 0.4)).all()


def test_a_quaternions_sign_does_not_send_it_the_long_way() -> None:
    """350 degrees apart by their angles, 10 by the shortest arc."""
    a, b = Rotation.from_euler("z", 5, degrees=True).as_matrix(), Rotation.from_euler("z", 355, degrees=True).as_matrix()
    assert np.allclose(slerp(a, b, 0.5), np.eye(3), atol=1e-9)


def test_positions_go_on_the_straight_line() -> None:
    cameras = ring_of_cameras(4)
    pose = interpolate(cameras.camera_to_world[0], cameras.camera_to_world[1], 0.3, 0.7)
    assert np.allclose(pose[:3, 3], 0.3 * cameras.centers[0] + 0.7 * cameras.centers[1])


def test_unseen_cameras_lie_among_the_others_and_differ() -> None:
    cameras, generator = ring_of_cameras(6), torch.Generator().manual_seed(0)
    made = [unseen_camera(cameras, generator) for _ in range(20)]
    centers = np.concatenate([c.centers for c in made])
    assert (np.linalg.norm(centers, axis=1) <= np.linalg.norm(cameras.centers, axis=1).max() + 1e-9).all()
    assert len(np.unique(centers.round(6), axis=0)) == 20
    assert all(c.problem(0) is None for c in made)
