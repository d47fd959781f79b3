"""Gradient surgery per source image."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.conflicts import reconciled


def two(seed: int) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64) for _ in range(2)]


def dots(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a.flatten(1) * b.flatten(1)).sum(1)


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 100_000))
def test_without_conflict_gradients_add_and_with_it_the_major_one_is_never_lowered(seed: int) -> None:
    major, minor = two(seed)
    total = reconciled([major, minor])
    agree = dots(major, minor) >= 0
    assert torch.allclose(total[agree], (major + minor)[agree])
    given_way = total - major
    assert (dots(given_way, major) >= -1e-9).all()
    # What is left of the other gradient differs from it along the major one alone.
    removed = (minor - given_way)[~agree].flatten(1)
    along = major[~agree].flatten(1)
    assert torch.allclose(removed, (removed * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True) * along)


def test_each_source_image_is_reconciled_by_itself() -> None:
    major, minor = two(0)
    whole = reconciled([major, minor])
    for i in range(len(major)):
        assert torch.allclose(whole[i : i + 1], reconciled([major[i : i + 1], minor[i : i + 1]]))


def test_a_zero_gradient_is_no_trouble() -> None:
    major, _ = two(1)
    assert torch.equal(reconciled([major, torch.zeros_like(major)]), major)
    assert torch.equal(reconciled([torch.zeros_like(major), major]), major)


def test_opposite_gradients_leave_the_major_one() -> None:
    major, _ = two(2)
    assert torch.allclose(reconciled([major, -3 * major]), major)
    assert torch.allclose(reconciled([major, -3 * major], major=False), torch.zeros_like(major), atol=1e-12)
