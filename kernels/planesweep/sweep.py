"""Which implementation runs: Triton on CUDA, numba on the CPU, plain PyTorch where gradients of more than the features are wanted."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.planesweep import reference


def correlate(
    features: Float[Tensor, "images h w c"], references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"],
    homographies: Float[Tensor, "refs k 3 4"], depth: Float[Tensor, "refs d h w"], scale: float, groups: int,
) -> tuple[Float[Tensor, "refs k d h w groups"], Float[Tensor, "refs k d h w"]]:  # fmt: skip
    """Group-wise correlation (Guo et al. 2019) of each neighbour's features with the reference's at hypothetical depths.

    Args:
        features: maps of all images, channels last, at 1/``scale`` of the photos' size.
        references: image that each depth volume belongs to.
        neighbours: images it is compared with.
        homographies: reference pixel (x, y, 1) times depth, and 1 -> homogeneous pixel of the neighbour: rows [A | t],
            photo pixels.
        depth: hypotheses, z-depth of the reference, scene units.
        groups: channels are split into this many groups; the mean product over a group is one number.

    Returns:
        correlations, and 1 where the point falls into the neighbour's picture, else 0 (correlations are 0 there).
    """
    if features.is_cuda:
        from kernels.planesweep.cuda import Correlate

        return Correlate.apply(features, references, neighbours, homographies, depth, scale, groups)  # type: ignore[no-any-return]
    if _gathered(features, homographies, depth):
        from kernels.planesweep.cpu import Correlate as OnCpu

        return OnCpu.apply(features, references, neighbours, homographies, depth, scale, groups)  # type: ignore[no-any-return]
    return reference.correlate(features, references, neighbours, homographies, depth, scale, groups)


def correlate_mean(
    features: Float[Tensor, "images h w c"], references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"],
    homographies: Float[Tensor, "refs k 3 4"], depth: Float[Tensor, "refs d h w"], weights: Float[Tensor, "refs k h w"],
    scale: float, groups: int,
) -> tuple[Float[Tensor, "refs d h w groups"], Float[Tensor, "refs d h w"]]:  # fmt: skip
    """`correlate`, averaged over the neighbours with a weight per pixel.

    Returns:
        weighted mean over the neighbours that see the point, and the sum of their weights.
    """
    if _gathered(features, homographies, depth, weights):
        from kernels.planesweep.cpu import CorrelateMean

        return CorrelateMean.apply(features, references, neighbours, homographies, depth, weights, scale, groups)  # type: ignore[no-any-return]
    values, seen = correlate(features, references, neighbours, homographies, depth, scale, groups)
    return reference.weighted_mean(values, seen, weights)


def _gathered(features: Tensor, *given: Tensor) -> bool:
    """Whether the CPU's kernels may run: single precision, and no gradient wanted but the features'."""
    wanted = torch.is_grad_enabled() and any(t.requires_grad for t in given)
    return features.device.type == "cpu" and features.dtype == torch.float32 and not wanted
