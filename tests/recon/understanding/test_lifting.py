"""Predictions lifted to 3D: a patterned sphere whose truth is known."""

import numpy as np
import pytest
import torch

from data.errors import InputError
from recon.depthviews import DepthViews, link, nearest
from recon.fields import Rays, RenderedRays
from recon.understanding.evaluation import class_iou, matched_iou, view_agreement
from recon.understanding.instances import by_size
from recon.understanding.lifting import lift
from recon.understanding.prediction import Predictions, checked, scores_of
from recon.understanding.selecting import Click, in_photos
from tests.conftest import ring_of_cameras, sphere_picture

VIEWS = 8


@pytest.fixture(scope="module")
def sphere() -> tuple[DepthViews, torch.Tensor]:
    """Views of the unit sphere, and which pixels lie on its upper half (1), its lower half (0) or beside it (2)."""
    cameras = ring_of_cameras(VIEWS, 64)
    depths, labels = [], []
    for i in range(VIEWS):
        _, mask, depth = sphere_picture(cameras, i)
        pixels = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), -1).reshape(-1, 2)
        points = cameras.unproject(i, pixels, depth.reshape(-1).astype(np.float64)).reshape(64, 64, 3)
        depths.append(torch.from_numpy(depth))
        labels.append(torch.from_numpy(np.where(mask, (points[..., 2] > 0).astype(np.int64), 2)))
    return DepthViews(torch.zeros(VIEWS, 3, 64, 64), torch.stack(depths), cameras), torch.stack(labels)


def on_sphere(count: int = 400) -> torch.Tensor:
    g = np.random.default_rng(0)
    p = g.normal(size=(count, 3))
    return torch.from_numpy(p / np.linalg.norm(p, axis=1, keepdims=True))


def test_labels_come_back_where_they_were(sphere) -> None:
    views, labels = sphere
    lifted = lift(scores_of(list(labels), ["lower", "upper", "beside"]), None, views.cameras, tuple(views.depth))
    points = on_sphere()
    points = points[points[:, 2].abs() > 0.15]
    said = lifted.at(points, points)
    seen = said.support > 0.05
    assert seen.float().mean() > 0.7
    assert (said.labels[seen] == (points[seen, 2] > 0)).float().mean() > 0.97
    assert said.agreement[seen].mean() > 0.95
    assert said.uncertainty[seen].mean() < 0.1


def test_photos_behind_have_no_say(sphere) -> None:
    views, _ = sphere
    number = [torch.full((1, 64, 64), i / (VIEWS - 1)) for i in range(VIEWS)]
    lifted = lift(Predictions("heat", tuple(number)), None, views.cameras, tuple(views.depth))
    for i in range(VIEWS):
        eye = views.cameras.centers[i]
        facing = torch.from_numpy(eye / np.linalg.norm(eye))[None]
        back = (i + VIEWS // 2) % VIEWS / (VIEWS - 1)
        value = float(lifted.at(facing, facing).values[0, 0])
        assert abs(value - i / (VIEWS - 1)) < abs(value - back)
    assert float(lifted.at(torch.zeros(1, 3, dtype=torch.float64)).support[0]) == 0, "the middle of the sphere is hidden from all"


def test_views_that_contradict_agree_less(sphere) -> None:
    views, labels = sphere
    liars = [m.clone() for m in labels]
    for m in liars[::2]:
        m[m < 2] = 1 - m[m < 2]
    points = on_sphere()
    honest, mixed = (lift(scores_of(x, ["lower", "upper", "beside"]), None, views.cameras, tuple(views.depth)).at(points, points) for x in (list(labels), liars))
    both = (honest.support > 0.3) & (mixed.support > 0.3)
    assert mixed.agreement[both].mean() < honest.agreement[both].mean() - 0.2
    assert mixed.uncertainty[both].mean() > honest.uncertainty[both].mean() + 0.2


def test_normals_are_turned_into_the_world(sphere) -> None:
    views, _ = sphere
    pixels = np.stack(np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5), -1).reshape(-1, 2)
    maps = []
    for i in range(VIEWS):
        points = views.cameras.unproject(i, pixels, views.depth[i].numpy().reshape(-1).astype(np.float64))
        maps.append(torch.from_numpy((points @ views.cameras.camera_to_world[i, :3, :3]).T.reshape(3, 64, 64)).float())
    points = on_sphere()
    said = lift(Predictions("normals", tuple(maps)), None, views.cameras, tuple(views.depth)).at(points, points)
    seen = said.support > 0.3
    assert (said.values[seen] * points[seen]).sum(1).mean() > 0.99


def test_what_cannot_be_lifted_is_said(sphere) -> None:
    views, labels = sphere
    good = scores_of(list(labels), ["a", "b", "c"])
    with pytest.raises(InputError, match="7 predictions for 8"):
        checked(Predictions("scores", good.maps[:-1], good.names), views.cameras)
    with pytest.raises(InputError, match="not the shape"):
        checked(Predictions("scores", tuple(m[:, :40] for m in good.maps), good.names), views.cameras)
    broken = [m.clone() for m in good.maps]
    broken[3][0, 5, 5] = torch.nan
    with pytest.raises(InputError, match="Prediction 3 holds values that are not finite"):
        checked(Predictions("scores", tuple(broken), good.names), views.cameras)
    with pytest.raises(InputError, match="2 names"):
        checked(Predictions("scores", good.maps, ("a", "b")), views.cameras)
    with pytest.raises(InputError, match="Name every label"):
        scores_of(list(labels), ["a"])


def test_views_agree_about_the_truth_and_not_about_noise(sphere) -> None:
    views, labels = sphere
    links = link(views, nearest(views.cameras, 3))
    assert view_agreement(labels, links) > 0.95
    noise = torch.randint(0, 2, labels.shape, generator=torch.Generator().manual_seed(0))
    assert not view_agreement(noise, links, inside=0) > 0.7


def test_matched_iou_does_not_mind_numbers() -> None:
    true = np.repeat(np.arange(4), 100).reshape(20, 20)
    assert matched_iou(true.max() - true + 7, true) == [1.0] * 4
    half = np.where(true == 3, 2, true)  # two things as one: one of them is lost, the other half right
    assert sorted(round(v, 2) for v in matched_iou(half, true)) == [0.0, 0.5, 1.0, 1.0]
    assert class_iou(half, true, 4) == {0: 1.0, 1: 1.0, 2: 0.5, 3: 0.0}


def test_largest_first() -> None:
    assert by_size(np.array([5, 5, 9, 9, 9, 1])).tolist() == [1, 1, 0, 0, 0, 2]


def test_what_is_infinitely_far_is_seen_past_the_things(sphere) -> None:
    views, labels = sphere
    lifted = lift(scores_of(list(labels), ["lower", "upper", "beside"]), None, views.cameras, tuple(views.depth))
    forwards = torch.from_numpy(views.cameras.forwards)
    weight, _ = lifted.behind(0, forwards[:1])
    assert weight.item() == 0  # the sphere stands before it
    corner = torch.from_numpy(views.cameras.unproject(0, np.array([[3.0, 3.0]]), np.ones(1)) - views.cameras.centers[:1])
    weight, grid = lifted.behind(0, corner)
    assert weight.item() > 0
    assert torch.allclose(grid[0], torch.full((2,), 3 / 32 - 1), atol=1e-5)


def test_clicks_in_3d_are_clicks_in_the_photo_that_shows_the_place_best(sphere) -> None:
    views, _ = sphere
    depth = tuple(views.depth)
    for i in (0, 3):
        towards = views.cameras.centers[i] / np.linalg.norm(views.cameras.centers[i])
        (click,) = in_photos([Click(-1, tuple(float(v) for v in towards), False)], views.cameras, depth)
        pixel, _ = views.cameras.project(click.photo, towards[None])
        assert np.allclose(np.array(click.at) * 64, pixel[0], atol=1e-3)
        assert not click.inside
        assert views.depth[click.photo][int(pixel[0, 1]), int(pixel[0, 0])] > 0
    unseen = Click(-1, (0.0, 0.0, 9.0))
    assert in_photos([unseen, Click(2, (0.5, 0.5))], views.cameras, depth) == [unseen, Click(2, (0.5, 0.5))]


class Ball:
    """The unit sphere as a field, with nothing around it."""

    device, near, empty_background = torch.device("cpu"), 0.0, None
    bounds = np.array([[-1.0, -1, -1], [1, 1, 1]])

    def density(self, points: torch.Tensor) -> torch.Tensor:
        return 1e3 * (points.norm(dim=1) < 1).float()

    def render(self, rays: Rays, color: bool = True) -> RenderedRays:
        along = (rays.origins * rays.directions).sum(1)
        inside = along.square() - rays.origins.square().sum(1) + 1
        met = (inside > 0).float()
        return RenderedRays(torch.zeros(len(rays), 3), met * (-along - inside.clamp(min=0).sqrt()), met, met)


def test_a_view_shows_the_labels_and_what_stands_behind(sphere) -> None:
    views, labels = sphere
    cameras = ring_of_cameras(5, 48)  # stands between the photos
    lifted = lift(scores_of(list(labels), ["lower", "upper", "beside"]), Ball(), views.cameras, tuple(views.depth))
    found = lifted.render_view(cameras, 1)
    _, mask, depth = sphere_picture(cameras, 1)
    pixels = np.stack(np.meshgrid(np.arange(48) + 0.5, np.arange(48) + 0.5), -1).reshape(-1, 2)
    upper = cameras.unproject(1, pixels, depth.reshape(-1).astype(np.float64))[:, 2] > 0
    true = np.where(mask.reshape(-1), upper, 2)
    sure = found.support.numpy() > 0
    assert sure[mask.reshape(-1)].mean() > 0.95
    assert sure[true == 2].any()  # the rest lies beside all photos
    assert (found.labels.numpy()[sure] == true[sure]).mean() > 0.95
    assert (found.labels.numpy()[sure & (true == 2)] == 2).mean() > 0.95
