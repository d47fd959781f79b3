"""Gradients of several losses that pull a photo in different directions (PCGrad, Yu et al. 2020; per source image as in NeRFool+)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor


def reconciled(gradients: Sequence[Float[Tensor, "s *shape"]], major: bool = True) -> Float[Tensor, "s *shape"]:
    """Sum of the gradients, where one lowers another without the part that does.

    Source images are treated one by one: ``g_i -= (g_i . g_j) / |g_j|^2 g_j`` where ``g_i . g_j < 0``.

    Args:
        major: the first gradient stays as it is and the others give way; otherwise all give way to all others, in their order.
    """
    if len(gradients) == 1:
        return gradients[0]
    flat = [g.flatten(1) for g in gradients]
    out = []
    for i, own in enumerate(flat):
        for j, other in enumerate(flat):
            if i == j or (major and (i == 0 or j != 0)):
                continue
            dot = (own * other).sum(1, keepdim=True)
            share = dot / other.square().sum(1, keepdim=True).clamp(min=torch.finfo(other.dtype).tiny)
            own = torch.where(dot < 0, own - share * other, own)
        out.append(own)
    return sum(out[1:], out[0]).view_as(gradients[0])
