"""The geometry branch: fuse the source views at a sample, then look along the ray; out comes a signed distance."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.pooling import pooled
from kernels.rayattention import PLACES, RayWeights
from kernels.sightings.sighted import CoarseWeights
from recon.general.layers import LayerNorm
from recon.general.options import ModelOptions
from recon.general.sources import CUES


class CoarseGeometry(nn.Module):
    """Signed distance from the depth volumes alone: cheap enough for every sample of every ray."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.view = nn.Sequential(nn.Linear(CUES, width), nn.ReLU(), nn.Linear(width, width + 1))
        self.mix = nn.Linear(2 * width + 2, 24)
        self.along = nn.ModuleList(nn.Conv1d(24, 24, 5, padding=2) for _ in range(2))
        self.leave = nn.Linear(24, 1)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(6.0)))

    def packed(self) -> CoarseWeights:
        """The weights as the fused path takes them."""
        first, _, last = self.view
        assert isinstance(first, nn.Linear)
        assert isinstance(last, nn.Linear)
        along = [layer for layer in self.along if isinstance(layer, nn.Conv1d)]
        return CoarseWeights(
            first.weight, first.bias, last.weight, last.bias, self.mix.weight, self.mix.bias,
            torch.stack([layer.weight for layer in along]), torch.stack([layer.bias for layer in along if layer.bias is not None]),
            self.leave.weight[0], self.leave.bias[0],
        )  # fmt: skip

    def forward(
        self, cues: Float[Tensor, "n s v c"], seen: Bool[Tensor, "n s v"], distance: Float[Tensor, "n s v"]
    ) -> Float[Tensor, "n s"]:
        """Signed distance in local units for n rays of s samples."""
        x = self.view(cues)
        weights = masked_softmax(x[..., -1], seen)
        x = F.relu(x[..., :-1])
        base = (weights * distance).sum(-1)
        pooled = (weights[..., None].to(x.dtype) * x).sum(2)
        peak = (x * seen[..., None]).amax(2)
        some = torch.stack([seen.float().mean(-1), base], dim=-1).to(x.dtype)
        y = F.relu(self.mix(torch.cat([pooled, peak, some], dim=-1))).transpose(1, 2)
        for layer in self.along:
            y = y + F.relu(layer(y))
        return base + self.leave(y.transpose(1, 2))[..., 0].float()


class RayLayer(nn.Module):
    """Self-attention among the samples of a ray, then a feed-forward network (pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = LayerNorm(width), LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def packed(self) -> RayWeights:
        """The weights as the fused path takes them."""
        up, _, down = self.feed
        assert isinstance(up, nn.Linear)
        assert isinstance(down, nn.Linear)
        return RayWeights(
            self.heads, self.norm1.eps, self.norm1.weight, self.norm1.bias, self.qkv.weight, self.qkv.bias, self.out.weight, self.out.bias,
            self.norm2.weight, self.norm2.bias, up.weight, up.bias, down.weight, down.bias,
        )  # fmt: skip

    def forward(self, x: Float[Tensor, "n s c"]) -> Float[Tensor, "n s c"]:
        n, s, c = x.shape
        learned = torch.is_grad_enabled() and (x.requires_grad or self.qkv.weight.requires_grad)
        if x.dtype == torch.bfloat16 and x.is_cuda and s <= PLACES and not learned:
            from kernels.rayattention.cuda import layer

            return layer(x, self.packed())  # type: ignore[no-any-return]
        q, k, v = self.qkv(self.norm1(x)).view(n, s, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, s, c))
        return x + self.feed(self.norm2(x))


class Geometry(nn.Module):
    """Views fused by two rounds of attention pooling (any number, any order), then a transformer along the ray."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        d = options.token
        self.enter = nn.Linear(options.features[1] + options.features[2] + 3 + CUES, d)
        self.score1, self.score2 = nn.Linear(d, 1), nn.Linear(d, 1)
        self.update, self.told = nn.Linear(d, d), nn.Linear(2 * d, d)
        self.token = nn.Linear(4 * d + 2, options.ray)
        self.position = nn.Linear(8, options.ray)
        self.layers = nn.ModuleList(RayLayer(options.ray, options.heads) for _ in range(options.ray_layers))
        self.leave = nn.Sequential(LayerNorm(options.ray), nn.Linear(options.ray, 1))
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(10.0)))

    def forward(
        self, tokens: Float[Tensor, "n s v t"], seen: Bool[Tensor, "n s v"], distance: Float[Tensor, "n s v"], position: Float[Tensor, "n s"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s v"]]:
        """Signed distance in local units, and how far each view is trusted (sums to one over the views).

        Args:
            tokens: what the views show at the samples; see `sources.Shown`, likewise ``seen`` and ``distance``.
            position: coordinate of the samples along their ray, 0 to 1.
        """
        padding = tokens.shape[-1] - self.enter.in_features
        x = F.gelu(F.linear(tokens, F.pad(self.enter.weight, (0, padding)), self.enter.bias))
        first = pooled(x, masked_softmax(self.score1(x)[..., 0], seen))
        x = x + F.gelu(self.update(x) + self.told(first)[:, :, None])
        trust = masked_softmax(self.score2(x)[..., 0], seen)
        base = (trust * distance).sum(-1)
        some = torch.stack([seen.float().mean(-1), base], dim=-1).to(x.dtype)
        y = self.token(torch.cat([first, pooled(x, trust), some], dim=-1))
        angle = position[..., None] * torch.tensor([1.0, 4.0, 16.0, 64.0], device=x.device)
        y = y + self.position(torch.cat([angle.sin(), angle.cos()], dim=-1).to(x.dtype))
        for layer in self.layers:
            y = layer(y)
        return base + self.leave(y)[..., 0].float(), trust


def masked_softmax(scores: Float[Tensor, "*n v"], seen: Bool[Tensor, "*n v"]) -> Float[Tensor, "*n v"]:
    """Softmax over the views that see the sample; over all of them where none does."""
    return torch.softmax(scores.float() - 1e4 * (~seen).float(), dim=-1)
