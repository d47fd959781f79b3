"""Which implementation runs: Triton on CUDA, plain PyTorch otherwise."""

from jaxtyping import Float
from torch import Tensor

from kernels.pooling import reference


def pooled(x: Float[Tensor, "n s v d"], weights: Float[Tensor, "n s v"]) -> Float[Tensor, "n s 2*d"]:
    """Weighted mean and variance over the views, one after the other; differentiable.

    Args:
        weights: sum to one over the views.

    Returns:
        in the precision of ``x``; sums are single precision inside.
    """
    if x.is_cuda and x.stride(-1) == 1:
        from kernels.pooling.cuda import Pooled

        return Pooled.apply(x, weights)  # type: ignore[no-any-return]
    return reference.pooled(x, weights)
