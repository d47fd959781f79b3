"""Compositing along packed rays: the formulas' own properties, and the compiled path against its twin."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.compositing import accumulate, distortion, distortion_reference, render_weights, render_weights_reference


def packed(seed: int, rays: int = 30) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    counts = torch.randint(0, 12, (rays,), generator=generator)
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    return torch.rand(int(offsets[-1]), generator=generator) * 3, offsets


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_weights_of_a_ray_and_its_transmittance_sum_to_one(seed: int) -> None:
    tau, offsets = packed(seed)
    weights = render_weights(tau, offsets)
    for a, b in zip(offsets[:-1], offsets[1:], strict=True):
        total = weights[a:b].sum() + torch.exp(-tau[a:b].sum())
        assert total.item() == pytest.approx(1.0, abs=1e-5)
    assert (weights >= 0).all()


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_weights_and_gradients_equal_the_twin(seed: int) -> None:
    tau, offsets = packed(seed)
    tau.requires_grad_()
    direction = torch.randn(len(tau))
    results = []
    for function in (render_weights, render_weights_reference):
        weights = function(tau, offsets)
        results.append((weights.detach(), torch.autograd.grad((weights * direction).sum(), tau)[0]))
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-4)


def test_distortion_equals_its_definition_and_its_twin() -> None:
    _, offsets = packed(5)
    n = int(offsets[-1])
    weights = torch.rand(n).requires_grad_()
    positions = torch.cat([torch.rand(int(b - a)).sort()[0] for a, b in zip(offsets[:-1], offsets[1:], strict=True)])
    lengths = torch.rand(n) * 0.1
    direction = torch.randn(len(offsets) - 1)
    fast, plain = (f(weights, positions, lengths, offsets) for f in (distortion, distortion_reference))
    for r, (a, b) in enumerate(zip(offsets[:-1], offsets[1:], strict=True)):
        w, s, d = weights[a:b], positions[a:b], lengths[a:b]
        direct = (w[:, None] * w[None] * (s[:, None] - s[None]).abs()).sum() + (w**2 * d).sum() / 3
        assert fast[r].item() == pytest.approx(direct.item(), abs=1e-5)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=1e-4)
    gradients = [torch.autograd.grad((v * direction).sum(), weights)[0] for v in (fast, plain)]
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_rays_without_samples_accumulate_to_zero() -> None:
    out = accumulate(torch.tensor([0.5, 0.25]), torch.ones(2, 3), torch.tensor([1, 1]), 3)
    torch.testing.assert_close(out, torch.tensor([[0.0] * 3, [0.75] * 3, [0.0] * 3]))
