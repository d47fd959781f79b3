"""Regions, merging and selecting on pictures made by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.worlds.labels import CLASSES
from recon.understanding.instances import joined
from recon.understanding.merging import merge
from recon.understanding.regions import Edges, Regions, edges_of, of_pixels, photo_regions, regions_of
from recon.understanding.selecting import Click, clicked, closed, select, walked
from recon.understanding.small.networks import Understood


def said(features: np.ndarray, outline: np.ndarray) -> Understood:
    """What a network would say: unit features ``[n e h w]`` and chances of outlines ``[n h w]``."""
    n, _, h, w = features.shape
    zero = torch.zeros(n, 1, h, w)
    normal = torch.zeros(n, 3, h, w)
    normal[:, 2] = -1
    odds = torch.logit(torch.from_numpy(outline).float().clamp(1e-4, 1 - 1e-4))[:, None]
    f = torch.nn.functional.normalize(torch.from_numpy(features).float(), dim=1)
    return Understood(f, f, odds, odds, zero, zero, torch.zeros(n, 14, h, w), torch.zeros(n, 12, h, w), normal, zero)


def two_squares() -> tuple[Understood, np.ndarray]:
    """Two things on a ground; one of them has two tones and a faint line between."""
    true = np.zeros((40, 60), int)
    true[8:30, 6:26], true[8:30, 34:54] = 1, 2
    tone = true.copy()
    tone[19:30, 34:54] = 3
    features = np.eye(4)[tone].transpose(2, 0, 1)
    features[2] += 0.97 * features[3]  # the two tones are alike
    features[3] += 0.97 * (tone == 2)
    outline = np.full((40, 60), 0.02)
    for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        outline[np.roll(true, (dy, dx), (0, 1)) != true] = 0.97
    return said(features[None], outline[None]), true


def test_things_are_found() -> None:
    s, true = two_squares()
    regions = regions_of(s)
    labels = of_pixels(merge(regions, edges_of(regions, s)), regions)[0]
    assert len(np.unique(labels)) == 3
    for thing in range(3):
        inner = labels[true == thing]
        assert (inner == np.bincount(inner).argmax()).mean() > 0.95


def test_dust_is_swept_up() -> None:
    g = np.random.default_rng(0)
    features = g.normal(size=(1, 8, 30, 30))
    s = said(features, np.full((1, 30, 30), 0.5))
    regions = regions_of(s, scale=0.1, least=4)
    edges = edges_of(regions, s)
    before, after = merge(regions, edges), merge(regions, edges, dust=60.0)
    assert after.max() < before.max()
    sizes = np.bincount(of_pixels(after, regions).reshape(-1))
    assert sizes.min() >= 60


def test_clicks_select_the_thing_and_nothing_else() -> None:
    s, true = two_squares()
    regions = regions_of(s)
    edges = edges_of(regions, s)
    inside, outside = clicked([Click(0, (16 / 60, 20 / 40))], regions)
    chance = select(inside, outside, regions, edges)[regions.maps][0]
    assert ((chance > 0.5) == (true == 1)).mean() > 0.97
    inside, outside = clicked([Click(0, (16 / 60, 20 / 40)), Click(0, (2 / 60, 2 / 40), False), Click(0, (44 / 60, 12 / 40))], regions)
    chance = select(inside, outside, regions, edges)[regions.maps][0]
    assert ((chance > 0.5) == (true > 0)).mean() > 0.97


def test_clicks_that_mean_nothing_are_refused() -> None:
    s, _ = two_squares()
    regions = regions_of(s)
    with pytest.raises(InputError, match="Nothing was clicked"):
        clicked([Click(0, (0.5, 0.5), False)], regions)
    with pytest.raises(InputError, match="beside its photo"):
        clicked([Click(0, (1.2, 0.5))], regions)
    with pytest.raises(InputError, match="no photo's depth"):
        clicked([Click(-1, (0.0, 0.0, 1.0))], regions)


def test_random_walks_end_where_they_should() -> None:
    from scipy.sparse import coo_array

    chain = coo_array((np.ones(4), (np.arange(4), np.arange(1, 5))), shape=(5, 5)).tocsr()
    ends = np.array([1e6, 0, 0, 0, 1e6])
    x = walked(chain + chain.T, ends * np.array([1, 0, 0, 0, 0]), ends)
    assert np.allclose(x, [1, 0.75, 0.5, 0.25, 0], atol=1e-3)


def test_colours_alone_make_regions() -> None:
    photo = np.zeros((40, 60, 3), np.uint8)
    photo[:, :30], photo[:, 30:] = (200, 40, 40), (40, 60, 200)
    maps = photo_regions([photo, photo])
    assert maps[1].min() == maps[0].max() + 1
    assert len(np.unique(maps[0][:, 3:27])) == 1
    assert maps[0][20, 5] != maps[0][20, 55]


def test_islands_in_the_surface_are_filled_and_holes_are_not() -> None:
    maps = np.zeros((1, 40, 60), np.int32)
    maps[0, 5:35, 5:55] = 1  # a house before the sky, with two windows and a passage through it
    maps[0, 10:14, 10:14], maps[0, 10:14, 20:24], maps[0, 20:25, 40:44] = 2, 3, 4
    pixels = np.bincount(maps.reshape(-1)).astype(float)
    regions = Regions(maps, np.zeros(5, int), pixels, np.ones((5, 2)), np.ones((5, 3)), np.zeros((5, 3)), np.ones(5))
    border = np.array([160.0, 16, 16, 18])
    step = np.array([0.4, 0.001, 0.001, 0.3]) * border
    edges = Edges(np.array([0, 1, 1, 1]), np.array([1, 2, 3, 4]), border, border, step, np.zeros(4), np.zeros(4))
    chosen = np.array([0.0, 1, 0.1, 0.2, 0])
    assert closed(chosen, np.array([], int), regions, edges).tolist() == [0, 1, 1, 1, 0]
    assert closed(chosen, np.array([3]), regions, edges).tolist() == [0, 1, 1, 0.2, 0]


def test_pieces_of_the_ground_are_one() -> None:
    s, _ = two_squares()
    floor = torch.zeros_like(s.classes)
    floor[:, CLASSES.index("floor")] = 9
    s = replace(s, classes=floor)
    regions = regions_of(s)
    assert joined(regions, s).max() == 0
    assert joined(regions, s, stuff=False).max() == 2
