"""The blending branch: which photos to take a sample's colour from."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from recon.general.geometry import masked_softmax
from recon.general.options import ModelOptions
from recon.general.sources import CUES


class Blending(nn.Module):
    """A tiny network, apart from the geometry: each view's look, how it differs from the others', what its volume says."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.features = options.features[2] + 3
        width = options.blend
        self.net = nn.Sequential(
            nn.Linear(3 * self.features + CUES, width), nn.ELU(), nn.Linear(width, width), nn.ELU(), nn.Linear(width, 1)
        )

    def forward(
        self, features: Float[Tensor, "n s v f"], cues: Float[Tensor, "n s v c"], seen: Bool[Tensor, "n s v"], trust: Float[Tensor, "n s v"]
    ) -> Float[Tensor, "n s v"]:
        """Blending weights; they sum to one over the views. Where no view sees a sample, the likeliest ones stand in.

        Args:
            features: half-resolution features and photo at the samples.
            trust: weights for the mean look that each view is compared with.
        """
        w = trust[..., None].to(features.dtype)
        mean = (w * features).sum(2, keepdim=True)
        variance = (w * (features - mean).square()).sum(2, keepdim=True)
        inputs = torch.cat([features, features - mean, variance.expand_as(features), cues.to(features.dtype)], dim=-1)
        return masked_softmax(self.net(inputs)[..., 0], seen)
