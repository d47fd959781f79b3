"""An IBRNet-style victim: no depth volumes and no signed distance, but a density from features of projected views (Wang et al. 2021b).

Attacks made for the general engine are carried over to it (and back), to tell what belongs to one architecture from what belongs to
image-based rendering. Its encoder began as the general model's; both were then trained together on procedural worlds.
"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

import data
from attacks.case import Case, Target
from attacks.victims.options import DensityOptions
from attacks.victims.protocol import Look, Seen
from data.errors import InputError
from recon.fields import image_rays, pixel_rays
from recon.general.encoder import Encoder
from recon.general.engine import ConditionOptions, GeneralModel
from recon.general.geometry import RayLayer, masked_softmax
from recon.general.marching import resample, to_distance
from recon.general.sources import fetch
from recon.pictures import Picture, filled

SHIPPED = Path(data.__file__).parent / "weights" / "density.safetensors"


@dataclass(frozen=True)
class Views:
    """V source views of each of B scenes: photos, features, cameras."""

    images: Float[Tensor, "b v 3 h w"]
    quarter: Float[Tensor, "b v h4 w4 c4"]
    half: Float[Tensor, "b v h2 w2 c2"]
    intrinsics: Float[Tensor, "b v 3 3"]
    camera_to_world: Float[Tensor, "b v 4 4"]
    sizes: Float[Tensor, "b v 2"]
    present: Bool[Tensor, "b v"]


class Head(nn.Module):
    """Features of all views at the samples of rays -> raw density and blending weights."""

    def __init__(self, channels: int, options: DensityOptions) -> None:
        super().__init__()
        d = options.token
        self.direction = nn.Sequential(nn.Linear(4, 16), nn.ELU(), nn.Linear(16, channels), nn.ELU())
        self.base = nn.Sequential(nn.Linear(3 * channels, 64), nn.ELU(), nn.Linear(64, d), nn.ELU())
        self.visible = nn.Sequential(nn.Linear(d, d), nn.ELU(), nn.Linear(d, d + 1))
        self.density = nn.Sequential(nn.Linear(2 * d + 1, 64), nn.ELU(), nn.Linear(64, options.ray), nn.ELU())
        self.position = nn.Linear(8, options.ray)
        self.along = RayLayer(options.ray, options.heads)
        self.leave = nn.Linear(options.ray, 1)
        self.color = nn.Sequential(nn.Linear(d + 5, 16), nn.ELU(), nn.Linear(16, 8), nn.ELU(), nn.Linear(8, 1))

    def forward(
        self, features: Float[Tensor, "n s v c"], toward: Float[Tensor, "n s v 4"], seen: Bool[Tensor, "n s v"], position: Float[Tensor, "n s"]
    ) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s v"]]:
        x = features + self.direction(toward)
        weight = seen[..., None].to(x.dtype)
        count = weight.sum(2, keepdim=True).clamp(min=1)
        mean = (x * weight).sum(2, keepdim=True) / count
        spread = ((x - mean).square() * weight).sum(2, keepdim=True) / count
        x = self.base(torch.cat([x, mean.expand_as(x), spread.expand_as(x)], dim=-1))
        told = self.visible(x)
        x, vote = x + told[..., :-1], torch.sigmoid(told[..., -1:]) * weight
        share = vote / vote.sum(2, keepdim=True).clamp(min=1e-6)
        mean = (x * share).sum(2)
        spread = ((x - mean[:, :, None]).square() * share).sum(2)
        some = weight.mean(2)
        y = self.density(torch.cat([mean, spread, some], dim=-1))
        angle = position[..., None] * torch.tensor([1.0, 4.0, 16.0, 64.0], device=y.device)
        y = self.along(y + self.position(torch.cat([angle.sin(), angle.cos()], dim=-1).to(y.dtype)))
        raw = self.leave(y)[..., 0].float()
        blend = masked_softmax(self.color(torch.cat([x, vote, toward.to(x.dtype)], dim=-1))[..., 0], seen)
        # Where no view sees a sample there is nothing.
        return torch.where(seen.any(-1), raw, torch.full_like(raw, -10.0)), blend


@dataclass(frozen=True)
class DensityTraced:
    """What n rays show: fine pass, and what the losses need of the coarse one."""

    rgb: Float[Tensor, "n 3"]
    coarse_rgb: Float[Tensor, "n 3"]
    coordinate: Float[Tensor, "n"]
    coarse_coordinate: Float[Tensor, "n"]
    weights: Float[Tensor, "n s"]
    coarse_weights: Float[Tensor, "n c"]
    samples: Float[Tensor, "n s"]
    seen: Float[Tensor, "n"]


class DensityNetwork(nn.Module):
    """All weights of the victim."""

    def __init__(self, options: DensityOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or DensityOptions()
        self.encoder = Encoder(options.encoder)
        channels = options.encoder.features[1] + options.encoder.features[2] + 3
        self.coarse, self.fine = Head(channels, options), Head(channels, options)

    def views(
        self, images: Float[Tensor, "b v 3 h w"], intrinsics: Tensor, camera_to_world: Tensor, present: Tensor, sizes: Tensor | None = None
    ) -> Views:
        """Encode photos."""
        b, v, _, h, w = images.shape
        _, quarter, half = (m.view(b, v, *m.shape[1:]) for m in self.encoder(images.flatten(0, 1)))
        if sizes is None:
            sizes = torch.tensor([w, h], device=images.device, dtype=torch.float32).expand(b, v, 2)
        return Views(images, quarter, half, intrinsics.float(), camera_to_world.float(), sizes, present)

    def trace(
        self, views: Views, origins: Float[Tensor, "b r 3"], directions: Float[Tensor, "b r 3"], near: Float[Tensor, "b r"],
        far: Float[Tensor, "b r"], jitter: bool = False, samples: Float[Tensor, "n s"] | None = None,
    ) -> DensityTraced:  # fmt: skip
        """Coarse samples everywhere, fine ones where the coarse pass found something."""
        o, n, device = self.options, near.numel(), near.device
        near_, far_ = near.reshape(n, 1).float(), far.reshape(n, 1).float()
        offset = torch.rand(n, o.coarse_samples, device=device) if jitter else torch.full((n, o.coarse_samples), 0.5, device=device)
        s = (torch.arange(o.coarse_samples, device=device) + offset) / o.coarse_samples
        coarse_rgb, coarse_where, coarse_weights, _ = self._pass(self.coarse, views, origins, directions, near_, far_, s)
        if samples is None:
            samples = resample(coarse_weights, s, o.fine_samples, jitter)
        rgb, where, weights, seen = self._pass(self.fine, views, origins, directions, near_, far_, samples)
        return DensityTraced(rgb, coarse_rgb, where, coarse_where, weights, coarse_weights, samples, seen)

    def _pass(
        self, head: Head, views: Views, origins: Tensor, directions: Tensor, near: Tensor, far: Tensor, s: Float[Tensor, "n s"]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        b, r = origins.shape[:2]
        points = origins[:, :, None] + directions[:, :, None] * to_distance(s, near, far).view(b, r, -1, 1)
        grid, seen, toward = _projected(views, points, origins)
        quarter, half, photo = (
            fetch(m, grid).permute(0, 2, 3, 1, 4).flatten(0, 1) for m in (views.quarter, views.half, views.images.permute(0, 1, 3, 4, 2))
        )
        seen, toward = seen.permute(0, 2, 3, 1).flatten(0, 1), toward.permute(0, 2, 3, 1, 4).flatten(0, 1)
        raw, blend = head(torch.cat([quarter, half, photo], dim=-1), toward, seen, s)
        colors = (blend[..., None] * photo.float()).sum(2)
        ends = torch.cat([s, torch.ones_like(s[:, :1])], dim=1)
        # Density per coordinate, so that nothing depends on the scene's units.
        alpha = 1 - torch.exp(-F.softplus(raw - 1) * (ends[:, 1:] - ends[:, :-1]) * 64)
        clear = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - alpha + 1e-6], dim=1), dim=1)
        weights = alpha * clear[:, :-1]
        left = clear[:, -1]
        # What is left when the range ends is given to the last sample: a ray always ends at what the photos show.
        rgb = (weights[..., None] * colors).sum(1) + left[:, None] * colors[:, -1]
        return rgb, (weights * s).sum(1) + left, weights, (weights * seen.any(-1)).sum(1)


@torch.autocast("cuda", enabled=False)
def _projected(views: Views, points: Float[Tensor, "b r s 3"], origins: Float[Tensor, "b r 3"]) -> tuple[Tensor, Tensor, Tensor]:
    """Positions for `fetch`, whether each view sees the points, and how its direction differs from the ray's (IBRNet's four numbers)."""
    pose = views.camera_to_world
    offset = points[:, None] - pose[:, :, None, None, :3, 3]
    local = torch.einsum("bvrsi,bvij->bvrsj", offset, pose[:, :, :3, :3])
    z = local[..., 2]
    pixels = torch.einsum("bvij,bvrsj->bvrsi", views.intrinsics, local)[..., :2] / z.clamp(min=1e-6)[..., None]
    size = views.sizes[:, :, None, None]
    seen = (z > 1e-6) & ((pixels > 0) & (pixels < size)).all(-1) & views.present[:, :, None, None]
    full = torch.tensor([views.images.shape[-1], views.images.shape[-2]], device=points.device)
    inside = torch.minimum(torch.maximum(pixels, torch.full_like(size, 0.5)), size - 0.5)
    ray = F.normalize(points - origins[:, :, None], dim=-1)[:, None]
    there = F.normalize(offset, dim=-1)
    apart = ray - there
    dot = (ray * there).sum(-1, keepdim=True)
    toward = torch.cat([F.normalize(apart, dim=-1, eps=1e-6) * (1 - dot).clamp(min=0).sqrt(), dot], dim=-1)
    return 2 * inside / full - 1, seen, toward


class DensityVictim:
    """The network behind the protocol; a general model finds the range of depths where nothing else says it."""

    gradients = True

    def __init__(self, network: DensityNetwork, scout: GeneralModel, side: int = 504, name: str = "density") -> None:
        self.network, self.scout, self.side, self.name = network, scout, side, name

    @classmethod
    def load(cls, weights: Path | None = None, device: torch.device | str = "cpu", side: int = 504) -> "DensityVictim":
        """The shipped weights or those of a file.

        Raises:
            InputError: they are missing or do not fit.
        """
        from safetensors.torch import load_file

        path, network = weights or SHIPPED, DensityNetwork()
        try:
            network.load_state_dict({k: v.float() for k, v in load_file(path).items()})
        except Exception as error:  # safetensors has an exception of its own for damaged files
            raise InputError(f"The weights '{path}' cannot be used ({str(error).splitlines()[0]}). Take an intact copy.") from None
        network.requires_grad_(False).eval().to(device)
        return cls(network, GeneralModel.from_pretrained(None, device, ConditionOptions(side=min(side, 320))), side)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> "DensityLook":
        """See `protocol.Victim.look`."""
        if like is not None:
            assert isinstance(like, DensityLook)
            ranges = like.ranges
        elif case.near_far is not None:
            ranges = case.near_far
        else:
            with torch.no_grad():
                ranges = self.scout.condition(case.pieces(images), case.cameras, None, within=case.within).near_far
        scale = self.side / int(case.cameras.sizes.max())
        height, width = (round(n * scale) for n in images.shape[2:])

        def stacked(photos: Tensor) -> Tensor:
            small = F.interpolate(photos, (height, width), mode="bilinear", antialias=True, align_corners=False) if scale != 1 else photos
            return F.pad(small, (0, -width % 16, 0, -height % 16), mode="replicate")[None]

        cameras = case.cameras.resized(np.round(case.cameras.sizes * scale).astype(np.int64))
        unit = max(float(np.median(ranges)), 1e-12)
        pose = cameras.camera_to_world.copy()
        center = cameras.centers.mean(0)
        pose[:, :3, 3] = (pose[:, :3, 3] - center) / unit
        k, c2w, sizes = (torch.from_numpy(np.asarray(x, dtype=np.float32)).to(self.device)[None] for x in (cameras.intrinsics, pose, cameras.sizes))
        views = self.network.views(stacked(images), k, c2w, torch.ones(1, len(case), dtype=torch.bool, device=self.device), sizes)
        if colors is not None:
            views = replace(views, images=stacked(colors))
        return DensityLook(self.network, views, ranges, center, unit)


@dataclass
class DensityLook:
    """Photos that the victim has looked at."""

    network: DensityNetwork
    views: Views
    ranges: Float[np.ndarray, "s 2"]
    center: Float[np.ndarray, "3"]
    unit: float

    def trace(self, target: Target, pixels: Int[Tensor, "n 2"], anchor: Any = None) -> Seen:
        """See `protocol.Look.trace`."""
        device = self.views.images.device
        zeros = torch.zeros(len(pixels), device=device)
        rays = pixel_rays(target.camera, zeros.long(), pixels.to(device).float() + 0.5, zeros, zeros)
        traced = self._traced(rays.origins, rays.directions, anchor)
        opacity = traced.weights.sum(-1)
        return Seen(traced.rgb, traced.coordinate, opacity, (traced.coarse_weights, traced.weights), None, traced.samples.detach())

    def _range(self) -> tuple[float, float]:
        return 0.9 * float(np.quantile(self.ranges[:, 0], 0.25)) / self.unit, 1.1 * float(np.quantile(self.ranges[:, 1], 0.75)) / self.unit

    def _traced(self, origins: Tensor, directions: Tensor, samples: Tensor | None = None) -> DensityTraced:
        near, far = self._range()
        inside = (origins - torch.from_numpy(self.center).to(origins)) / self.unit
        ones = torch.ones(1, len(origins), device=origins.device)
        return self.network.trace(self.views, inside[None], directions[None], near * ones, far * ones, samples=samples)

    @torch.no_grad()
    def picture(self, target: Target) -> Picture:
        """See `protocol.Look.picture`."""
        width, height = (int(v) for v in target.camera.sizes[0])
        rays = image_rays(target.camera, 0, device=self.views.images.device)
        near, far = self._range()
        rgb, depth, opacity, seen = [], [], [], []
        for piece in torch.arange(len(rays), device=rays.origins.device).split(4096):
            traced = self._traced(rays.origins[piece], rays.directions[piece])
            ones = torch.ones(len(piece), 1, device=piece.device)
            rgb.append(traced.rgb)
            depth.append(to_distance(traced.coordinate[:, None], near * ones, far * ones)[:, 0] * self.unit)
            opacity.append(traced.weights.sum(-1))
            seen.append(traced.seen)
        shape = (height, width)
        known, far_away = torch.cat(seen).clamp(0, 1).view(shape), torch.cat(depth).view(shape)
        picture = filled(torch.cat(rgb).clamp(0, 1).view(*shape, 3), known, far_away > 0)
        return Picture(picture.cpu(), far_away.cpu(), torch.cat(opacity).view(shape).clamp(0, 1).cpu(), known.cpu())


def save_density(path: Path, network: DensityNetwork, card: dict[str, Any]) -> None:
    """Write weights (half precision) and card."""
    from safetensors.torch import save_file

    from data.files import write_json

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    save_file({k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()}, partial)
    partial.replace(path)
    write_json(path.with_suffix(".json"), {"format": "lumigraph density victim", "version": 1, "model": asdict(network.options), **card})
