"""Cutting the subject out of photos by classical means."""

from pathlib import Path

import numpy as np
import pytest

from data.foreground import background_colors, border, cut_out, foreground, geodesic
from data.images import load_mask
from data.readers import read_scene
from tests.conftest import drain, ring_of_cameras, sphere_picture


def test_a_ball_on_grey_is_cut_out() -> None:
    cameras = ring_of_cameras(6, 160)
    pictures = [sphere_picture(cameras, i) for i in range(6)]
    background = background_colors([p for p, _, _ in pictures])
    for picture, mask, _ in pictures:
        found = foreground(picture, background)
        assert (found & mask).sum() / (found | mask).sum() > 0.97


def test_distance_grows_only_over_edges() -> None:
    lab = np.zeros((20, 20, 3), np.float32)
    lab[5:15, 5:15] = 50
    away = geodesic(lab, border((20, 20)))
    assert away[10, 10] > 50
    assert away[3, 3] < 2


@pytest.mark.slow
def test_real_things_are_cut_out(shared_scenes: Path, tmp_path: Path) -> None:
    scene = read_scene(shared_scenes / "objects_gt" / "gso_black_bowl")
    covers = drain(cut_out(scene, tmp_path))
    assert len(covers) == len(scene)
    scores = []
    for i, path in enumerate(scene.image_paths):
        found, truth = load_mask(tmp_path / f"{path.stem}.png"), scene.mask(i)
        scores.append((found & truth).sum() / (found | truth).sum())
    assert np.mean(scores) > 0.95
