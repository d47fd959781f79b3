"""The fused path shows what the plain twin shows."""

import numpy as np
import pytest
import torch
from torch import Tensor

from kernels.sightings import sighted
from recon.general.geometry import CoarseGeometry
from recon.general.sources import Sources, look, shown
from tests.conftest import ring_of_cameras


def case(device: str) -> tuple[Sources, Tensor, Tensor]:
    """Five views around smooth random surfaces, and rays from beside them; the last view is absent."""
    g = torch.Generator().manual_seed(0)
    cameras = ring_of_cameras(5, 64)

    def smooth(channels: int, size: int) -> Tensor:
        coarse = torch.rand(5, channels, size // 8, size // 8, generator=g)
        return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear").permute(0, 2, 3, 1)

    surface = smooth(6, 32) * torch.tensor([0.4, 2e-3, 2e-3, 1, 1, 1]) + torch.tensor([0.2, -1e-3, -1e-3, 0, 0, 0])
    sources = Sources(
        smooth(3, 64).permute(0, 3, 1, 2)[None], smooth(32, 16)[None], smooth(16, 32)[None], surface[None],
        torch.from_numpy(cameras.intrinsics).float()[None], torch.from_numpy(cameras.camera_to_world).float()[None],
        torch.full((1, 5, 2), 64.0), torch.tensor([[True, True, True, True, False]]),
    )  # fmt: skip
    origins = torch.from_numpy(cameras.centers).float()[:1].expand(40, 3) + 0.1 * torch.randn(40, 3, generator=g)
    directions = torch.nn.functional.normalize(-origins + 0.5 * torch.randn(40, 3, generator=g), dim=-1)
    points = origins[:, None] + directions[:, None] * torch.linspace(1.0, 6.0, 20)[None, :, None]
    return Sources(*(getattr(sources, name).to(device) for name in Sources.__dataclass_fields__)), points.to(device), origins.to(device)


DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


@pytest.mark.parametrize("device", DEVICES)
@torch.no_grad()
def test_tokens_equal_the_twin(device: str) -> None:
    sources, points, origins = case(device)
    twin = shown(sources, points[None], origins[None], 0.02)
    tokens, photo, seen, distance, unit = sighted.gather(sources.maps(), points, origins, 0.02)
    assert 0.1 < twin.seen.float().mean() < 0.9
    assert torch.equal(seen, twin.seen)
    width = twin.tokens.shape[-1]
    assert tokens.shape[-1] % sighted.TOKEN_PADDING == 0
    assert not tokens[..., width:].any()
    limit = 1e-3 if device == "cpu" else 2e-2  # bfloat16 on the GPU
    # A sample on the border between two surface pixels may take either.
    for mine, theirs, most in ((tokens[..., :width], twin.tokens, limit), (photo, twin.photo, 1e-4), (distance, twin.distance, 1e-3), (unit, twin.unit, 1e-5)):
        assert float(((mine.float() - theirs).abs() > most).float().mean()) < 1e-3


@pytest.mark.parametrize("device", DEVICES)
@torch.no_grad()
def test_coarse_distances_equal_the_twin(device: str) -> None:
    sources, points, origins = case(device)
    torch.manual_seed(0)
    branch = CoarseGeometry().to(device)
    sighting = look(sources, points[None], origins[None], 0.02)
    twin = branch(*(x.flatten(0, 1) for x in (sighting.cues, sighting.seen, sighting.distance)))
    signed, unit = sighted.coarse(sources.maps(), branch.packed(), points, origins, 0.02)
    error = (signed - twin).abs().cpu().numpy()
    assert np.quantile(error, 0.99) < (2e-3 if device == "cpu" else 2e-2)
    assert torch.allclose(unit, sighting.unit[0], rtol=1e-4)
