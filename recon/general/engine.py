"""The general engine: `GeneralModel.condition` looks at the photos once; the `GeneralField` it returns renders any rays."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from data.cameras import Cameras
from data.errors import InputError
from recon.fields import Rays, RenderedRays
from recon.general.marching import to_distance
from recon.general.model import GeneralNetwork, Traced
from recon.general.overlap import Overlap
from recon.general.sources import Sources, surface_map
from recon.general.views import (
    check_views,
    guessed_range,
    mean_distance,
    neighbours_of,
    quarter_turns,
    range_of_depths,
    turned,
    unlikeness,
)
from recon.general.volume import plane_homographies
from recon.general.weights import load_network


@dataclass(frozen=True)
class ConditionOptions:
    """How photos are looked at."""

    neighbours: int = 4
    """Views that each view is compared with to find its depth."""
    sources: int = 8
    """Views that a ray is blended from."""
    side: int = 960
    """Photos are brought to this longest side, pixels: larger ones shrunk, smaller ones enlarged, but not beyond `enlarge`."""
    enlarge: float = 4.0
    """How many times photos are enlarged at most: the volumes' pixels are coarse, so that even four times the photo's own
    help."""
    follow: float = 1.0
    """Of gradients to the photos, if somebody asks for them: see `volume.Cascade`."""
    chunk_samples: int | None = None
    """Coarse samples times views held at once; more needs more memory. By device if not given: what stays in a CPU's cache,
    or what a GPU has free (12 GB at most)."""


class GeneralModel:
    """A trained network, ready to look at photos."""

    def __init__(self, network: GeneralNetwork, options: ConditionOptions | None = None) -> None:
        self.network = network
        self.options = options or ConditionOptions()

    @classmethod
    def from_pretrained(cls, path: Path | None = None, device: torch.device | str = "cpu", options: ConditionOptions | None = None) -> "GeneralModel":
        """The shipped weights, or those of a safetensors file with its card.

        Raises:
            InputError: the weights are missing, damaged or of another version.
        """
        # Gradients are wanted for photos (attacks) or by the tuner, which says so: a graph kept by chance fills the memory.
        return cls(load_network(path, device).requires_grad_(False), options)

    @property
    def device(self) -> torch.device:
        return next(self.network.parameters()).device

    def condition(
        self, images: Sequence[Float[Tensor, "3 _ _"]], cameras: Cameras, near_far: Float[np.ndarray, "n 2"] | None = None,
        volumes_of: Sequence[int] | None = None, within: Float[np.ndarray, "n 2"] | None = None,
        colors: Sequence[Float[Tensor, "3 _ _"]] | None = None, moved: Float[Tensor, "n 4 4"] | None = None,
    ) -> "GeneralField":  # fmt: skip
        """Encode photos and find the depth of each.

        Gradients reach ``images``, ``colors`` and ``moved`` if these require them; the last through the projection into the source views
        (the depth volumes follow it, but hand no gradient back).

        Args:
            images: photos, sRGB 0 to 1; sizes may differ.
            cameras: their cameras, without lens distortion.
            near_far: range of z-depths of each view, scene units; found by a first look if not given.
            volumes_of: views whose depth is wanted; all if not given. The others serve as neighbours alone.
            within: where the first look searches; guessed from the cameras if not given.
            colors: photos that colour is blended from, if others than those that are looked at.
            moved: a small motion of each camera: rotation about its centre along world axes, and translation in scene units.

        Raises:
            InputError: fewer than two views, sizes that do not fit, lens distortion, or no baseline.
        """
        check_views(cameras, np.array([[i.shape[2], i.shape[1]] for i in images], dtype=np.int64).reshape(-1, 2))
        shrink = np.minimum(self.options.enlarge, self.options.side / cameras.sizes.max(1, keepdims=True))
        sizes = np.maximum(np.round(cameras.sizes * shrink), 16).astype(np.int64)
        cameras = cameras.resized(sizes)
        turns = quarter_turns(cameras)
        upright = turned(cameras, turns)
        pictures = self._stacked(images, sizes, turns, upright)
        neighbours = torch.from_numpy(neighbours_of(upright, self.options.neighbours)).to(self.device)
        intrinsics = torch.from_numpy(upright.intrinsics).to(self.device)
        # Lengths are counted from the middle of the cameras, in units of their distance: single precision then suffices.
        origin, scale = cameras.centers.mean(0), max(mean_distance(cameras), 1e-12)
        centered = upright.camera_to_world.copy()
        centered[:, :3, 3] = (centered[:, :3, 3] - origin) / scale
        pose = torch.from_numpy(centered).to(self.device)
        if moved is not None:
            pose = _nudged(pose, moved.to(pose), scale)
        with self._precision():
            features = self._encoded(pictures)
            wanted = torch.arange(len(images)) if volumes_of is None else torch.as_tensor(list(volumes_of))
            if near_far is not None:
                ranges = near_far / scale
            else:
                wide = guessed_range(upright) if within is None else within
                ranges = self._first_look(features, intrinsics, pose.detach(), neighbours, wide / scale)
            surface = self._surfaces(features, intrinsics, pose.detach(), neighbours, ranges, wanted)
        present = torch.ones(1, len(wanted), dtype=torch.bool, device=self.device)
        index = wanted.to(self.device)
        extent = torch.from_numpy(upright.sizes).to(self.device).float()[index][None]
        blended = pictures if colors is None else self._stacked(colors, sizes, turns, upright)
        sources = Sources(
            blended[index][None], features[1][index][None], features[2][index][None], surface,
            intrinsics[index].float()[None], pose[index].float()[None], extent, present,
        )  # fmt: skip
        chosen = [int(i) for i in wanted]
        return GeneralField(self, sources, cameras.select(chosen), turns[chosen], origin, scale, ranges[chosen] * scale)

    def _precision(self) -> torch.autocast:
        return torch.autocast("cuda", dtype=torch.bfloat16, enabled=self.device.type == "cuda")

    def _stacked(self, images: Sequence[Tensor], sizes: Int[np.ndarray, "n 2"], turns: Int[np.ndarray, "n"], upright: Cameras) -> Tensor:
        """Upright photos of equal tensor size, a multiple of 64; what is missing repeats the border.

        64: the coarsest layer of the coarsest volume, where half a pixel more would shift what is laid over it.
        """
        width, height = (int(-(-v // 64) * 64) for v in upright.sizes.max(0))
        out = []
        for image, size, count in zip(images, sizes, turns, strict=True):
            picture = image.to(self.device).float()
            if (picture.shape[2], picture.shape[1]) != tuple(size):
                picture = F.interpolate(picture[None], (int(size[1]), int(size[0])), mode="bilinear", antialias=True, align_corners=False)[0].clamp(0, 1)
            picture = torch.rot90(picture, int(count), (1, 2))
            out.append(F.pad(picture[None], (0, width - picture.shape[2], 0, height - picture.shape[1]), mode="replicate")[0])
        return torch.stack(out)

    def _encoded(self, pictures: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Features in pieces: all at once would hold every layer of every photo; a GPU is given enough pixels to be busy."""
        size = max(3_000_000 // (pictures.shape[2] * pictures.shape[3]), 1) if self.device.type == "cuda" else 1
        parts = [self.network.encode(piece) for piece in pictures.split(size)]
        return tuple(torch.cat([p[i] for p in parts]) for i in range(3))  # type: ignore[return-value]

    def _surfaces(
        self, features: tuple[Tensor, Tensor, Tensor], intrinsics: Tensor, pose: Tensor, neighbours: Tensor,
        ranges: Float[np.ndarray, "n 2"], wanted: Int[Tensor, "m"],
    ) -> Float[Tensor, "1 m h2 w2 6"]:  # fmt: skip
        """What the volumes found (`Sources.surface`), in pieces: the volumes themselves are twice as large as all the rest."""
        bounds = torch.from_numpy(ranges).float().to(self.device)
        size = 8 if self.device.type == "cuda" else 1
        parts = []
        for views in wanted.to(self.device).split(size):
            levels = self.network.volumes(features, intrinsics, pose, views, neighbours[views], bounds[views, 0], bounds[views, 1], self.options.follow)
            parts.append(surface_map(levels, len(views)))
        return torch.cat(parts, dim=1)

    @torch.no_grad()
    def _first_look(
        self, features: tuple[Tensor, Tensor, Tensor], intrinsics: Tensor, pose: Tensor, neighbours: Tensor, wide: Float[np.ndarray, "n 2"]
    ) -> Float[np.ndarray, "n 2"]:
        """Depth ranges from a sweep of the coarse volume over a wide range, internal units."""
        bounds = torch.from_numpy(wide).float().to(self.device)
        inverse, confidence = [], []
        for view in torch.arange(len(wide), device=self.device).split(1):
            homographies = plane_homographies(intrinsics, pose, view, neighbours[view])
            level = self.network.cascade.coarse_level(features[0], view, neighbours[view], homographies, bounds[view, 0], bounds[view, 1])[0]
            inverse.append(level.inverse_depth)
            confidence.append(level.confidence)
        return range_of_depths(torch.cat(inverse), torch.cat(confidence), wide)


@dataclass
class GeneralField:
    """Photos that were looked at: a `RadianceField`. Lengths inside are (world - origin) / scale."""

    model: GeneralModel
    sources: Sources
    cameras: Cameras
    """Cameras of the source views, at the working size."""
    turns: Int[np.ndarray, "n"]
    origin: Float[np.ndarray, "3"]
    scale: float
    near_far: Float[np.ndarray, "n 2"]
    """Range of z-depths of each source view, scene units."""
    subject_box: Float[np.ndarray, "2 3"] | None = None
    near: float = 0.0

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.model.device

    @property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Box of what was seen, or the one that was set."""
        if self.subject_box is not None:
            return self.subject_box
        points = self._points().cpu().numpy() * self.scale + self.origin
        low, high = np.percentile(points, [1, 99], axis=0)
        return np.stack([low, high]) + 0.05 * (high - low) * np.array([[-1], [1]])

    @property
    def empty_background(self) -> None:
        """The background belongs to the scene."""
        return None

    def beside(self, sources: Sources) -> "GeneralField":
        """The same field over another state of its photos: rays begin, end and choose their source views as in this one, so that both are
        comparable ray by ray."""
        other = replace(self, sources=sources)
        other._cloud, other._seen = self._points(), self._overlap()
        return other

    def depth(self, view: int) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
        """z-depth of a source view at half the working size, scene units, and its confidence; in the photo's orientation."""
        width, height = (int(v) for v in turned(self.cameras, self.turns).sizes[view])
        inverse = self.sources.surface[0, view, : (height + 1) // 2, : (width + 1) // 2, 0]
        confidence = self.sources.surface[0, view, : (height + 1) // 2, : (width + 1) // 2, 3:].prod(-1)
        z = (self.scale / inverse.clamp(min=1e-9)).detach().float().cpu().numpy()
        back = -int(self.turns[view])
        return np.ascontiguousarray(np.rot90(z, back)), np.ascontiguousarray(np.rot90(confidence.detach().float().cpu().numpy(), back))

    def render(self, rays: Rays, color: bool = True) -> RenderedRays:
        """Colour, depth and opacity along rays, in pieces that fit the memory; on the CPU, unless a gradient is to go back through them."""
        parts, order = [], []
        rays = rays.to(self.model.device)
        for index, views in self._groups(rays):
            near, far = self._range(rays[index])
            for piece in _pieces(index, near, far, self._chunk(len(views))):
                traced = self.trace(rays[piece[0]], views, piece[1], piece[2], color)
                distance = to_distance(traced.coordinate[:, None], piece[1][:, None], piece[2][:, None])[:, 0] * self.scale
                met = torch.where(traced.opacity > 0.5, distance, 0.0)
                parts.append(RenderedRays(traced.rgb.clamp(0, 1), met, traced.opacity.clamp(0, 1), traced.seen.clamp(0, 1)))
                order.append(piece[0])
        joined = RenderedRays.join(parts)
        if len(order) > 1:
            everything = torch.cat(order)
            back = torch.empty_like(everything)
            back[everything] = torch.arange(len(rays), device=back.device)
            joined = joined[back]
        return joined if joined.rgb.requires_grad or joined.opacity.requires_grad else joined.cpu()

    def trace(
        self, rays: Rays, views: Int[Tensor, "v"], near: Tensor, far: Tensor, color: bool = True, samples: Tensor | None = None,
        paint: Sources | None = None,
    ) -> Traced:  # fmt: skip
        """Everything about rays of one origin, blended from the given source views; blending weights included.

        Args:
            near: internal units, likewise ``far``.
            samples: see `GeneralNetwork.trace`; likewise ``paint``, of all source views.
        """
        device = self.model.device
        origins = self._inside(rays.origins)
        sources = self.sources.select(views)
        with self.model._precision():
            return self.model.network.trace(
                sources, origins[None], rays.directions.to(device)[None], near[None], far[None], color=color, samples=samples,
                paint=None if paint is None else paint.select(views),
            )  # fmt: skip

    def sdf(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
        """Signed distance at world points, scene units, cut off some units from the surface."""
        inside = self._inside(points)
        parts = [self._signed(p) for p in inside.split(8192)]
        return (torch.cat(parts) * self.scale).to(points.device)

    def density(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
        """Extinction per scene unit: the logistic density that belongs to the signed distance (NeuS)."""
        inside = self._inside(points)
        unit = self.model.network.options.reach * torch.cdist(inside, self.sources.camera_to_world[0, :, :3, 3]).mean(1) * self.scale
        k = self.model.network.geometry.log_sharpness.exp() / unit
        return (k * torch.sigmoid(-k * self.sdf(points).to(k.device))).to(points.device)

    def make_own(self) -> None:
        """Give the field networks of its own, so that tuning them leaves other fields of the model alone."""
        self.model = GeneralModel(copy.deepcopy(self.model.network), self.model.options)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _inside(self, points: Tensor) -> Tensor:
        origin = torch.from_numpy(self.origin).to(points.device)
        return ((points.double() - origin) / self.scale).float().to(self.model.device)

    def _chunk(self, views: int) -> int:
        o = self.model.network.options
        samples = self.model.options.chunk_samples or 400_000
        if self.model.options.chunk_samples is None and self.model.device.type == "cuda":
            # Some 150 bytes each; half of what is free.
            samples = min(80_000_000, torch.cuda.mem_get_info(self.model.device)[0] // 300)
        # Whole thousands: Triton compiles a kernel anew where 16 stops dividing a count.
        count = samples // (views * o.coarse_samples)
        return count // 1024 * 1024 if count >= 1024 else max(count, 64)

    def _groups(self, rays: Rays) -> list[tuple[Tensor, Tensor]]:
        """Rays that start together, with the source views for them."""
        starts = rays.origins.detach()
        if bool((starts == starts[:1]).all()):
            inverse = torch.zeros(len(rays), dtype=torch.long, device=starts.device)
        else:
            origins, inverse = torch.unique(starts, dim=0, return_inverse=True)
            if len(origins) > 64:
                # Rays from everywhere: pieces of neighbours share their views.
                inverse = torch.arange(len(rays), device=starts.device) // 2048
        out = []
        for i in range(int(inverse.max()) + 1):
            index = torch.nonzero(inverse == i)[:, 0]
            center = rays.origins[index].detach().double().mean(0).cpu().numpy()
            directions = rays.directions[index].detach().double()
            forward = directions.mean(0)
            forward = forward / forward.norm().clamp(min=1e-9)
            widest = float((directions @ forward).amin().clamp(min=0.1))
            out.append((index, self.nearest_views(center, forward.cpu().numpy(), widest)))
        return out

    def nearest_views(
        self, center: Float[np.ndarray, "3"], forward: Float[np.ndarray, "3"], widest: float, leave_out: int | None = None
    ) -> Int[Tensor, "v"]:
        """The source views to blend for a viewpoint: near, looking the same way, and seeing what it looks at.

        Args:
            forward: where it looks, of unit length.
            widest: cosine of the largest angle between this and a ray.
            leave_out: a view that must not be among them.
        """
        unlike = unlikeness(self.cameras.centers, self.cameras.forwards, center, forward, mean_distance(self.cameras))
        count = min(self.model.options.sources, len(unlike) - (leave_out is not None))
        if count == len(unlike):
            return torch.arange(count, device=self.model.device)
        if leave_out is not None:
            unlike[leave_out] = np.inf
        unlike += 1 - self._overlap().shares((center - self.origin) / self.scale, forward, widest)
        return torch.from_numpy(np.argsort(unlike)[:count].copy()).to(self.model.device)

    def _overlap(self) -> Overlap:
        if not hasattr(self, "_seen"):
            self._seen = Overlap.of(self.sources, self._points())
        return self._seen

    def _points(self) -> Float[Tensor, "p 3"]:
        """Some surface points of all source views, internal units."""
        if not hasattr(self, "_cloud"):
            s = self.sources
            step = 6
            surface = s.surface[0, :, step // 2 :: step, step // 2 :: step].detach().float()
            h, w = surface.shape[1:3]
            ratio = s.images.shape[-1] / s.surface.shape[3]
            y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
            pixels = torch.stack([(x * step + step // 2 + 0.5) * ratio, (y * step + step // 2 + 0.5) * ratio, torch.ones_like(x)], dim=-1).to(surface)
            local = torch.einsum("vij,hwj->vhwi", torch.linalg.inv(s.intrinsics[0]), pixels) / surface[..., :1].clamp(min=1e-9)
            world = torch.einsum("vij,vhwj->vhwi", s.camera_to_world[0, :, :3, :3], local) + s.camera_to_world[0, :, None, None, :3, 3]
            inside = (pixels[None, ..., :2] < s.sizes[0, :, None, None]).all(-1)
            sure = surface[..., 3] > 0.3
            keep = inside & sure if (inside & sure).sum() > 200 else inside
            self._cloud = world[keep]
        return self._cloud

    def _range(self, rays: Rays) -> tuple[Tensor, Tensor]:
        """Near and far of rays that start together, internal units: where the source views saw something."""
        origin = self._inside(rays.origins.detach())
        start = origin.mean(0)
        forward = rays.directions.detach().to(start.device).mean(0)
        forward = forward / forward.norm().clamp(min=1e-9)
        widest = (rays.directions.detach().to(start.device) @ forward).amin().clamp(min=0.1)
        offset = self._points() - start
        distance = offset.norm(dim=-1)
        along = offset @ forward
        ahead = along > (widest - 0.02) * distance
        seen = distance[ahead] if ahead.sum() > 100 else distance
        if seen.numel() == 0:
            raise InputError("The photos show nothing that could be rendered. Check that they overlap and that their poses are right.")
        if not (along > 0.5 * distance).any():
            raise InputError("The photos see nothing of what this camera looks at. Turn it to what they show, or add photos that look there.")
        low, high = torch.quantile(seen[:: max(len(seen) // 100_000, 1)], torch.tensor([0.002, 0.998], device=seen.device))
        near = torch.maximum(0.85 * low.expand(len(rays)), rays.near.to(start.device) / self.scale).clamp(min=1e-4)
        far = torch.minimum(1.15 * high.expand(len(rays)), rays.far.to(start.device) / self.scale)
        return near, torch.maximum(far, near * 1.05)

    def _signed(self, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
        with self.model._precision():
            return self.model.network.signed_distance(self.sources, points)


def _nudged(pose: Float[Tensor, "n 4 4"], motion: Float[Tensor, "n 4 4"], scale: float) -> Float[Tensor, "n 4 4"]:
    """Poses in internal units after each camera turned about its centre and moved."""
    top = torch.cat([motion[:, :3, :3] @ pose[:, :3, :3], pose[:, :3, 3:] + motion[:, :3, 3:] / scale], dim=2)
    return torch.cat([top, pose[:, 3:]], dim=1)


def _pieces(index: Tensor, near: Tensor, far: Tensor, size: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    return list(zip(index.split(size), near.split(size), far.split(size), strict=True))
