"""Training batches from a bank of worlds: which views are sources, which rays are asked, what the truth is."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from data.worlds import layout as L
from data.worlds.bank import Bank
from data.worlds.degrade import degrade, recolor, shaken
from data.worlds.options import DegradeOptions


@dataclass(frozen=True)
class Batch:
    """Rays of B target views and their V source views, with the truth."""

    worlds: Int[Tensor, "b"]
    images: Float[Tensor, "b v 3 h w"]
    intrinsics: Float[Tensor, "b v 3 3"]
    camera_to_world: Float[Tensor, "b v 4 4"]
    true_pose: Float[Tensor, "b v 4 4"]
    neighbours: Int[Tensor, "b v k"]
    present: Bool[Tensor, "b v"]
    view_near: Float[Tensor, "b v"]
    view_far: Float[Tensor, "b v"]
    source_depth: Float[Tensor, "b v h w"]
    """True z-depth of the source views; 0 in the sky."""
    origins: Float[Tensor, "b r 3"]
    directions: Float[Tensor, "b r 3"]
    near: Float[Tensor, "b r"]
    far: Float[Tensor, "b r"]
    rgb: Float[Tensor, "b r 3"]
    depth: Float[Tensor, "b r"]
    """True distance along the rays; 0 in the sky."""


def camera_matrices(rows: Float[Tensor, "*n 17"]) -> tuple[Float[Tensor, "*n 3 3"], Float[Tensor, "*n 4 4"]]:
    """Intrinsics and poses of camera rows."""
    k = torch.zeros(*rows.shape[:-1], 3, 3, device=rows.device)
    k[..., 0, 0], k[..., 1, 1] = rows[..., L.CAMERA_FX], rows[..., L.CAMERA_FY]
    k[..., 0, 2], k[..., 1, 2], k[..., 2, 2] = rows[..., L.CAMERA_CX], rows[..., L.CAMERA_CY], 1
    pose = torch.zeros(*rows.shape[:-1], 4, 4, device=rows.device)
    pose[..., :3, :3] = rows[..., :9].unflatten(-1, (3, 3))
    pose[..., :3, 3] = rows[..., L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3]
    pose[..., 3, 3] = 1
    return k, pose


def view_distance(pose: Float[Tensor, "b v 4 4"]) -> Float[Tensor, "b v v"]:
    """How unlike two viewpoints are: distance (relative to the mean) and difference of direction."""
    centre, forward = pose[..., :3, 3], pose[..., :3, 2]
    apart = torch.cdist(centre, centre)
    apart = apart / apart.mean((-1, -2), keepdim=True).clamp(min=1e-9)
    return apart + 1.5 * torch.cdist(forward, forward)


def depth_range(depth: Float[Tensor, "*n h w"]) -> tuple[Float[Tensor, "*n"], Float[Tensor, "*n"]]:
    """Nearest and farthest true depth of pictures, but for a few pixels; sky is left out."""
    flat = depth[..., ::3, ::3].float().flatten(-2)
    seen = flat > 0
    low = torch.where(seen, flat, torch.full_like(flat, 1e3)).sort(-1)[0]
    high = flat.sort(-1)[0]
    n = flat.shape[-1]
    near, far = low[..., int(n * 0.004)].clamp(0.05, 12), high[..., int(n * 0.997)].clamp(0.3, 40)
    return near, torch.maximum(far, near * 1.2)


@torch.no_grad()
def make_batch(
    bank: Bank, count: int, views: int, rays: int, neighbours: int, flaws: DegradeOptions | None, generator: torch.Generator,
    targets: tuple[Tensor, Tensor] | None = None,
) -> Batch:  # fmt: skip
    """A random batch, or one of given worlds and target views.

    Args:
        rays: rays per target; 0 for all of its pixels, row by row.
        flaws: photo-like degradation; without it everything is clean, all views are present and the order is by nearness.
        targets: worlds and views to use instead of random ones.
    """
    device = bank.cameras.device
    training = flaws is not None

    def rand(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator, device=device)

    n_views, h, w = bank.rgb.shape[1:4]
    if targets is None:
        world = torch.randint(len(bank), (count,), generator=generator, device=device)
        target = torch.randint(n_views, (count,), generator=generator, device=device)
    else:
        world, target = targets
        count = len(world)
    k_all, pose_all = camera_matrices(bank.cameras[world])
    unlike = view_distance(pose_all)
    rows = torch.arange(count, device=device)
    order = unlike[rows, target].clone()
    order[rows, target] = torch.inf
    if training:
        # Sources are near the target, but not always the nearest; sometimes the target is one of them.
        rank = order.argsort(-1).argsort(-1).float() + rand(count, n_views) * rand(count, 1) * 6
        rank[rows, target] = torch.where(rand(count) < 0.15, -1.0, torch.inf)
        order = rank
    chosen = order.argsort(-1)[:, :views]
    number = torch.randint(3, views + 1, (count, 1), generator=generator, device=device) if training else torch.full((count, 1), views, device=device)
    present = torch.arange(views, device=device)[None] < number

    k, pose = k_all[rows[:, None], chosen], pose_all[rows[:, None], chosen]
    apart = view_distance(pose) + 1e3 * torch.eye(views, device=device) + 1e2 * (~present)[:, None].float()
    if training:
        apart = apart * (1 + 0.6 * rand(count, views, views))
    near_first = apart.argsort(-1)
    available = (present.sum(1) - 1).clamp(min=1)
    column = torch.arange(neighbours, device=device)[None] % available[:, None]
    index = near_first.gather(2, column[:, None].expand(count, views, neighbours))

    depth = bank.depth[world[:, None], chosen].float()
    forward = _cosines(k, h, w)
    z = depth * forward
    near, far = depth_range(z)
    images = bank.rgb[world[:, None], chosen].permute(0, 1, 4, 2, 3).float() / 255
    truth = bank.rgb[world, target].permute(0, 3, 1, 2).float()[:, None] / 255
    noisy = pose
    if training:
        assert flaws is not None
        both = recolor(torch.cat([images, truth], dim=1), generator)
        images, truth = degrade(both[:, :-1], flaws, generator), both[:, -1:]
        noisy = shaken(pose, z.flatten(1)[:, ::31].median(1)[0], flaws, generator)
        near = near * torch.exp(-(rand(count, 1) ** 1.5) * 0.9 - 0.15 * rand(count, views) - 0.03)
        far = far * torch.exp((rand(count, 1) ** 1.5) * 1.0 + 0.15 * rand(count, views) + 0.02)
    else:
        near, far = near * 0.9, far * 1.15

    target_k, target_pose = k_all[rows, target], pose_all[rows, target]
    if rays:
        y, x = torch.randint(h, (count, rays), generator=generator, device=device), torch.randint(w, (count, rays), generator=generator, device=device)
    else:
        y, x = (g.reshape(1, -1).expand(count, -1) for g in torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij"))
    pixels = torch.stack([x + 0.5, y + 0.5, torch.ones_like(x, dtype=torch.float32)], dim=-1)
    directions = pixels @ (target_pose[:, :3, :3] @ torch.linalg.inv(target_k)).transpose(-1, -2)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    target_depth = bank.depth[world, target].float()
    ray_near, ray_far = depth_range(target_depth)
    if training:
        ray_near = ray_near * torch.exp(-(rand(count) ** 1.5) * 1.0 - 0.03)
        ray_far = ray_far * torch.exp(rand(count) ** 1.5 * 1.1 + 0.02)
    else:
        ray_near, ray_far = ray_near * 0.9, ray_far * 1.15
    count_rays = pixels.shape[1]
    return Batch(
        world, images, k, noisy, pose, index, present, near, far, z, target_pose[:, None, :3, 3].expand(-1, count_rays, -1), directions,
        ray_near[:, None].expand(-1, count_rays), ray_far[:, None].expand(-1, count_rays), truth[rows[:, None], 0, :, y, x], target_depth[rows[:, None], y, x],
    )  # fmt: skip


def enlarged(batch: Batch, factor: int) -> Batch:
    """The batch with its photos enlarged before the model looks, as the engine enlarges small ones; the rays stay."""
    if factor == 1:
        return batch
    b, v, _, h, w = batch.images.shape
    images = F.interpolate(batch.images.flatten(0, 1), scale_factor=factor, mode="bilinear", align_corners=False).view(b, v, 3, factor * h, factor * w)
    intrinsics = batch.intrinsics.clone()
    intrinsics[:, :, :2] *= factor
    depth = batch.source_depth.repeat_interleave(factor, -1).repeat_interleave(factor, -2)
    return replace(batch, images=images, intrinsics=intrinsics, source_depth=depth)


def _cosines(k: Float[Tensor, "b v 3 3"], h: int, w: int) -> Float[Tensor, "b v h w"]:
    """Factor from distance along the ray to z-depth."""
    y, x = torch.meshgrid(torch.arange(h, device=k.device) + 0.5, torch.arange(w, device=k.device) + 0.5, indexing="ij")
    u = (x - k[..., 0, 2, None, None]) / k[..., 0, 0, None, None]
    v = (y - k[..., 1, 2, None, None]) / k[..., 1, 1, None, None]
    return torch.rsqrt(u * u + v * v + 1)
