"""The blending branch: which photos to take a sample's colour from."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.pooling import pooled
from recon.general.geometry import masked_softmax
from recon.general.options import ModelOptions
from recon.general.sources import CUES


class Blending(nn.Module):
    """A tiny network, apart from the geometry: each view's look, how it differs from the others', what its volume says."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.skip, self.features = options.features[1], options.features[2] + 3
        width = options.blend
        self.net = nn.Sequential(
            nn.Linear(3 * self.features + CUES, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, 1)
        )

    def forward(
        self, tokens: Float[Tensor, "n s v t"], seen: Bool[Tensor, "n s v"], trust: Float[Tensor, "n s v"]
    ) -> Float[Tensor, "n s v"]:
        """Blending weights; they sum to one over the views. Where no view sees a sample, the likeliest ones stand in.

        Args:
            tokens: what the views show at the samples (`sources.Shown`); of it half-resolution features, photo and cues are used.
            trust: weights for the mean look that each view is compared with.
        """
        own = tokens[..., self.skip :]
        features = own[..., : self.features]
        mean, variance = pooled(features, trust).chunk(2, dim=-1)
        # The first layer takes (features, features - mean, variance, cues). What all views share is multiplied once.
        enter = self.net[0]
        assert isinstance(enter, nn.Linear)
        same, other, spread, cues = enter.weight.split([self.features, self.features, self.features, CUES], dim=1)
        padding = own.shape[-1] - self.features - CUES
        x = F.linear(own, F.pad(torch.cat([same + other, cues], dim=1), (0, padding)))
        x = x + (F.linear(variance, spread, enter.bias) - F.linear(mean, other))[:, :, None]
        return masked_softmax(self.net[1:](x)[..., 0], seen)
