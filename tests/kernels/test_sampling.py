"""Importance sampling along rays: what a distribution owes, and the compiled path against its twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.sampling import Spacing, contract, sample_rays, sample_rays_reference, uncontract


@pytest.mark.parametrize("contracted", [True, False])
def test_compiled_path_equals_the_twin(contracted: bool) -> None:
    torch.manual_seed(0)
    origins, directions = torch.randn(300, 3) * 2, torch.nn.functional.normalize(torch.randn(300, 3), dim=-1)
    density = torch.rand(16, 16, 16) * 30 * (torch.rand(16, 16, 16) > 0.6)
    spacing = Spacing(0.05, 0.02, 24, 0.125, 0.2, contracted)
    near, far, jitter = torch.full((300,), 0.05), torch.full((300,), 20.0), torch.rand(300)
    fast, plain = (f(origins, directions, near, far, jitter, density, spacing) for f in (sample_rays, sample_rays_reference))
    assert torch.equal(fast.ray_offsets, plain.ray_offsets)
    # A probability on the edge of two steps may fall to either side: all but a few samples are equal.
    assert (fast.positions - plain.positions).abs().quantile(0.99) < 1e-3
    torch.testing.assert_close(fast.lengths, plain.lengths, atol=1e-3, rtol=1e-2)


def test_samples_are_ordered_cover_the_occupied_length_and_crowd_where_it_is_dense() -> None:
    density = torch.full((32, 32, 32), 0.05)
    density[:, :, 20:22] = 200.0  # a wall across x
    origins, directions = torch.tensor([[-0.99, 0.01, 0.01]]), torch.tensor([[1.0, 0.0, 0.0]])
    spacing = Spacing(0.02, 0.0, 32, 0.1, 0.25, False)
    samples = sample_rays(origins, directions, torch.zeros(1), torch.full((1,), 1.98), torch.full((1,), 0.5), density, spacing)
    assert (samples.positions.diff() > 0).all()
    assert samples.lengths.sum().item() == pytest.approx(1.98, abs=0.05)
    x = samples.positions - 0.99
    wall = (x > 20 / 16 - 1 - 0.02) & (x < 22 / 16 - 1 + 0.02)
    assert wall.float().mean() > 0.5


def test_empty_rays_get_no_samples() -> None:
    spacing = Spacing(0.05, 0.0, 8, 0.125, 0.2, False)
    away = sample_rays(
        torch.tensor([[5.0, 5.0, 5.0]]), torch.tensor([[1.0, 0.0, 0.0]]), torch.zeros(1), torch.full((1,), 9.0), torch.zeros(1),
        torch.ones(8, 8, 8), spacing,
    )  # fmt: skip
    assert len(away.positions) == 0
    assert away.ray_offsets.tolist() == [0, 0]


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3))
@settings(deadline=None)
def test_contraction_is_bounded_and_undone(values: list[float]) -> None:
    point = torch.tensor([values], dtype=torch.float64)
    inside = contract(point)
    assert inside.abs().max() <= 2
    torch.testing.assert_close(uncontract(inside), point, rtol=1e-6, atol=1e-6)
