"""`DepthViews`: the photos of a result, small and with depth, and what of each other they show."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from data.cameras import Cameras
from data.scene import Scene
from kernels.realtime import rasterize
from recon.general.views import mean_distance, unlikeness
from recon.surface.realtime.baked import Baked, covering

TOLERANCE = 0.02
"""Relative difference of depth up to which two views show the same place; at twice that they surely do not."""
SHARPNESS = 15.0
"""How fast a view loses weight with the angle between its ray and that of the view it is shown in, as in real-time blending."""
BORDER = 4.0
"""Pixels over which a view fades out towards its edges."""


@dataclass(frozen=True)
class DepthViews:
    """N views of one size. Photos of other shapes are squeezed to it, and so are their cameras: what is learned of their pixels goes back as it came."""

    photos: Float[Tensor, "n 3 h w"]
    """sRGB, 0 to 1."""
    depth: Float[Tensor, "n h w"]
    """Along the optical axis, scene units; 0 where nothing is known."""
    cameras: Cameras

    def __len__(self) -> int:
        return len(self.photos)

    def select(self, views: list[int]) -> "DepthViews":
        return DepthViews(self.photos[views], self.depth[views], self.cameras.select(views))

    def to(self, device: torch.device | str) -> "DepthViews":
        return DepthViews(self.photos.to(device), self.depth.to(device), self.cameras)


@dataclass(frozen=True)
class Links:
    """Where each view's pixels are in K other views, and how much each of those has to say there."""

    sources: Int[Tensor, "n k"]
    grid: Float[Tensor, "n k h w 2"]
    """Positions for `grid_sample` (``align_corners=False``)."""
    weight: Float[Tensor, "n k h w"]
    """0 where the other view does not see the place."""
    same: Bool[Tensor, "n k h w"]
    """Where the other view shows the same place for sure, from whatever angle."""

    def warped(self, pictures: Float[Tensor, "n c h w"], rank: int, mode: str = "bilinear") -> Float[Tensor, "n c h w"]:
        """Each view's ``rank``-th source, as seen from the view."""
        return F.grid_sample(pictures[self.sources[:, rank]], self.grid[:, rank], mode=mode, padding_mode="border", align_corners=False)

    def blended(self, pictures: Float[Tensor, "n c h w"], own: float = 0.0) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n 1 h w"]]:
        """Each view drawn from the others, and how much they had to say (0: nobody sees it).

        Args:
            own: weight of the view's own picture beside the others.
        """
        total = torch.full_like(self.weight[:, 0, None], own)
        out = pictures * own
        for k in range(self.sources.shape[1]):
            w = self.weight[:, k, None]
            out, total = out + w * self.warped(pictures, k), total + w
        return out / total.clamp(min=1e-6), total


def view_size(sizes: Int[ndarray, "n 2"], side: int, multiple: int = 16) -> tuple[int, int]:
    """Width and height of the views: the photos' typical shape, the longer side at most ``side``."""
    aspect = float(np.median(sizes[:, 0] / sizes[:, 1]))
    width, height = (side, side / aspect) if aspect >= 1 else (side * aspect, side)
    return tuple(max(int(round(v / multiple)) * multiple, multiple) for v in (width, height))  # type: ignore[return-value]


def depth_views(scene: Scene, baked: Baked, size: tuple[int, int]) -> DepthViews:
    """Views of the photos of a result, their depth from its mesh and backdrops."""
    cameras = resized(scene.posed(), size)
    return DepthViews(small_photos(scene, size), depths(baked, cameras), cameras)


def small_photos(scene: Scene, size: tuple[int, int]) -> Float[Tensor, "n 3 h w"]:
    """All photos of a scene at one size."""
    import cv2

    rows = [cv2.resize(scene.image(i), size, interpolation=cv2.INTER_AREA) for i in range(len(scene))]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2).float() / 255


def resized(cameras: Cameras, size: tuple[int, int]) -> Cameras:
    """The cameras of pictures that are squeezed to one size."""
    return cameras.resized(np.tile(np.array(size), (len(cameras), 1)))


def depths(baked: Baked, cameras: Cameras) -> Float[Tensor, "n h w"]:
    """Depth of the mesh, and where there is none of what stands behind it, along the optical axes; 0 where nothing is."""
    around, out = baked.around, []
    for i in range(len(cameras)):
        width, height = (int(v) for v in cameras.sizes[i])
        depth = rasterize(baked.corners(cameras, i), around.faces, (width, height), around.layers).depth
        out.append(np.where(np.isfinite(depth), depth, 0))
    return torch.from_numpy(np.stack(out))


def key_views(views: DepthViews, count: int) -> list[int]:
    """Views that together show most of what all show, the most useful first.

    A place seen by one key view is worth less in the next (see `covering`); places are those of every view's pixels.
    """
    if count >= len(views):
        return list(range(len(views)))
    step = max(views.depth.shape[1] // 12, 1)
    points = lifted(views, step)
    quality = np.stack([_seen(views, i, points) for i in range(len(views))], axis=1)
    return covering(quality, count)


def lifted(views: DepthViews, step: int) -> Float[ndarray, "p 3"]:
    """World points of every ``step``-th pixel whose depth is known."""
    out = []
    for i in range(len(views)):
        depth = views.depth[i, step // 2 :: step, step // 2 :: step].cpu().numpy()
        rows, columns = np.nonzero(depth)
        pixels = np.stack([columns * step + step // 2 + 0.5, rows * step + step // 2 + 0.5], axis=1)
        out.append(views.cameras.unproject(i, pixels, depth[rows, columns].astype(np.float64)))
    return np.concatenate(out)


def _seen(views: DepthViews, view: int, points: Float[ndarray, "p 3"]) -> Float[ndarray, "p"]:
    """1 where a view sees a point."""
    pixels, z = views.cameras.project(view, points)
    height, width = views.depth.shape[1:]
    inside = (z > 0) & (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
    column, row = (np.where(inside, pixels[:, d], 0).astype(int) for d in (0, 1))
    there = views.depth[view].cpu().numpy()[row, column]
    return (inside & (np.abs(z - there) < 2 * TOLERANCE * z)).astype(np.float64)


def nearest(cameras: Cameras, count: int, among: list[int] | None = None) -> Int[ndarray, "n k"]:
    """For each view the others most like it, the likest first."""
    spread, rows = mean_distance(cameras), []
    for i in range(len(cameras)):
        unlike = unlikeness(cameras.centers, cameras.forwards, cameras.centers[i], cameras.forwards[i], spread)
        unlike[i] = np.inf
        if among is not None:
            unlike[[j for j in range(len(cameras)) if j not in among]] = np.inf
        rows.append(np.argsort(unlike, kind="stable")[:count])
    return np.stack(rows)


def link(views: DepthViews, sources: Int[ndarray, "n k"], behind: DepthViews | None = None) -> Links:
    """Find every view's pixels in its sources, by depth, with occlusion.

    Args:
        sources: rows of `nearest`.
        behind: views whose depth says where pixels lie, if not the views' own: to see what stands behind something.
    """
    device, (n, h, w) = views.depth.device, views.depth.shape
    k = torch.from_numpy(views.cameras.intrinsics).float().to(device)
    c2w = torch.from_numpy(views.cameras.camera_to_world).double().to(device)
    origin = c2w[:, :3, 3].mean(0)
    c2w = c2w.clone()
    c2w[:, :3, 3] -= origin
    c2w = c2w.float()
    y, x = torch.meshgrid(torch.arange(h, device=device) + 0.5, torch.arange(w, device=device) + 0.5, indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)], dim=-1)
    ask = (behind or views).depth
    grids, weights, same = [], [], []
    for i in range(n):
        local = pixels @ torch.linalg.inv(k[i]).T * ask[i][..., None]
        world = local @ c2w[i, :3, :3].T + c2w[i, :3, 3]
        to_i = F.normalize(c2w[i, :3, 3] - world, dim=-1)
        row_grid, row_weight, row_same = [], [], []
        for j in sources[i]:
            there = (world - c2w[j, :3, 3]) @ c2w[j, :3, :3]
            z = there[..., 2]
            at = there @ k[j].T
            u = at[..., :2] / z.clamp(min=1e-6)[..., None]
            grid = torch.stack([u[..., 0] / w, u[..., 1] / h], dim=-1) * 2 - 1
            seen = F.grid_sample(views.depth[j][None, None], grid[None], mode="nearest", padding_mode="zeros", align_corners=False)[0, 0]
            off = (z - seen).abs() / z.clamp(min=1e-6)
            edge = torch.minimum(torch.minimum(u[..., 0], w - u[..., 0]), torch.minimum(u[..., 1], h - u[..., 1])) / BORDER
            angle = (to_i * F.normalize(c2w[j, :3, 3] - world, dim=-1)).sum(-1)
            clear = ((2 * TOLERANCE - off) / TOLERANCE).clamp(0, 1) * edge.clamp(0, 1)
            clear = torch.where((z > 0) & (seen > 0) & (ask[i] > 0), clear, torch.zeros_like(clear))
            weight = clear * torch.exp(-SHARPNESS * (1 - angle))
            row_grid.append(grid.clamp(-2, 2))
            row_weight.append(weight)
            row_same.append(clear > 0.3)
        grids.append(torch.stack(row_grid))
        weights.append(torch.stack(row_weight))
        same.append(torch.stack(row_same))
    return Links(torch.from_numpy(np.asarray(sources)).to(device), torch.stack(grids), torch.stack(weights), torch.stack(same))


def warp_error(pictures: Float[Tensor, "n 3 h w"], links: Links) -> float:
    """Mean absolute difference of colours between views and their sources warped into them by depth, of full scale, where both see the place.

    The consistency that needs no network: 0 for pictures of one rigid matte scene. Photos themselves do not reach it (highlights, exposure,
    errors of depth): compare with theirs.
    """
    difference = total = 0.0
    for rank in range(links.sources.shape[1]):
        seen = (links.weight[:, rank, None] > 0.05).float()
        difference += float(((pictures - links.warped(pictures, rank)).abs() * seen).sum()) / 3
        total += float(seen.sum())
    return difference / max(total, 1.0)


def nearness(depth: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Inverse depth relative to that of the picture's nearest tenth, at most 1.5; 0 where nothing is known."""
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=1e-3), torch.zeros_like(depth))
    few = inverse[:, ::4, ::4].flatten(1)
    return (inverse / torch.quantile(few, 0.9, dim=1).clamp(min=1e-6)[:, None, None]).clamp(max=1.5)
