"""The image encoder: a small residual pyramid, shared by all views."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recon.general.layers import GroupNorm
from recon.general.options import ModelOptions


class Residual(nn.Module):
    """Pre-activation residual block (He et al. 2016); group norm, so that a picture's features depend on it alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = GroupNorm(channels // 8, channels), GroupNorm(channels // 8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv2(F.relu(self.norm2(self.conv1(F.relu(self.norm1(x))))))


class Encoder(nn.Module):
    """Photos -> feature maps at 1/8, 1/4 and 1/2 of their size, channels last."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        a, b, c, d = options.widths
        f8, f4, f2 = options.features

        def down(i: int, o: int, blocks: int) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(i, o, 4, stride=2, padding=1), *(Residual(o) for _ in range(blocks)))

        self.at2, self.at4, self.at8, self.at16 = down(3, a, 1), down(a, b, 2), down(b, c, 2), down(c, d, 2)
        self.from16, self.from8, self.from4, self.from2 = nn.Conv2d(d, 64, 1), nn.Conv2d(c, 64, 1), nn.Conv2d(b, 48, 1), nn.Conv2d(a, 24, 1)
        self.to4, self.to2 = nn.Conv2d(64, 48, 1), nn.Conv2d(48, 24, 1)
        self.refine8, self.refine4, self.refine2 = Residual(64), Residual(48), Residual(24)
        self.out8, self.out4, self.out2 = nn.Conv2d(64, f8, 3, padding=1), nn.Conv2d(48, f4, 3, padding=1), nn.Conv2d(24, f2, 3, padding=1)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """Maps [n, h/8, w/8, c], [n, h/4, w/4, c], [n, h/2, w/2, c]; height and width are multiples of 16."""
        x2 = self.at2(2 * images - 1)
        x4 = self.at4(x2)
        x8 = self.at8(x4)
        x16 = self.at16(x8)
        y8 = self.refine8(self.from8(x8) + _doubled(self.from16(x16)))
        y4 = self.refine4(self.from4(x4) + _doubled(self.to4(y8)))
        y2 = self.refine2(self.from2(x2) + _doubled(self.to2(y4)))
        return _channels_last(self.out8(y8)), _channels_last(self.out4(y4)), _channels_last(self.out2(y2))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def _channels_last(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).contiguous()


def normalised_groups(features: Float[Tensor, "n h w c"], groups: int) -> Float[Tensor, "n h w c"]:
    """Each group of channels scaled to unit root mean square: correlations become cosines, blind to contrast."""
    n, h, w, c = features.shape
    split = features.view(n, h, w, groups, c // groups)
    scale = torch.rsqrt(split.float().square().mean(-1, keepdim=True) + 1e-3).to(features.dtype)
    return (split * scale).view(n, h, w, c)
