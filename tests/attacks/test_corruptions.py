"""Natural corruptions: each is one, grows with severity, and leaves a photo a photo."""

from dataclasses import replace

import numpy as np
import pytest

from attacks.corruptions import CORRUPTIONS, corrupted, shaken, variants
from data.errors import InputError
from data.readers import read_scene
from tests.attacks.toy import toy_case
from tests.conftest import SAMPLE, ring_of_cameras


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return read_scene(SAMPLE, SAMPLE).image(0)[100:260, 100:300]


@pytest.mark.parametrize("name", list(CORRUPTIONS))
def test_a_corruption_changes_a_photo_and_more_of_it_changes_it_more(name: str, photo: np.ndarray) -> None:
    out = [corrupted(photo, name, s).astype(float) for s in range(1, 6)]
    errors = [np.abs(x - photo).mean() for x in out]
    assert errors[0] > 0.3
    assert errors[4] > errors[0]
    assert all(x.shape == photo.shape for x in out)
    assert np.array_equal(corrupted(photo, name, 3, seed=1), corrupted(photo, name, 3, seed=1))


def test_there_are_fifteen_in_five_severities() -> None:
    assert len(CORRUPTIONS) == 15
    with pytest.raises(InputError, match="Severity 6"):
        corrupted(np.zeros((8, 8, 3), np.uint8), "fog", 6)
    with pytest.raises(InputError, match="no corruption 'rain'"):
        corrupted(np.zeros((8, 8, 3), np.uint8), "rain", 1)


def test_a_case_meets_everything_that_can_go_wrong() -> None:
    case = replace(toy_case(8, 32), looks={})
    found = list(variants(case))
    names = list(dict.fromkeys(v.name for v in found))
    assert len(names) == 15 + 5
    for v in found:
        assert v.case.photos.min() >= 0
        assert v.case.photos.max() <= 1
        assert len(v.case.photos) == len(v.case.cameras) == len(v.case.names)
        assert v.case.targets == case.targets
    missing = [len(v.case) for v in found if "missing" in v.name]
    assert missing == [7, 6, 5, 4, 3]


def test_shaken_poses_are_poses() -> None:
    cameras = ring_of_cameras(6)
    off = shaken(cameras, 2.0, 0.04)
    assert all(off.problem(i) is None for i in range(6))
    turn = np.einsum("nij,nik->njk", cameras.camera_to_world[:, :3, :3], off.camera_to_world[:, :3, :3])
    angle = np.degrees(np.arccos(np.clip((np.trace(turn, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    assert 1 < angle.mean() < 7
