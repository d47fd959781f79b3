"""The plain twin, in PyTorch: differentiable, on any device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def sweep_grid(
    homographies: Float[Tensor, "refs k 3 4"], depth: Float[Tensor, "refs d h w"], scale: float
) -> tuple[Float[Tensor, "refs k d h w 2"], Float[Tensor, "refs k d h w"]]:
    """Where points at hypothetical depths fall: photo pixels of the neighbour, and their z-depth there."""
    h, w = depth.shape[-2:]
    y, x = torch.meshgrid(torch.arange(h, device=depth.device) + 0.5, torch.arange(w, device=depth.device) + 0.5, indexing="ij")
    pixels = torch.stack([x * scale, y * scale, torch.ones_like(x)], dim=-1)
    rays = torch.einsum("rkij,hwj->rkhwi", homographies[..., :3], pixels)
    points = rays[:, :, None] * depth[:, None, ..., None] + homographies[..., 3][:, :, None, None, None]
    z = points[..., 2]
    return points[..., :2] / z.clamp(min=1e-6)[..., None], z


def correlate(
    features: Float[Tensor, "images h w c"], references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"],
    homographies: Float[Tensor, "refs k 3 4"], depth: Float[Tensor, "refs d h w"], scale: float, groups: int,
) -> tuple[Float[Tensor, "refs k d h w groups"], Float[Tensor, "refs k d h w"]]:  # fmt: skip
    """See `sweep.correlate`."""
    refs, k = neighbours.shape
    d, h, w = depth.shape[1:]
    c = features.shape[-1]
    pixels, z = sweep_grid(homographies, depth, scale)
    size = torch.tensor([features.shape[2] * scale, features.shape[1] * scale], device=depth.device)
    grid = 2 * pixels / size - 1
    seen = ((z > 1e-6) & (grid.abs() < 1).all(-1)).to(features.dtype)
    grid = torch.where(seen[..., None] > 0, grid, torch.full_like(grid, -2.0))
    source = features[neighbours.reshape(-1)].permute(0, 3, 1, 2).float()
    sampled = F.grid_sample(source, grid.reshape(refs * k, d * h, w, 2).float(), padding_mode="border", align_corners=False)
    sampled = sampled.view(refs, k, groups, c // groups, d, h, w)
    target = features[references].permute(0, 3, 1, 2).reshape(refs, 1, groups, c // groups, 1, h, w)
    values = (sampled * target).mean(3).permute(0, 1, 3, 4, 5, 2) * seen[..., None]
    return values, seen


def weighted_mean(
    values: Float[Tensor, "refs k d h w groups"], seen: Float[Tensor, "refs k d h w"], weights: Float[Tensor, "refs k h w"]
) -> tuple[Float[Tensor, "refs d h w groups"], Float[Tensor, "refs d h w"]]:
    """Mean over the neighbours; 0 where none sees the point."""
    w = weights[:, :, None] * seen
    total = w.sum(1)
    return (values * w[..., None]).sum(1) / total.clamp(min=1e-4)[..., None], total
