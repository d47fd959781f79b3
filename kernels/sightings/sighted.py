"""The entries of fused sightings, and how views and weights are packed for them."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TOKEN_PADDING = 16
"""Tokens are padded with zeros to a multiple of this many numbers."""


class Maps(NamedTuple):
    """V views of one scene."""

    table: Float[Tensor, "v 20"]
    """Rotation (camera to world, row by row), centre, fx, skew, cx, fy, cy, width, height, whether the view is there."""
    images: Float[Tensor, "v 3 h w"]
    quarter: Float[Tensor, "v h4 w4 c4"]
    half: Float[Tensor, "v h2 w2 c2"]
    surface: Float[Tensor, "v h2 w2 6"]
    """Inverse z-depth, its slopes per photo pixel, three confidences."""


class CoarseWeights(NamedTuple):
    """Of the coarse branch: two layers per view, pooling, one layer, two convolutions along the ray, the way out."""

    view1: Float[Tensor, "c 10"]
    bias1: Float[Tensor, "c"]
    view2: Float[Tensor, "c+1 c"]
    bias2: Float[Tensor, "c+1"]
    mix: Float[Tensor, "m 2*c+2"]
    mix_bias: Float[Tensor, "m"]
    along: Float[Tensor, "2 m m 5"]
    along_bias: Float[Tensor, "2 m"]
    leave: Float[Tensor, "m"]
    leave_bias: Float[Tensor, ""]


def view_table(
    intrinsics: Float[Tensor, "v 3 3"], camera_to_world: Float[Tensor, "v 4 4"], sizes: Float[Tensor, "v 2"], present: Bool[Tensor, "v"]
) -> Float[Tensor, "v 20"]:
    """See `Maps.table`."""
    k = intrinsics
    return torch.cat([
        camera_to_world[:, :3, :3].flatten(1), camera_to_world[:, :3, 3], k[:, 0, 0:1], k[:, 0, 1:2], k[:, 0, 2:3], k[:, 1, 1:2],
        k[:, 1, 2:3], sizes, present[:, None].to(k.dtype),
    ], dim=1).float().contiguous()  # fmt: skip


def gather(
    maps: Maps, points: Float[Tensor, "n s 3"], origins: Float[Tensor, "n 3"], reach: float
) -> tuple[Float[Tensor, "n s v t"], Float[Tensor, "n s v 3"], Bool[Tensor, "n s v"], Float[Tensor, "n s v"], Float[Tensor, "n s"]]:
    """Tokens (1/4 and 1/2 features, photo, cues, zeros), photo, seen, signed distance and unit; see `recon.general.sources.Shown`."""
    return _backend(points).gather(maps, points, origins, reach)  # type: ignore[no-any-return]


def coarse(
    maps: Maps, weights: CoarseWeights, points: Float[Tensor, "n s 3"], origins: Float[Tensor, "n 3"], reach: float
) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
    """Signed distance in local units, and the unit in scene units; see `recon.general.geometry.CoarseGeometry`."""
    return _backend(points).coarse(maps, weights, points, origins, reach)  # type: ignore[no-any-return]


def _backend(points: Tensor):  # type: ignore[no-untyped-def]  # two modules with the same functions
    if points.is_cuda:
        from kernels.sightings import cuda

        return cuda
    from kernels.sightings import cpu

    return cpu
