"""Distances in blocks of voxels: compiled against plain, and what they mean."""

import numpy as np
import pytest

from kernels.tsdf import SIDE, carve, carve_reference, integrate, integrate_reference
from tests.conftest import ring_of_cameras, sphere_picture

BLOCKS = np.array([[x, y, z] for x in (-1, 0) for y in (-1, 0) for z in (-1, 0)])
VOXEL = 1.2 / SIDE


def test_integration_is_as_its_twin() -> None:
    cameras = ring_of_cameras(3, 64)
    random = np.random.default_rng(0)
    pair = [(np.ones((8, SIDE, SIDE, SIDE), np.float32), np.zeros((8, SIDE, SIDE, SIDE), np.float32)) for _ in range(2)]
    for view in range(3):
        depth = sphere_picture(cameras, view)[2]
        trust = random.uniform(0, 1, depth.shape).astype(np.float32)
        for function, (distance, weight) in zip((integrate, integrate_reference), pair, strict=True):
            function(BLOCKS, distance, weight, depth, trust, cameras.projections[view], VOXEL, 0.2)
    (a, b), (c, d) = pair
    assert (np.abs(a - c) < 1e-4).mean() > 0.999
    assert (np.abs(b - d) < 1e-4).mean() > 0.999
    assert (b > 0).mean() > 0.2


def test_distances_are_the_spheres() -> None:
    cameras = ring_of_cameras(8, 256)
    distance, weight = np.ones((8, SIDE, SIDE, SIDE), np.float32), np.zeros((8, SIDE, SIDE, SIDE), np.float32)
    for view in range(8):
        depth = sphere_picture(cameras, view)[2]
        integrate(BLOCKS, distance, weight, depth, np.ones_like(depth), cameras.projections[view], VOXEL, 0.3)
    z, y, x = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    radius = np.linalg.norm(VOXEL * (SIDE * BLOCKS[:, None, None, None] + np.stack([x, y, z], -1)), axis=-1)
    near = (np.abs(radius - 1) < 0.1) & (weight > 2)
    assert near.sum() > 500
    assert np.median(np.abs(distance[near] * 0.3 - (radius - 1)[near])) < 0.06
    assert ((distance > 0) == (radius > 1))[near].mean() > 0.9


def test_what_lies_beside_a_picture_learns_nothing() -> None:
    cameras = ring_of_cameras(1, 64)
    far = np.array([[100, 100, 100], [-100, 3, 0]])
    distance, weight = np.ones((2, SIDE, SIDE, SIDE), np.float32), np.zeros((2, SIDE, SIDE, SIDE), np.float32)
    integrate(far, distance, weight, np.full((64, 64), 3, np.float32), np.ones((64, 64), np.float32), cameras.projections[0], VOXEL, 0.3)
    assert not weight.any()


@pytest.mark.parametrize("whole", [True, False])
def test_carving_is_as_its_twin(whole: bool) -> None:
    cameras = ring_of_cameras(3, 64)
    pair = [(np.full((8, SIDE, SIDE, SIDE), -1, np.float32), np.zeros((8, SIDE, SIDE, SIDE), np.int32)) for _ in range(2)]
    for view in range(3):
        mask = sphere_picture(cameras, view)[1]
        inside = np.where(mask, 3.0, -3.0).astype(np.float32)
        for function, (distance, seen) in zip((carve, carve_reference), pair, strict=True):
            function(BLOCKS, distance, seen, inside, cameras.projections[view], 70.0, VOXEL, 0.2, whole)
    (a, b), (c, d) = pair
    assert (np.abs(a - c) < 1e-5).mean() > 0.999
    assert (b == d).mean() > 0.999
