"""Pooling over views: the fused path equals the plain twin, values and gradients."""

import pytest
import torch

from kernels.pooling import pooled, reference

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def test_mean_and_variance_by_hand() -> None:
    x = torch.tensor([[[[1.0], [3.0], [100.0]]]])
    out = pooled(x, torch.tensor([[[0.5, 0.5, 0.0]]]))
    assert out.tolist() == [[[2.0, 1.0]]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("shape", "skip"), [((7, 5, 3, 32), 0), ((40, 13, 8, 19), 32), ((1, 1, 16, 4), 3), ((0, 13, 8, 32), 0)])
def test_values_and_gradients_equal_the_twin(device: str, shape: tuple[int, int, int, int], skip: int) -> None:
    """Also for features that are cut out of wider tokens, odd widths, and no rays at all."""
    n, s, v, d = shape
    g = torch.Generator().manual_seed(0)
    tokens = torch.randn(n, s, v, skip + d + (5 if skip else 0), generator=g).to(device)
    scores = torch.randn(n, s, v, generator=g).to(device)
    push = torch.randn(n, s, 2 * d, generator=g).to(device)
    results = []
    for f in (pooled, reference.pooled):
        x, q = tokens.clone().requires_grad_(), scores.clone().requires_grad_()
        out = f(x[..., skip : skip + d], torch.softmax(q, -1))
        (out * push).sum().backward()
        results.append((out.detach(), x.grad, q.grad))
    for mine, theirs in zip(*results, strict=True):
        assert mine is not None
        assert theirs is not None
        assert torch.allclose(mine, theirs, atol=2e-5, rtol=1e-4)
