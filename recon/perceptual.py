"""LPIPS: how different two pictures look (Zhang et al. 2018, eq. 1): distances of unit features, summed over the layers of a network.

Two networks can stand behind it. The published one is used where the package `lpips` and its backbone's weights are on this machine.
Otherwise a small network of our own (`data/weights/perceptual.safetensors`, trained on procedural worlds alone) makes the features: the
same formula, but not the same numbers, and not calibrated on people's judgements. `lpips_network` says which it is; reports name it.
"""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional as F

import data

SHIPPED = Path(data.__file__).parent / "weights" / "perceptual.safetensors"


class Features(nn.Module):
    """Five stages of convolutions, each at half the size of the one before; their outputs are the layers that are compared."""

    WIDTHS = (32, 64, 96, 128, 128)

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *self.WIDTHS)
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.Conv2d(o, o, 3, padding=1), nn.ReLU()) for i, o in zip(widths, widths[1:])
        )

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> list[Float[Tensor, "n c h2 w2"]]:
        """Features of pictures in [0, 1]."""
        x, out = 2 * images - 1, []
        for i, stage in enumerate(self.stages):
            if i:
                if min(x.shape[2:]) < 2:
                    break  # a tiny picture has no coarser layers
                x = F.avg_pool2d(x, 2)
            x = stage(x)
            out.append(x)
        return out


def distance(network: Features, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
    """Mean over pixels of the squared distance of unit features, summed over the layers."""
    total = torch.zeros(len(a), device=a.device)
    for x, y in zip(network(a), network(b)):
        total = total + (_unit(x) - _unit(y)).square().sum(1).mean((1, 2))
    return total


def _unit(x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    return x / (x.square().sum(1, keepdim=True) + 1e-10).sqrt()


@lru_cache(maxsize=1)
def _published() -> nn.Module | None:
    """The published network, if package and weights are here; nothing is downloaded."""
    try:
        import lpips
        from torch import hub
    except Exception:  # without torchvision the package cannot even be imported
        return None
    if not list((Path(hub.get_dir()) / "checkpoints").glob("alexnet-owt-*.pth")):
        return None
    return lpips.LPIPS(net="alex", verbose=False).eval().requires_grad_(False).to(_device())  # type: ignore[no-any-return]


@lru_cache(maxsize=1)
def _ours() -> Features | None:
    from safetensors.torch import load_file

    if not SHIPPED.exists():
        return None
    network = Features()
    network.load_state_dict({k: v.float() for k, v in load_file(SHIPPED).items()})
    return network.eval().requires_grad_(False).to(_device())


def _device() -> str:
    """A report scores a dozen pictures for each cell: on a GPU if there is one, whatever else runs where."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def lpips_network() -> str:
    """Whose features `lpips` compares: `alexnet` (published), `lumigraph` (ours), or `none`."""
    return "alexnet" if _published() is not None else "lumigraph" if _ours() is not None else "none"


@torch.no_grad()
def lpips(image: Float[ndarray, "h w 3"], truth: Float[ndarray, "h w 3"]) -> float:
    """Perceptual distance of pictures in [0, 1]: 0 for equal ones; NaN where no network is at hand."""
    a, b = (torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)).permute(2, 0, 1)[None].to(_device()) for x in (image, truth))
    published, ours = _published(), _ours()
    if published is not None:
        return float(published(2 * a - 1, 2 * b - 1))
    return math.nan if ours is None else float(distance(ours, a, b))
