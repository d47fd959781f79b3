"""The encoding by tiny-cuda-nn (Müller 2021), where it is installed, on this package's own tables.

tiny-cuda-nn reads a level of base resolution R at ``x (R - 1) + 0.5`` and gives it ``R^3`` vertices, or hashes them by the same primes
if they do not fit. So a level of ``r`` cells here is one of its grids with a single level, ``R = r + 1``, asked at ``x - 0.5 / r``: the
same cells, fractions and rows. That costs a launch a level; to be measured as its users run it, see `benchmarks.kernels`.
"""

import importlib.util
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.hashgrid.layout import HashGridLayout
from kernels.hashgrid.reference import encode_reference


def available() -> bool:
    """Whether tiny-cuda-nn's PyTorch extension is installed."""
    return importlib.util.find_spec("tinycudann") is not None


def supports(layout: HashGridLayout) -> bool:
    """Whether tiny-cuda-nn can hold tables of this layout."""
    return layout.hash == "coherent_prime" and layout.features in (1, 2, 4, 8) and layout.log2_table_size >= 3


def encode_tcnn(
    points: Float[Tensor, "points 3"], table: Float[Tensor, "entries features"], layout: HashGridLayout
) -> Float[Tensor, "points encoded"]:
    """`encoding.encode` by tiny-cuda-nn, in its half precision; differentiable in both as far as it is.

    Raises:
        ValueError: the layout has another hash, or features that it does not know.
        RuntimeError: the installed version encodes otherwise.
    """
    if not supports(layout):
        raise ValueError(f"tiny-cuda-nn knows 1, 2, 4 or 8 features and the hash 'coherent_prime', not {layout.features} and '{layout.hash}'; use 'cuda'.")
    return _encode(_grids(layout, table.device), points, table, layout)


def _encode(grids: list[nn.Module], points: Tensor, table: Tensor, layout: HashGridLayout) -> Tensor:
    inside, encoded = points.clamp(0, 1), []
    for level, grid in enumerate(grids):
        rows = table[int(layout.offsets[level]) : int(layout.offsets[level + 1])]
        shifted = inside - 0.5 / int(layout.resolutions[level])
        encoded.append(torch.func.functional_call(grid, {"params": rows.reshape(-1).float()}, (shifted,)))
    return torch.cat(encoded, dim=-1).to(table.dtype)


@lru_cache(maxsize=8)
def _grids(layout: HashGridLayout, device: torch.device) -> list[nn.Module]:
    """A grid a level, once they have been seen to agree with the reference."""
    import tinycudann

    grids = [
        tinycudann.Encoding(3, {
            "otype": "HashGrid", "n_levels": 1, "n_features_per_level": layout.features, "log2_hashmap_size": layout.log2_table_size,
            "base_resolution": int(resolution) + 1, "per_level_scale": 2.0,
        }).to(device)
        for resolution in layout.resolutions
    ]  # fmt: skip
    with torch.no_grad():
        points, table = torch.rand(256, 3, device=device), torch.rand(layout.entries, layout.features, device=device)
        error = (_encode(grids, points, table, layout) - encode_reference(points, table, layout)).abs().max()
    if not error < 1e-2:
        raise RuntimeError(f"The installed tiny-cuda-nn lays its tables out otherwise (values are off by {float(error):.3f}); use 'cuda'.")
    return grids
