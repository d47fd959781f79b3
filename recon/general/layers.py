"""PyTorch's layers where its defaults cost time.

Normalisation stays in the precision of its input: autocast would run it in single precision and write activations twice as
large; the sums are single precision inside anyway, and training is bound by memory traffic. Convolutions of volumes on the
CPU go to oneDNN: left to itself PyTorch takes a loop that is ten times slower for wide single volumes.
"""

from typing import Any

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
    """`torch.nn.Conv3d` that never takes the slow path on a CPU, neither forwards nor backwards."""

    def forward(self, input: Tensor) -> Tensor:
        if input.device.type == "cpu" and input.dtype == torch.float32 and torch.backends.mkldnn.is_available():
            if self.stride == (1, 1, 1) and self.groups == 1 and input.requires_grad and torch.is_grad_enabled():
                return _Same3d.apply(input, self.weight, self.bias, [int(p) for p in self.padding])  # type: ignore[no-any-return]
            return _onednn(input, self.weight, self.bias, [int(p) for p in self.padding], list(self.stride))
        return super().forward(input)


def _onednn(input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int]) -> Tensor:
    return torch.mkldnn_convolution(input, weight, bias, padding, stride, [1, 1, 1], 1)


class _Same3d(torch.autograd.Function):
    """A convolution of stride 1 whose gradient is a convolution as well: with the mirrored kernel. oneDNN's own takes up to twenty times as
    long for wide volumes of few channels.
    """

    @staticmethod
    def forward(ctx: Any, input: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int]) -> Tensor:
        ctx.save_for_backward(input if weight.requires_grad else None, weight)
        ctx.padding, ctx.biased, ctx.shape = padding, bias is not None, input.shape
        return _onednn(input, weight, bias, padding, [1, 1, 1])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (grad,) = grads
        input, weight = ctx.saved_tensors
        grad = grad.contiguous()
        into = onto = bias = None
        if ctx.needs_input_grad[0]:
            mirrored = weight.transpose(0, 1).flip(2, 3, 4).contiguous()
            reach = [k - 1 - p for k, p in zip(weight.shape[2:], ctx.padding, strict=True)]
            into = _onednn(grad, mirrored, None, reach, [1, 1, 1])
        if ctx.needs_input_grad[1]:
            onto = torch.ops.aten.convolution_backward(
                grad, input, weight, None, [1, 1, 1], ctx.padding, [1, 1, 1], False, [0, 0, 0], 1, [False, True, False]
            )[1]
        if ctx.biased and ctx.needs_input_grad[2]:
            bias = grad.sum((0, 2, 3, 4))
        return into, onto, bias, None
