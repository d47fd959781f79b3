"""PyTorch's layers where its defaults cost time.

Normalisation stays in the precision of its input: autocast would run it in single precision and write activations twice as
large; the sums are single precision inside anyway, and training is bound by memory traffic. Convolutions of volumes on the
CPU go to oneDNN: left to itself PyTorch takes a loop that is ten times slower for wide single volumes.
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


class Conv3d(nn.Conv3d):
    """`torch.nn.Conv3d` that never takes the slow path on a CPU."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            stride, padding, dilation = list(self.stride), [int(p) for p in self.padding], list(self.dilation)
            return torch.mkldnn_convolution(input, self.weight, self.bias, padding, stride, dilation, self.groups)
        return super().forward(input)
