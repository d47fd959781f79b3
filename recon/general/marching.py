"""Along a ray: coordinates, NeuS weights, where the surface is, where to sample next."""

import torch
from jaxtyping import Float
from torch import Tensor


def to_distance(s: Float[Tensor, "n k"], near: Float[Tensor, "n 1"], far: Float[Tensor, "n 1"]) -> Float[Tensor, "n k"]:
    """Coordinate 0 to 1, uniform in inverse distance -> distance along the ray."""
    return 1 / ((1 - s) / near + s / far)


def to_coordinate(t: Float[Tensor, "n k"], near: Float[Tensor, "n 1"], far: Float[Tensor, "n 1"]) -> Float[Tensor, "n k"]:
    """Inverse of `to_distance`."""
    return (1 / near - 1 / t) / (1 / near - 1 / far)


def surface_weights(signed: Float[Tensor, "n k"], sharpness: Tensor) -> Float[Tensor, "n k"]:
    """NeuS (Wang et al. 2021, eq. 13): opacity of each interval from the signed distances at its ends.

    Returns:
        weight of each interval; the last entry is what is left for the background behind the last sample.
    """
    phi = torch.sigmoid(signed * sharpness)
    alpha = ((phi[:, :-1] - phi[:, 1:]) / (phi[:, :-1] + 1e-4)).clamp(0, 1)
    clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-6], dim=1), dim=1)
    return torch.cat([alpha * clear[:, :-1], clear[:, -1:]], dim=1)


def crossings(signed: Float[Tensor, "n k"], s: Float[Tensor, "n k"]) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n k-1"]]:
    """Where in each interval the surface is: at the zero if there is one, else in the middle; and the last sample.

    Returns:
        coordinates per weight of `surface_weights`, and the fraction of each interval.
    """
    a, b = signed[:, :-1], signed[:, 1:]
    entering = (a > 0) & (b < 0)
    fraction = torch.where(entering, a / (a - b).clamp(min=1e-4), torch.full_like(a, 0.5)).clamp(0, 1)
    return torch.cat([s[:, :-1] + fraction * (s[:, 1:] - s[:, :-1]), s[:, -1:]], dim=1), fraction


def resample(weights: Float[Tensor, "n k"], s: Float[Tensor, "n k"], count: int, jitter: bool) -> Float[Tensor, "n count"]:
    """Coordinates drawn where the weights are (inverse transform sampling), sorted; a tenth of them anywhere.

    Args:
        weights: as `surface_weights` gives them; the background's entry is left out.
        jitter: random within strata, for training; their middles otherwise.
    """
    p = weights[:, :-1].detach()
    padded = torch.cat([p[:, :1], p, p[:, -1:]], dim=1)
    p = 0.5 * torch.maximum(padded[:, :-2], padded[:, 1:-1]) + 0.5 * torch.maximum(padded[:, 1:-1], padded[:, 2:])
    p = p / (p.sum(1, keepdim=True) + 1e-5) + 0.1 / p.shape[1]
    p = p / p.sum(1, keepdim=True)
    total = torch.cat([torch.zeros_like(p[:, :1]), p.cumsum(1)], dim=1)
    n = len(p)
    offset = torch.rand(n, count, device=p.device) if jitter else torch.full((n, count), 0.5, device=p.device)
    u = ((torch.arange(count, device=p.device) + offset) / count).clamp(max=0.9999)
    i = torch.searchsorted(total.contiguous(), u.contiguous(), right=True).clamp(1, p.shape[1])
    low, high = total.gather(1, i - 1), total.gather(1, i)
    start, stop = s.gather(1, i - 1), s.gather(1, i)
    return start + (u - low) / (high - low).clamp(min=1e-6) * (stop - start)
