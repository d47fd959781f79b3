"""Texels: the compiled path equals the plain twin."""

import numpy as np
import pytest
import trimesh

from data.cameras import Cameras, intrinsic_matrix, look_at
from kernels.texels import (
    add_photo,
    add_photo_reference,
    compare,
    compare_reference,
    facing,
    facing_reference,
    surface,
    surface_reference,
)
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import cells

SIDE = 64


@pytest.fixture(scope="module")
def sphere() -> Triangles:
    ball = trimesh.creation.icosphere(subdivisions=2)
    return Triangles(np.asarray(ball.vertices), np.asarray(ball.faces))


@pytest.fixture(scope="module")
def camera() -> Cameras:
    pose = look_at(np.array([0.3, -3.0, 0.5]), np.zeros(3), np.array([0.0, 0.0, 1.0]))
    return Cameras.pinhole(intrinsic_matrix(70.0, 70.0, 31.0, 25.0)[None], pose[None], np.array([[60, 48]]))


def test_surface_equals_the_twin(sphere: Triangles) -> None:
    atlas = cells(len(sphere.faces), SIDE)
    mine, theirs = (
        f(sphere.vertices, sphere.vertex_normals, sphere.faces, atlas.uv, atlas.faces, SIDE) for f in (surface, surface_reference)
    )
    # A centre exactly on a chart's edge may fall to either side of it.
    both, a, b = np.intersect1d(mine.number, theirs.number, return_indices=True)
    assert len(both) > 0.99 * max(len(mine.number), len(theirs.number)) > 0.2 * SIDE**2
    np.testing.assert_allclose(mine.points[a], theirs.points[b], atol=1e-6)
    np.testing.assert_allclose(mine.normals[a], theirs.normals[b], atol=1e-5)
    assert np.abs(np.linalg.norm(mine.points, axis=1) - 1).max() < 0.05


def test_texels_of_nothing() -> None:
    none = surface(np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((0, 3), int), np.zeros((3, 2)), np.zeros((0, 3), int), 8)
    assert len(none.number) == 0
    # Charts that stick out of the texture are cut off.
    out = surface(np.eye(3), np.eye(3), np.array([[0, 1, 2]]), np.array([[-9.0, -9], [9, -9], [0, 9]]), np.array([[0, 1, 2]]), 8)
    assert len(out.number) == 64


def test_what_a_photo_adds_equals_the_twin(sphere: Triangles, camera: Cameras) -> None:
    atlas = cells(len(sphere.faces), SIDE)
    texels = surface(sphere.vertices, sphere.vertex_normals, sphere.faces, atlas.uv, atlas.faces, SIDE)
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (48, 60, 3), np.uint8)
    low, trust = rng.uniform(0, 255, (48, 60, 3)).astype(np.float32), rng.random((48, 60), np.float32)
    trust[:20] = 0
    eye, projection = camera.centers[0], camera.projections[0]
    (rows, seen), (twin_rows, twin_seen) = (f(texels, eye, projection, (60, 48)) for f in (facing, facing_reference))
    np.testing.assert_array_equal(rows, twin_rows)
    np.testing.assert_allclose(seen, twin_seen, rtol=1e-5)
    assert 0.1 < len(rows) / len(texels.points) < 0.6
    share = rng.random(len(rows), np.float32) * (rng.random(len(rows)) > 0.3)
    sums = []
    for f in (add_photo, add_photo_reference):
        detail, base = np.ones((2, len(texels.points), 4), np.float32)
        f(picture, low, trust, rows, seen, share, detail, base)
        sums.append((detail, base))
    np.testing.assert_allclose(sums[0], sums[1], rtol=2e-4, atol=2e-3)
    assert (sums[0][1][rows[share == 0]] == 1).all()
    assert (sums[0][1][:, 3] > 1).sum() > 100
    add_photo(picture, low, trust, rows, seen, np.zeros(len(rows), np.float32), *sums[0])  # no share adds nothing
    np.testing.assert_allclose(sums[0], sums[1], rtol=2e-4, atol=2e-3)


def test_what_pixels_say_equals_the_twin_and_is_the_gradient() -> None:
    rng = np.random.default_rng(1)
    texture = rng.uniform(0, 255, (16 * 16, 3)).astype(np.float32)
    at = (rng.integers(0, 15, 300) * 16 + rng.integers(0, 15, 300)).astype(np.int32)
    across, down, weight = rng.random((3, 300), np.float32)
    colors = rng.integers(0, 256, (300, 3)).astype(np.uint8)
    results = []
    for f in (compare, compare_reference):
        num, den = np.zeros((256, 3), np.float32), np.zeros(256, np.float32)
        results.append((f(texture, at, across, down, colors, weight, 25.0, num, den), num, den))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-4)
    for mine, theirs in zip(results[0][1:], results[1][1:], strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-3)
    # A step along it never makes plain least squares worse.
    num, den = np.zeros((256, 3), np.float32), np.zeros(256, np.float32)
    one = np.ones_like(weight)
    before = compare(texture, at, across, down, colors, one, 1e6, num, den)
    after = compare(texture + num / np.maximum(den, 1e-9)[:, None], at, across, down, colors, one, 1e6, np.zeros_like(num), np.zeros_like(den))
    assert after < before
