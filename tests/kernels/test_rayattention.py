"""The fused layer along the ray equals its plain twin."""

import pytest
import torch

from kernels.rayattention import PLACES
from recon.general.geometry import RayLayer


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize(("rays", "samples"), [(9, 13), (5, PLACES), (1, 1), (0, 13)])
@torch.no_grad()
def test_fused_layer_equals_the_twin(rays: int, samples: int) -> None:
    from kernels.rayattention.cuda import layer

    torch.manual_seed(0)
    module = RayLayer(48, 3).cuda()
    x = torch.randn(rays, samples, 48, device="cuda")
    twin = module(x)  # single precision takes the plain path
    assert torch.allclose(layer(x, module.packed(), precise=True), twin, atol=1e-4)
    coarse = layer(x.bfloat16(), module.packed()).float()
    assert torch.allclose(coarse, twin, atol=6e-2)
    assert torch.equal(module(x.bfloat16()).float(), coarse)


def test_rays_longer_than_its_places_take_the_twin() -> None:
    module = RayLayer(48, 3)
    assert module(torch.randn(2, PLACES + 3, 48)).shape == (2, PLACES + 3, 48)
