"""What training minimises: colour, depth, signed distance near the surface; all against exact truth."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recon.general.batches import Batch
from recon.general.marching import to_coordinate, to_distance
from recon.general.model import Traced
from recon.general.volume import DepthLevel


def level_truth(inverse: Float[Tensor, "n h w"], scale: int) -> tuple[Float[Tensor, "n h2 w2"], Float[Tensor, "n h2 w2"]]:
    """True inverse depth at the centres of coarser pixels, and 0 where the four nearest pixels disagree (an outline)."""
    a = scale // 2 - 1
    four = torch.stack([inverse[:, i::scale, j::scale] for i in (a, a + 1) for j in (a, a + 1)], dim=-1)
    low, high = four.amin(-1), four.amax(-1)
    smooth = (high - low) < 0.03 * high
    return torch.where(smooth, four.mean(-1), four[..., 0]), smooth.float()


def volume_losses(levels: list[DepthLevel], batch: Batch) -> tuple[Tensor, Tensor]:
    """Cross-entropy and expected error of the cascade's bins, summed over its levels."""
    z = batch.source_depth.flatten(0, 1)
    low, high = 1 / batch.view_far.flatten(), 1 / batch.view_near.flatten()
    inverse = torch.where(z > 0, 1 / z.clamp(min=1e-6), low[:, None, None])
    inverse = torch.minimum(torch.maximum(inverse, low[:, None, None]), high[:, None, None])
    classes, errors = inverse.new_zeros(()), inverse.new_zeros(())
    for level, scale in zip(levels, (8, 4, 2), strict=True):
        truth, smooth = level_truth(inverse, scale)
        bins = level.hypotheses.shape[1]
        spacing = level.hypotheses[:, 1] - level.hypotheses[:, 0]
        at = (truth - level.hypotheses[:, 0]) / spacing
        inside = ((at > -0.5) & (at < bins - 0.5)).float()
        at = at.clamp(0, bins - 1)
        left = at.floor().clamp(max=bins - 2)
        f = (at - left)[:, None]
        logp = F.log_softmax(level.logits, dim=1)
        left = left.long()[:, None]
        entropy = -(logp.gather(1, left) * (1 - f) + logp.gather(1, left + 1) * f)[:, 0]
        classes = classes + (entropy * inside).sum() / inside.sum().clamp(min=1)
        off = ((level.inverse_depth - truth) / spacing).abs().clamp(max=4)
        weight = inside * (0.2 + 0.8 * smooth)
        errors = errors + (off * weight).sum() / weight.sum().clamp(min=1)
    return classes, errors


def ray_losses(traced: Traced, batch: Batch, coarse_true: Tensor, fine_true: Tensor) -> dict[str, Tensor]:
    """Colour, depth and signed distance along the rays.

    Args:
        coarse_true: true signed distance at the coarse samples, scene units; likewise ``fine_true``.
    """
    near, far = batch.near.reshape(-1, 1), batch.far.reshape(-1, 1)
    depth = batch.depth.reshape(-1, 1)
    hit = (depth > 0)[:, 0]
    goal = torch.where(depth > 0, to_coordinate(depth.clamp(min=1e-3), near, far), torch.ones_like(depth)).clamp(0, 1)[:, 0]
    visible = _visible(batch, torch.where(depth > 0, depth, far)).float()
    error = traced.rgb - batch.rgb.reshape(-1, 3)
    color = ((error.square() + 1e-4).sqrt().mean(-1) * visible).sum() / visible.sum().clamp(min=1)
    squared = (error.detach().square().mean(-1) * visible).sum() / visible.sum().clamp(min=1)
    weight = 0.1 + 0.9 * visible

    def off(coordinate: Tensor) -> Tensor:
        return ((coordinate - goal).abs() * weight).sum() / weight.sum().clamp(min=1)

    def distance(signed: Tensor, true: Tensor, unit: Tensor, samples: Tensor) -> Tensor:
        t = to_distance(samples, near, far)
        goal = (true / unit).clamp(-2, 2)
        # Nothing is known behind surfaces, but for the first layer.
        end = torch.where(hit[:, None], depth, torch.full_like(depth, 1e6))
        w = (t < end + 2.5 * unit).float() * weight[:, None]
        return (((signed / unit).clamp(-3, 3) - goal).abs() * w).sum() / w.sum().clamp(min=1)

    return {
        "color": color, "mse": squared, "depth": off(traced.coordinate), "depth_coarse": off(traced.coarse_coordinate),
        "distance": distance(traced.signed, fine_true, traced.unit, traced.samples)
        + distance(traced.coarse_signed, coarse_true, traced.coarse_unit, traced.coarse_samples),
    }  # fmt: skip


@torch.autocast("cuda", enabled=False)
def _visible(batch: Batch, t: Float[Tensor, "n 1"]) -> Tensor:
    """Whether a ray's end point falls into any present source view (occlusion is not asked)."""
    b, r = batch.near.shape
    points = batch.origins + batch.directions * t.view(b, r, 1)
    offset = points[:, None] - batch.true_pose[:, :, None, :3, 3]
    local = torch.einsum("bvri,bvij->bvrj", offset, batch.true_pose[:, :, :3, :3])
    pixels = torch.einsum("bvrj,bvij->bvri", local, batch.intrinsics)
    h, w = batch.images.shape[-2:]
    x, y = pixels[..., 0] / pixels[..., 2].clamp(min=1e-6), pixels[..., 1] / pixels[..., 2].clamp(min=1e-6)
    seen = (local[..., 2] > 0) & (x > 0) & (x < w) & (y > 0) & (y < h) & batch.present[:, :, None]
    return seen.any(1).reshape(-1)
