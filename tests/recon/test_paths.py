"""Camera paths through key views; depth ranges in transforms.json; boxes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from data.errors import InputError
from data.readers import read_scene
from data.writers import write_transforms
from recon.paths import through
from recon.pipeline import checked_box
from recon.previews import depth_picture, normal_picture
from tests.conftest import ring_of_cameras


def test_a_path_meets_its_keys_and_stays_smooth() -> None:
    keys = ring_of_cameras(5).camera_to_world
    path = through(keys, np.full(5, 40.0), 401, (64, 48))
    assert np.allclose(path.camera_to_world[0], keys[0])
    assert np.allclose(path.camera_to_world[-1], keys[-1])
    for key in keys:
        near = np.linalg.norm(path.centers - key[:3, 3], axis=1)
        best = int(near.argmin())
        assert near[best] < 0.02
        turn = Rotation.from_matrix(path.camera_to_world[best, :3, :3].T @ key[:3, :3]).magnitude()
        assert turn < 0.03
    steps = np.linalg.norm(np.diff(path.centers, axis=0), axis=1)
    assert steps.max() < 3 * np.median(steps)
    assert np.allclose(np.linalg.det(path.camera_to_world[:, :3, :3]), 1)


def test_a_loop_comes_back_and_lenses_change_in_between() -> None:
    keys = ring_of_cameras(4).camera_to_world
    path = through(keys, np.array([30.0, 60.0, 30.0, 60.0]), 80, (64, 48), loop=True)
    gap = np.linalg.norm(path.centers[0] - path.centers[-1])
    assert gap < 2.5 * np.median(np.linalg.norm(np.diff(path.centers, axis=0), axis=1))
    focal = path.intrinsics[:, 0, 0]
    assert focal.max() / focal.min() > 1.5


def test_a_mere_turn_takes_time_too() -> None:
    keys = np.tile(np.eye(4), (2, 1, 1))
    keys[1, :3, :3] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    path = through(keys, np.full(2, 50.0), 11, (64, 48))
    turns = [Rotation.from_matrix(p[:3, :3]).magnitude() for p in path.camera_to_world]
    assert np.allclose(np.diff(turns), np.pi / 20, atol=1e-6)


def test_depth_ranges_survive_in_transforms(tmp_path: Path, sphere_scene: Path) -> None:
    scene = replace(read_scene(sphere_scene), near_far=np.tile([1.5, 4.25], (8, 1)))
    write_transforms(sphere_scene, scene, ranges=True)
    assert np.allclose(read_scene(sphere_scene).near_far, scene.near_far)
    write_transforms(sphere_scene, scene)
    assert read_scene(sphere_scene).near_far is None


@pytest.mark.parametrize("corners", [(0, 0, 0, 1, 1, 0), (0, 0, 0, -1, 1, 1), (0, 0, 0, 1, 1, float("nan")), (0, 0, 0)])
def test_boxes_that_are_none(corners: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match="is no box"):
        checked_box(corners)


def test_pictures_of_depth_and_normals() -> None:
    depth = np.array([[1.0, 2.0], [0.0, np.inf]])
    picture = depth_picture(depth)
    assert (picture[1] == 128).all()
    assert picture[0, 0, 0] > picture[0, 1, 0], "near is yellow"
    normals = np.zeros((1, 2, 3))
    normals[0, 0] = (0, 0, -1)  # towards an OpenCV camera
    assert normal_picture(normals, np.eye(3)).tolist() == [[[127, 127, 255], [128, 128, 128]]]
