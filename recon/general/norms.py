"""Normalisation layers that stay in the precision of their input.

Autocast would run them in single precision and write activations twice as large; their sums are single precision inside
anyway, and training here is bound by memory traffic.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GroupNorm(nn.GroupNorm):
    """`torch.nn.GroupNorm` without autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return F.group_norm(input, self.num_groups, self.weight.to(input.dtype), self.bias.to(input.dtype), self.eps)


class LayerNorm(nn.LayerNorm):
    """`torch.nn.LayerNorm` without autocast."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return F.layer_norm(input, self.normalized_shape, self.weight.to(input.dtype), self.bias.to(input.dtype), self.eps)
