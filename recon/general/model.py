"""The general model: photos in, depth, signed distance and novel views out, with nothing trained on the scene."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from kernels.sightings import sighted
from recon.general.blending import Blending
from recon.general.detail import Detail
from recon.general.encoder import Encoder
from recon.general.geometry import CoarseGeometry, Geometry
from recon.general.marching import crossings, resample, surface_weights, to_distance
from recon.general.options import ModelOptions
from recon.general.sources import ANGLE, Shown, Sources, look, shown, surface_map
from recon.general.volume import Cascade, DepthLevel, plane_homographies


@dataclass(frozen=True)
class Traced:
    """Everything that is known about n rays; coordinates run from 0 (near) to 1 (far), uniform in inverse distance."""

    rgb: Float[Tensor, "n 3"]
    coordinate: Float[Tensor, "n"]
    """Expected coordinate of the surface."""
    coarse_coordinate: Float[Tensor, "n"]
    """The same from the depth volumes alone."""
    opacity: Float[Tensor, "n"]
    """How much of the ray ends at a surface before its far end."""
    seen: Float[Tensor, "n"]
    """How much of what it meets is in the picture of some source view."""
    weights: Float[Tensor, "n s"]
    """Rendering weights of the fine samples; the last is the background's."""
    samples: Float[Tensor, "n s"]
    """Coordinates of the fine samples; likewise the coarse ones."""
    signed: Float[Tensor, "n s"]
    """Signed distance at the fine samples, scene units."""
    unit: Float[Tensor, "n s"]
    """The networks' unit of length there."""
    blend: Float[Tensor, "n s v"]
    """Blending weights of the source views at the fine samples."""
    coarse_samples: Float[Tensor, "n c"]
    coarse_signed: Float[Tensor, "n c"]
    coarse_unit: Float[Tensor, "n c"]


class GeneralNetwork(nn.Module):
    """All weights. `recon.general.engine` wraps them into the engine that the product uses."""

    def __init__(self, options: ModelOptions | None = None) -> None:
        super().__init__()
        self.options = options = options or ModelOptions()
        self.encoder = Encoder(options)
        self.cascade = Cascade(options)
        self.coarse = CoarseGeometry()
        self.geometry = Geometry(options)
        self.blending = Blending(options)
        self.detail: Detail | None = None
        """Corrections for one scene, if the network was tuned on it."""
        self.heard: Callable[[Tensor, Tensor], Tensor] | None = None
        """Which views may speak at samples, from their `Shown.distance` and ``seen``; all that see them if not given (see
        `attacks.defences.consistency`)."""

    def encode(self, images: Float[Tensor, "n 3 h w"]) -> tuple[Tensor, Tensor, Tensor]:
        """Feature maps at 1/8, 1/4 and 1/2."""
        if images.is_cuda:
            images = images.contiguous(memory_format=torch.channels_last)
        return self.encoder(images)  # type: ignore[no-any-return]

    def volumes(
        self, features: tuple[Tensor, Tensor, Tensor], intrinsics: Float[Tensor, "n 3 3"], camera_to_world: Float[Tensor, "n 4 4"],
        references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"], near: Float[Tensor, "refs"], far: Float[Tensor, "refs"],
        follow: float = 0.0,
    ) -> list[DepthLevel]:  # fmt: skip
        """Depth of some views by plane sweeps against their neighbours; see `volume.Cascade`."""
        homographies = plane_homographies(intrinsics, camera_to_world, references, neighbours)
        return self.cascade(features, references, neighbours, homographies, near, far, follow)  # type: ignore[no-any-return]

    def sources(
        self, images: Float[Tensor, "b v 3 h w"], intrinsics: Float[Tensor, "b v 3 3"], camera_to_world: Float[Tensor, "b v 4 4"],
        neighbours: Int[Tensor, "b v k"], near: Float[Tensor, "b v"], far: Float[Tensor, "b v"], present: Bool[Tensor, "b v"],
        follow: float = 0.0,
    ) -> tuple[Sources, list[DepthLevel]]:  # fmt: skip
        """Encode the views of B scenes and find the depth of each.

        Args:
            neighbours: views that each view is compared with, as indices within its scene.
            near: nearest z-depth of each view, scene units; likewise ``far``.
            present: false for places that hold no view.
            follow: see `volume.Cascade`.
        """
        b, v, _, h, w = images.shape
        features = self.encode(images.flatten(0, 1))
        start = torch.arange(b, device=images.device)[:, None, None] * v
        references = torch.arange(b * v, device=images.device)
        levels = self.volumes(
            features, intrinsics.flatten(0, 1), camera_to_world.flatten(0, 1), references, (neighbours + start).flatten(0, 1),
            near.flatten(), far.flatten(), follow,
        )  # fmt: skip
        sizes = torch.tensor([w, h], device=images.device, dtype=torch.float32).expand(b, v, 2)
        quarter, half = (f.view(b, v, *f.shape[1:]) for f in features[1:])
        return Sources(images, quarter, half, surface_map(levels, v), intrinsics, camera_to_world, sizes, present), levels

    def trace(
        self, sources: Sources, origins: Float[Tensor, "b r 3"], directions: Float[Tensor, "b r 3"], near: Float[Tensor, "b r"],
        far: Float[Tensor, "b r"], jitter: bool = False, color: bool = True, samples: Float[Tensor, "n s"] | None = None,
        paint: Sources | None = None,
    ) -> Traced:  # fmt: skip
        """Coarse samples find the surface, fine ones around it say exactly where it is and what it looks like.

        Args:
            samples: coordinates of the fine samples (`Traced.samples`) if they are not to be chosen, as for comparing two states of
                the photos sample by sample.
            paint: sources that colour is blended from, if others than those that say where the surface is.
        """
        o = self.options
        b, r = near.shape
        n = b * r
        near_, far_ = near.reshape(n, 1).float(), far.reshape(n, 1).float()
        steps = torch.arange(o.coarse_samples, device=near.device)
        offset = torch.rand(n, o.coarse_samples, device=near.device) if jitter else torch.full((n, o.coarse_samples), 0.5, device=near.device)
        s = (steps + offset) / o.coarse_samples
        s = torch.cat([s[:, :-1], torch.ones_like(s[:, :1])], dim=1)
        t = to_distance(s, near_, far_)
        points = origins[:, :, None] + directions[:, :, None] * t.view(b, r, -1, 1)
        coarse, coarse_unit = self._coarse(sources, points, origins)
        coarse_weights = surface_weights(coarse, self.coarse.log_sharpness.exp())
        where, _ = crossings(coarse, s)
        coarse_coordinate = (coarse_weights * where).sum(1)

        if samples is None:
            fine = resample(coarse_weights, s, o.fine_samples, jitter)
            fine = torch.cat([fine, torch.ones_like(fine[:, :1])], dim=1)
        else:
            fine = samples
        points = origins[:, :, None] + directions[:, :, None] * to_distance(fine, near_, far_).view(b, r, -1, 1)
        view = self._shown(sources, points, origins)
        signed, trust = self.geometry(view.tokens, view.seen, view.distance, fine)
        if self.detail is not None:
            corrections = self.detail.features(points.flatten(0, 1))
            signed = signed + corrections[..., 0]
        weights = surface_weights(signed, self.geometry.log_sharpness.exp())
        where, fraction = crossings(signed, fine)
        if color:
            if paint is not None:
                view = self._shown(paint, points, origins)
            blend = self.blending(view.tokens, view.seen, trust)
            if self.detail is None:
                colors = (blend[..., None] * view.photo.float()).sum(2)
            else:
                angles = view.tokens[..., sum(o.features[1:]) + 3 + ANGLE].float()
                colors = self.detail.corrected(corrections, directions.flatten(0, 1), view.photo.float(), blend, angles)
            f = fraction.detach()[..., None]
            at = torch.cat([colors[:, :-1] * (1 - f) + colors[:, 1:] * f, colors[:, -1:]], dim=1)
            rgb = (weights[..., None] * at).sum(1)
        else:
            blend, rgb = trust, torch.zeros(n, 3, device=near.device)
        return Traced(
            rgb, (weights * where).sum(1), coarse_coordinate, 1 - weights[:, -1], (weights * view.seen.any(-1)).sum(1), weights, fine, signed * view.unit, view.unit, blend,
            s, coarse * coarse_unit, coarse_unit,
        )  # fmt: skip

    def _coarse(self, sources: Sources, points: Float[Tensor, "b r s 3"], origins: Float[Tensor, "b r 3"]) -> tuple[Tensor, Tensor]:
        """Signed distance from the depth volumes alone, in local units, and these units; rays of all scenes in a row."""
        if self._fused(sources, points):
            return sighted.coarse(sources.maps(), self.coarse.packed(), points[0], origins[0], self.options.reach)
        sighting = look(sources, points, origins, self.options.reach)
        cues, seen, distance = (x.flatten(0, 1) for x in (sighting.cues, sighting.seen, sighting.distance))
        return self.coarse(cues, seen if self.heard is None else self.heard(distance, seen), distance), sighting.unit.flatten(0, 1)

    def _shown(self, sources: Sources, points: Float[Tensor, "b r s 3"], origins: Float[Tensor, "b r 3"]) -> Shown:
        """What the views show at points."""
        if self._fused(sources, points):
            return Shown(*sighted.gather(sources.maps(), points[0], origins[0], self.options.reach))
        out = shown(sources, points, origins, self.options.reach)
        return out if self.heard is None else replace(out, seen=self.heard(out.distance, out.seen))

    def signed_distance(self, sources: Sources, points: Float[Tensor, "p 3"]) -> Float[Tensor, "p"]:
        """Signed distance at points of a single scene, scene units: asked along the ray of the view that sees each best."""
        o = self.options
        offset = points[:, None] - sources.camera_to_world[0, None, :, :3, 3]
        sighting = look(sources, points[None, :, None], points[None] - offset[None, :, 0], o.reach)
        # The best view sees the point, head-on and in front of its own surface.
        cues = sighting.cues[0, :, 0]
        rank = 4 * cues[..., 9] + cues[..., 8] + cues[..., 0].clamp(-1, 0)
        best = rank.argmax(-1)
        origins = sources.camera_to_world[0, best, :3, 3]
        ray = points - origins
        distance = ray.norm(dim=-1, keepdim=True).clamp(min=1e-9)
        half = o.fine_samples // 2
        steps = torch.arange(-half, o.fine_samples - half + 1, device=points.device) * 0.5
        t = (distance + steps * sighting.unit[0]).clamp(min=1e-6)
        near, far = 0.5 * distance, 3.0 * distance
        samples = ((1 / near - 1 / t) / (1 / near - 1 / far)).clamp(0, 1)
        along = origins[None, :, None] + (ray / distance)[None, :, None] * t[None, :, :, None]
        view = self._shown(sources, along, origins[None])
        signed, _ = self.geometry(view.tokens, view.seen, view.distance, samples)
        if self.detail is not None:
            signed = signed + self.detail.features(along[0])[..., 0]
        return (signed * view.unit)[:, half]

    def _fused(self, sources: Sources, points: Tensor) -> bool:
        """Whether the fused path may run: one scene, single precision, and nobody asks for gradients."""
        if len(points) != 1 or sources.images.dtype != torch.float32 or self.heard is not None:
            return False
        if not torch.is_grad_enabled():
            return True
        asked = (points, *(getattr(sources, name) for name in Sources.__dataclass_fields__), *self.parameters())
        return not any(t.requires_grad for t in asked)
