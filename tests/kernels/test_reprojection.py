"""Points looked up in pictures: the compiled path equals the plain twin."""

import numpy as np
import pytest

from data.cameras import Cameras, intrinsic_matrix, look_at
from kernels.reprojection import (
    lift,
    lift_reference,
    rays_toward,
    rays_toward_reference,
    silhouette,
    silhouette_reference,
    vote,
    vote_reference,
)


@pytest.fixture(scope="module")
def camera() -> Cameras:
    pose = look_at(np.array([0.3, -4.0, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    k = intrinsic_matrix(70.0, 65.0, 31.0, 25.0)
    k[0, 1] = 1.5
    return Cameras.pinhole(k[None], pose[None], np.array([[60, 48]]))


@pytest.mark.parametrize("count", [0, 1, 20_000])
def test_votes_equal_the_twin(camera: Cameras, count: int) -> None:
    """Points before and behind the camera, in and beside the picture, on unknown pixels."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-5, 5, (count, 3))
    depth = (rng.uniform(2, 6, (48, 60)) * (rng.random((48, 60)) > 0.2)).astype(np.float32)
    found = []
    for f in (vote, vote_reference):
        agree, violate = np.zeros((2, count), np.int64)
        f(points, camera.projections[0], depth, 0.05, agree, violate)
        found.append((agree, violate))
    np.testing.assert_array_equal(found[0], found[1])
    assert count < 9 or (found[0][0].sum() > 20 and found[0][1].sum() > 100)


@pytest.mark.parametrize("whole", [False, True])
def test_silhouettes_equal_the_twin(camera: Cameras, whole: bool) -> None:
    rng = np.random.default_rng(1)
    points, mask = rng.uniform(-5, 5, (5000, 3)), rng.random((48, 60)) > 0.5
    found = []
    for f in (silhouette, silhouette_reference):
        kept, seen = np.ones(5000, bool), np.zeros(5000, np.int64)
        f(points, camera.projections[0], mask, whole, kept, seen)
        found.append((kept, seen))
    np.testing.assert_array_equal(found[0], found[1])
    kept, seen = found[0]
    assert kept.sum() < 5000
    assert kept[seen == 0].any() != whole


def test_lifting_equals_the_twin_and_undoes_projecting(camera: Cameras) -> None:
    rng = np.random.default_rng(2)
    depth = (rng.uniform(2, 6, (48, 60)) * (rng.random((48, 60)) > 0.5)).astype(np.float32)
    inverse = np.linalg.inv(camera.intrinsics[0])
    mine, theirs = (f(depth, inverse, camera.camera_to_world[0]) for f in (lift, lift_reference))
    for a, b in zip(mine, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)
    rows, columns, points = mine
    pixels, z = camera.project(0, points)
    np.testing.assert_allclose(pixels, np.stack([columns, rows], axis=1) + 0.5, atol=1e-6)
    np.testing.assert_allclose(z, depth[rows, columns], atol=1e-6)
    assert lift(np.zeros((4, 5), np.float32), inverse, camera.camera_to_world[0])[2].shape == (0, 3)


@pytest.mark.parametrize("count", [0, 300])
def test_rays_equal_the_twin(count: int) -> None:
    """Also for a world far from the origin, and for a point at the eye itself."""
    rng = np.random.default_rng(3)
    eye = np.array([4e5, 5e6, 300.0])
    points = rng.normal(size=(500, 3)) + eye
    points[0] = eye
    rows = np.arange(count)[::2]
    mine, theirs = (f(points, rows, eye, points.mean(0), 0.01) for f in (rays_toward, rays_toward_reference))
    np.testing.assert_allclose(mine, theirs, atol=1e-6)
    assert mine.dtype == np.float32


def test_a_distorting_lens_has_no_projection() -> None:
    pose, k = np.eye(4)[None], intrinsic_matrix(50.0, 50.0, 20.0, 20.0)[None]
    bent = Cameras(k, pose, np.array([[40, 40]]), np.full((1, 8), 0.1), ("opencv",))
    with pytest.raises(ValueError, match="prepare"):
        _ = bent.projections
