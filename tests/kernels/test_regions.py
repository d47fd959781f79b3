"""Regions: the compiled loops against their twins."""

import numpy as np
import torch

from kernels.regions import flood, flood_reference, grow, grow_reference, totals, totals_reference


def same_partition(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal up to the numbers."""
    pairs = np.unique(np.stack([a.reshape(-1), b.reshape(-1)]), axis=1)
    return len(np.unique(pairs[0])) == pairs.shape[1] == len(np.unique(pairs[1]))


def test_grow_is_its_twin():
    g = np.random.default_rng(0)
    right, down = g.random((13, 16)).astype(np.float32), g.random((12, 17)).astype(np.float32)
    for scale, least in ((0.5, 1), (2.0, 4), (0.0, 3)):
        assert same_partition(grow(right, down, scale, least), grow_reference(right, down, scale, least))


def test_grow_finds_what_walls_enclose():
    right, down = np.full((20, 29), 0.01, np.float32), np.full((19, 30), 0.01, np.float32)
    right[:, 11] = 1  # a wall between columns 11 and 12
    labels = grow(right, down, 1.0, 5)
    assert labels.max() == 1
    assert (labels[:, :12] == labels[0, 0]).all()
    assert (labels[:, 12:] == labels[0, 29]).all()


def test_flood_goes_the_cheap_way():
    g = np.random.default_rng(1)
    labels = np.full((15, 18), -1, np.int32)
    labels[3, 2], labels[10, 15], labels[14, 0] = 0, 1, 2
    right, down = g.random((15, 17)).astype(np.float32), g.random((14, 18)).astype(np.float32)
    assert (flood_reference(labels.copy(), right, down) == flood(labels, right, down)).all()


def test_totals_are_their_twin():
    g = np.random.default_rng(2)
    labels, values = g.integers(0, 7, 500), torch.from_numpy(g.normal(size=(5, 500)).astype(np.float32))
    assert np.allclose(totals(labels, values, 9), totals_reference(labels, values, 9))
