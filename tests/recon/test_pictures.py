"""Whole pictures: what no photo shows is continued from beside it, and the rest is left alone."""

import numpy as np
import torch

from data.readers import read_scene
from recon.general.engine import ConditionOptions, GeneralModel
from recon.general.photos import condition_scene
from recon.pictures import filled, render_picture
from tests.conftest import SAMPLE


def test_known_pixels_stay_and_unknown_ones_follow_their_neighbours() -> None:
    torch.manual_seed(0)
    rgb = torch.rand(37, 50, 3)
    known, met = torch.ones(37, 50), torch.ones(37, 50, dtype=torch.bool)
    assert torch.equal(filled(rgb, known, met), rgb)
    known[:, 30:] = 0
    assert torch.allclose(filled(rgb, known, met)[:, :30], rgb[:, :30], atol=1e-6)
    even = torch.tensor([0.2, 0.5, 0.9]).expand(37, 50, 3).clone()
    even[:, 30:] = 7.0
    assert torch.allclose(filled(even, known, met), torch.tensor([0.2, 0.5, 0.9]).expand(37, 50, 3), atol=1e-5)


def test_holes_blend_between_their_rims() -> None:
    rgb = torch.zeros(32, 64, 3)
    rgb[:, 40:] = 1
    known = torch.ones(32, 64)
    known[:, 24:40] = 0
    row = filled(rgb, known, torch.ones_like(known, dtype=torch.bool))[16, :, 0]
    assert bool((row.diff() >= -0.05).all())
    assert 0.25 < float(row[32]) < 0.75


def test_background_continues_background() -> None:
    rgb = torch.zeros(40, 40, 3)
    rgb[:, 10:20] = 1  # something bright before black
    known, met = torch.ones(40, 40), torch.zeros(40, 40, dtype=torch.bool)
    met[:, 10:20] = True
    known[:, 20:30] = 0
    rgb[:, 20:30] = 0.5
    assert float(filled(rgb, known, met)[:, 20:30].max()) < 1e-3
    assert float(filled(rgb, known, torch.ones_like(met))[:, 20:30].max()) > 0.2


def test_pictures_of_which_nothing_is_known_stay() -> None:
    rgb = torch.rand(5, 1, 3)
    assert torch.equal(filled(rgb, torch.zeros(5, 1), torch.ones(5, 1, dtype=torch.bool)), rgb)


@torch.no_grad()
def test_a_camera_that_looks_past_the_photos_sees_no_streaks() -> None:
    scene = read_scene(SAMPLE, SAMPLE).select(range(4))
    field = condition_scene(GeneralModel.from_pretrained(options=ConditionOptions(neighbours=3, sources=4, side=96)), scene)
    cameras = scene.posed().resized(np.tile([64, 48], (4, 1)))
    straight = render_picture(field, cameras, 0)
    assert float((straight.seen > 0.99).float().mean()) > 0.9
    turn = np.eye(4)
    turn[:3, :3] = [[np.cos(0.5), 0, np.sin(0.5)], [0, 1, 0], [-np.sin(0.5), 0, np.cos(0.5)]]
    aside = cameras.__class__.pinhole(cameras.intrinsics, cameras.camera_to_world @ turn, cameras.sizes)
    picture = render_picture(field, aside, 0)
    unseen = picture.seen < 0.01
    assert 0.05 < float(unseen.float().mean()) < 0.95
    assert torch.isfinite(picture.rgb).all()
    steps = picture.rgb.diff(dim=0).abs().mean(-1)
    assert float(steps[unseen[1:] & unseen[:-1]].mean()) < 0.02
