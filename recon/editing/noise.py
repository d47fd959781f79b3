"""Noise that agrees between views: the same place of the scene gets the same noise in every view that sees it."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recon.depthviews import DepthViews, link, nearest


def shared_noise(views: DepthViews, seed: int) -> Float[Tensor, "n 3 h w"]:
    """Noise of unit variance: the first view's own, carried on by depth to the views in turn; fresh where none before saw the place.

    Each pixel takes the noise of one pixel, not a mean of several, which would have less variance.
    """
    device, n = views.photos.device, len(views)
    g = torch.Generator(device).manual_seed(seed)
    out = torch.randn(views.photos.shape, generator=g, device=device)
    if n == 1:
        return out
    order = nearest(views.cameras, n - 1)
    for i in range(1, n):
        before = [int(j) for j in order[i] if j < i][:2]
        pair = views.select([i, *before])
        links = link(pair, np.array([range(1, len(pair))] * len(pair)))
        for rank in reversed(range(len(before))):
            carried = links.warped(out[[i, *before]], rank, "nearest")[0]
            out[i] = torch.where(links.weight[0, rank] > 0.05, carried, out[i])
    return out
