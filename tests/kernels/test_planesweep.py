"""Plane sweeping: fast paths equal the twin, and the twin finds the depth of a plane."""

import pytest
import torch

from kernels.planesweep import correlate, correlate_mean, reference


def case(device: str = "cpu", channels: int = 32):
    g = torch.Generator().manual_seed(0)
    features = torch.randn(5, 12, 16, channels, generator=g)
    references, neighbours = torch.tensor([0, 1]), torch.tensor([[1, 2, 3], [0, 2, 4]])
    turn = torch.eye(3).repeat(2, 3, 1, 1) + torch.randn(2, 3, 3, 3, generator=g) * 1e-3
    shift = torch.randn(2, 3, 3, 1, generator=g) * torch.tensor([30.0, 30.0, 0.01])[:, None]
    homographies = torch.cat([turn, shift], dim=-1)
    depth = (1 / torch.linspace(0.2, 1.2, 10))[None, :, None, None].expand(2, 10, 12, 16).contiguous()
    weights = torch.rand(2, 3, 12, 16, generator=g)
    return [t.to(device) for t in (features, references, neighbours, homographies, depth, weights)]


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (16, 4)])
def test_the_cpu_path_equals_the_twin(channels: int, groups: int) -> None:
    features, references, neighbours, homographies, depth, weights = case(channels=channels)
    with torch.no_grad():
        fast, total = correlate_mean(features, references, neighbours, homographies, depth, weights, 8.0, groups)
    slow = reference.weighted_mean(*reference.correlate(features, references, neighbours, homographies, depth, 8.0, groups), weights)
    assert (total > 0).float().mean() > 0.2
    assert torch.allclose(fast, slow[0], atol=1e-3)
    assert torch.allclose(total, slow[1], atol=1e-5)


@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (16, 4)])
@pytest.mark.parametrize("mean", [False, True])
def test_the_cpu_path_has_the_twins_gradients(channels: int, groups: int, mean: bool) -> None:
    features, references, neighbours, homographies, depth, weights = case(channels=channels)
    one, two = features.clone().requires_grad_(), features.clone().requires_grad_()
    if mean:
        fast = correlate_mean(one, references, neighbours, homographies, depth, weights, 8.0, groups)[0]
        slow = reference.weighted_mean(*reference.correlate(two, references, neighbours, homographies, depth, 8.0, groups), weights)[0]
    else:
        fast, seen = correlate(one, references, neighbours, homographies, depth, 8.0, groups)
        slow, inside = reference.correlate(two, references, neighbours, homographies, depth, 8.0, groups)
        assert torch.equal(seen, inside)
    assert torch.allclose(fast, slow, atol=1e-3)
    push = torch.randn(fast.shape, generator=torch.Generator().manual_seed(1))
    (fast * push).sum().backward()
    (slow * push).sum().backward()
    assert two.grad is not None
    assert two.grad.abs().max() > 0.1
    assert torch.allclose(one.grad, two.grad, atol=2e-3, rtol=1e-3)


def test_where_depths_want_gradients_the_twin_runs() -> None:
    features, references, neighbours, homographies, depth, weights = case()
    depth.requires_grad_()
    correlate_mean(features, references, neighbours, homographies, depth, weights, 8.0, 8)[0].sum().backward()
    assert depth.grad is not None


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("channels", "groups"), [(32, 8), (16, 4)])
def test_the_gpu_path_equals_the_twin(channels: int, groups: int) -> None:
    features, references, neighbours, homographies, depth, _ = case("cuda", channels)
    one, two = features.clone().requires_grad_(), features.clone().requires_grad_()
    fast, seen = correlate(one, references, neighbours, homographies, depth, 8.0, groups)
    slow, inside = reference.correlate(two, references, neighbours, homographies, depth, 8.0, groups)
    assert torch.allclose(fast, slow, atol=1e-3)
    assert torch.equal(seen, inside)
    push = torch.randn_like(fast)
    (fast * push).sum().backward()
    (slow * push).sum().backward()
    assert torch.allclose(one.grad, two.grad, atol=1e-2)


def test_a_plane_matches_best_at_its_depth() -> None:
    """Two cameras one apart look at a textured plane at depth 4: the correlation peaks there."""
    h, w, focal, scale, true = 24, 48, 192.0, 4.0, 4.0
    y, x = torch.meshgrid(torch.arange(h) + 0.5, torch.arange(w) + 0.5, indexing="ij")

    def view(offset: float) -> torch.Tensor:
        u = (x * scale - w * scale / 2) / focal * true + offset
        v = (y * scale - h * scale / 2) / focal * true
        waves = torch.stack([torch.sin((2 + i) * u + i) + torch.cos(4 * v + 2 * i) for i in range(8)], dim=-1)
        return waves / waves.norm(dim=-1, keepdim=True)

    features = torch.stack([view(0.0), view(1.0)])
    k = torch.tensor([[focal, 0, w * scale / 2], [0, focal, h * scale / 2], [0, 0, 1]])
    homography = torch.cat([torch.eye(3), (k @ torch.tensor([-1.0, 0, 0]))[:, None]], dim=1)[None, None]
    depths = torch.tensor([2.5, 3.0, 3.5, 4.0, 4.5, 5.0, 6.0])
    volume = depths[None, :, None, None].expand(1, -1, h, w).contiguous()
    values, seen = correlate(features, torch.tensor([0]), torch.tensor([[1]]), homography, volume, scale, 1)
    inside = seen[0, 0].bool().all(0)
    best = values[0, 0, ..., 0].argmax(0)[inside]
    assert inside.float().mean() > 0.3
    assert (depths[best] == true).float().mean() > 0.95
