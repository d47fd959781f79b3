"""Semi-global aggregation against its twin, and what it is for."""

import numpy as np

from kernels.stereo import aggregate, aggregate_reference


def test_compiled_path_equals_the_twin() -> None:
    random = np.random.default_rng(0)
    costs, edges = random.random((7, 9, 11)).astype(np.float32), random.random((7, 9)).astype(np.float32)
    np.testing.assert_allclose(aggregate(costs, 0.1, 0.6, edges), aggregate_reference(costs, 0.1, 0.6, edges), rtol=1e-4)


def test_a_pixel_without_evidence_follows_its_neighbours() -> None:
    costs = np.ones((9, 9, 12), np.float32)
    costs[..., 5] = 0.2
    costs[4, 4] = 1.0
    assert (aggregate(costs, 0.1, 0.6, np.ones((9, 9), np.float32)).argmin(-1) == 5).all()
