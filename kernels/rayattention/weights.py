"""The weights of a layer, and how long rays may be."""

from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

PLACES = 16
"""Most samples of a ray."""


class RayWeights(NamedTuple):
    """Of one pre-norm layer; matrices as `torch.nn.Linear` stores them, [out, in]."""

    heads: int
    eps: float
    gain1: Float[Tensor, "c"]
    shift1: Float[Tensor, "c"]
    qkv: Float[Tensor, "3*c c"]
    qkv_bias: Float[Tensor, "3*c"]
    leave: Float[Tensor, "c c"]
    leave_bias: Float[Tensor, "c"]
    gain2: Float[Tensor, "c"]
    shift2: Float[Tensor, "c"]
    up: Float[Tensor, "f c"]
    up_bias: Float[Tensor, "f"]
    down: Float[Tensor, "c f"]
    down_bias: Float[Tensor, "c"]
