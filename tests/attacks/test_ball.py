"""The set of allowed photos: projections are projections, starts and roundings stay inside."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.ball import allowed, into_ball, radius, random_start, rounded, steepest
from attacks.threat import ThreatModel
from data.errors import InputError


def photos(seed: int, count: int = 3, size: int = 8) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(seed)) / 255


def inside_of(images: torch.Tensor) -> torch.Tensor:
    inside = torch.ones_like(images[:, :1])
    inside[0, :, :, 5:] = 0
    return inside


def norm_of(delta: torch.Tensor, threat: ThreatModel, inside: torch.Tensor) -> torch.Tensor:
    """Size of each photo's change relative to what is allowed."""
    if threat.norm == "linf":
        return delta.flatten(1).abs().amax(1) / threat.eps
    return delta.flatten(1).norm(dim=1) / radius(threat, 3 * inside.flatten(1).sum(1))


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), eps=st.floats(1 / 255, 1), norm=st.sampled_from(["linf", "l2"]))
def test_what_is_brought_back_is_allowed_and_stays_where_it_is(seed: int, eps: float, norm: str) -> None:
    threat, clean = ThreatModel(norm, eps), photos(seed)  # type: ignore[arg-type]
    inside = inside_of(clean)
    wild = clean + 3 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed + 1))
    images = allowed(wild, clean, threat, inside)
    assert (norm_of(images - clean, threat, inside) <= 1 + 1e-4).all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert torch.equal(images * (1 - inside), clean * (1 - inside))
    assert torch.allclose(allowed(images, clean, threat, inside), images, atol=1e-6)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), eps=st.floats(0.5 / 255, 0.5), norm=st.sampled_from(["linf", "l2"]))
def test_rounded_photos_are_allowed_and_have_8_bits(seed: int, eps: float, norm: str) -> None:
    threat, clean = ThreatModel(norm, eps), photos(seed)  # type: ignore[arg-type]
    inside = inside_of(clean)
    images = random_start(clean, threat, inside, torch.Generator().manual_seed(seed))
    out = rounded(images, clean, threat, inside)
    assert (norm_of(out - clean, threat, inside) <= 1 + 1e-4).all()
    assert torch.allclose(out * 255, torch.round(out * 255), atol=1e-4)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_a_random_start_uses_the_budget(norm: str) -> None:
    threat, clean = ThreatModel(norm, 0.1), torch.full((4, 3, 16, 16), 0.5)  # type: ignore[arg-type]
    inside = torch.ones_like(clean[:, :1])
    start = random_start(clean, threat, inside, torch.Generator().manual_seed(0))
    assert (norm_of(start - clean, threat, inside) > 0.9).all()


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_steepest_direction_beats_any_other_of_its_size(norm: str) -> None:
    generator = torch.Generator().manual_seed(0)
    gradient = torch.randn(2, 3, 8, 8, generator=generator)
    inside = torch.ones_like(gradient[:, :1])
    threat = ThreatModel(norm, 0.05)  # type: ignore[arg-type]
    best = (gradient * steepest(gradient, threat.norm, inside)).sum() * threat.eps
    for _ in range(20):
        other = into_ball(torch.randn(gradient.shape, generator=generator), threat, inside)
        assert (gradient * other).sum() <= best + 1e-4


def test_the_l2_ball_is_a_ball() -> None:
    """Only the Euclidean length counts: one large value is as good as many small ones."""
    threat, inside = ThreatModel("l2", 0.1), torch.ones(1, 1, 4, 4)
    spike = torch.zeros(1, 3, 4, 4)
    spike[0, 0, 0, 0] = float(radius(threat, torch.tensor(48.0)))
    assert torch.allclose(into_ball(spike, threat, inside), spike)
    assert into_ball(2 * spike, threat, inside).norm() == pytest.approx(float(spike.norm()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"eps": -0.1}, "between 0 and 1"), ({"eps": 8.0}, "8/255"), ({"eps": float("nan")}, "between 0 and 1"), ({"steps": 0}, "1 step or more"),
        ({"restarts": 0}, "restarts"), ({"views": 0}, "1 view or more"),
    ],
)  # fmt: skip
def test_a_threat_model_without_sense_is_refused(options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ThreatModel(**options)


def test_no_budget_leaves_photos_as_they_are_to_the_last_bit() -> None:
    """Even where somebody else divided by 255: a GPU multiplies by the inverse, which rounds otherwise."""
    levels = torch.arange(256).float().view(1, 1, 16, 16).expand(1, 3, 16, 16)
    for clean in (levels / 255, levels * (1 / 255)):
        inside = torch.ones(1, 1, 16, 16, dtype=torch.bool)
        assert torch.equal(rounded(clean.clamp(0, 1), clean.clamp(0, 1), ThreatModel(eps=0.0), inside), clean.clamp(0, 1))
