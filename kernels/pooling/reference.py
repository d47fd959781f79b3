"""The plain twin, in PyTorch: differentiable, on any device."""

import torch
from jaxtyping import Float
from torch import Tensor


def pooled(x: Float[Tensor, "n s v d"], weights: Float[Tensor, "n s v"]) -> Float[Tensor, "n s 2*d"]:
    """See `pooling.pooled`."""
    w = weights[..., None].to(x.dtype)
    mean = (w * x).sum(2)
    off = x - mean[:, :, None]
    return torch.cat([mean, (w * off * off).sum(2)], dim=-1)
