"""The general engine as a victim: gradients through encoder, depth volumes, geometry and blending; every branch can be swapped."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attacks.case import Case, Target
from attacks.victims.protocol import Look, Seen
from data.cameras import Cameras
from data.errors import InputError
from recon.fields import Rays, RenderedRays, image_rays, pixel_rays
from recon.general.engine import ConditionOptions, GeneralField, GeneralModel
from recon.general.marching import surface_weights, to_distance
from recon.general.model import Traced
from recon.general.sources import Sources, surface_map
from recon.general.views import corner_cosine, neighbours_of, turned
from recon.general.weights import SHIPPED
from recon.pictures import Picture, filled

Branch = Literal["features", "volumes", "colors"]
"""What the photos reach a rendered pixel by: feature maps, depth volumes, and the colours that are blended."""


@dataclass(frozen=True)
class Anchor:
    """Where along n rays a look asked: start and end, source views, fine samples."""

    near: Tensor
    far: Tensor
    views: Tensor
    samples: Tensor | None


class GeneralVictim:
    """`GeneralModel` behind the protocol."""

    gradients = True

    def __init__(self, model: GeneralModel, name: str = "general", weights: Path | None = None, refreshed: int | None = None) -> None:
        self.model, self.name, self.refreshed = model, name, refreshed
        self.weights = weights or SHIPPED

    @classmethod
    def load(
        cls, weights: Path | None = None, device: torch.device | str = "cpu", side: int = 504, sources: int = 8, name: str = "general",
        refreshed: int | None = None, follow: float = 1.0,
    ) -> "GeneralVictim":  # fmt: skip
        """The shipped weights or those of a file.

        Args:
            side: longest side at which photos are looked at. The engine's own 960 enlarges smaller photos: better pictures, several
                times the cost of every step.
            refreshed: depth volumes that are worked out anew in each step of an attack, in turns; all if not given. The others stay as their
                last turn left them, and only photos that this step looked at anew get a gradient: block coordinate ascent, for CPUs.
            follow: how far gradients follow the surface through the cascade of volumes (`recon.general.volume.Cascade`).
        """
        options = ConditionOptions(side=side, sources=sources, follow=follow)
        return cls(GeneralModel.from_pretrained(weights, device, options), name, weights, refreshed)

    @property
    def device(self) -> torch.device:
        return self.model.device

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> "GeneralLook":
        """See `protocol.Victim.look`."""
        if self.refreshed is not None and isinstance(like, GeneralLook) and images.requires_grad:
            like.turns = like.turns or Turns.of(like.field, case, self.refreshed)
            sources = like.turns.next(like.field, case, images, colors)
            return GeneralLook(like.field.beside(sources))
        return self.look_from(case, images, like, colors)

    def look_from(
        self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None,
        moved: Float[Tensor, "s 4 4"] | None = None,
    ) -> "GeneralLook":  # fmt: skip
        """`look` with cameras that have moved (`GeneralModel.condition`)."""
        if like is not None and not isinstance(like, GeneralLook):
            raise TypeError("looks of different victims are not comparable")
        blended = None if colors is None else case.pieces(colors)
        ranges = case.near_far if like is None else like.field.near_far
        field = self.model.condition(case.pieces(images), case.cameras, ranges, within=case.within, colors=blended, moved=moved)
        if like is not None:
            # The clean photos' surface says where rays begin and end, and which views they ask.
            field = like.field.beside(field.sources)
        return GeneralLook(field)


@dataclass
class GeneralLook:
    """A `GeneralField` behind the protocol."""

    field: GeneralField
    paint: Sources | None = None
    """Source views that colour is blended from, if others than the field's."""
    turns: "Turns | None" = None
    """Whose turn it is, if looks like this one are refreshed in turns."""
    _asked: tuple[Cameras, Anchor] | None = None
    """The camera asked last, and what holds for all of its rays: steps of an attack ask the same one again and again."""

    def trace(self, target: Target, pixels: Int[Tensor, "n 2"], anchor: Anchor | None = None) -> Seen:
        """See `protocol.Look.trace`."""
        device = self.field.device
        at = pixels.to(device).float() + 0.5
        zeros = torch.zeros(len(at), device=device)
        rays = pixel_rays(target.camera, zeros.long(), at, zeros, torch.full_like(zeros, torch.inf))
        anchor = anchor or self.anchored(target, rays)
        traced = self.field.trace(rays, anchor.views, anchor.near, anchor.far, samples=anchor.samples, paint=self.paint)
        network = self.field.model.network
        coarse = surface_weights(traced.coarse_signed / traced.coarse_unit, network.coarse.log_sharpness.exp())
        return Seen(
            traced.rgb.float(), traced.coordinate.float(), traced.opacity.float(), (coarse.float(), traced.weights.float()),
            (traced.signed / traced.unit).float(), replace(anchor, samples=traced.samples.detach()),
        )  # fmt: skip

    def anchored(self, target: Target, rays: Rays) -> Anchor:
        """Range and source views of rays of a target."""
        if self._asked is None or self._asked[0] is not target.camera:
            with torch.no_grad():
                near, far = self.field._range(image_rays(target.camera, 0, device=rays.origins.device))
                views = self.field.nearest_views(target.camera.centers[0], target.camera.forwards[0], corner_cosine(target.camera, 0))
            # Rays of one view share their range (`GeneralField._range`).
            self._asked = target.camera, Anchor(near[:1], far[:1], views, None)
        one = self._asked[1]
        return Anchor(one.near.expand(len(rays)), one.far.expand(len(rays)), one.views, None)

    @torch.no_grad()
    def picture(self, target: Target) -> Picture:
        """See `protocol.Look.picture`."""
        device = self.field.device
        width, height = (int(v) for v in target.camera.sizes[0])
        rays = image_rays(target.camera, 0, device=device)
        anchor = self.anchored(target, rays)
        parts = []
        for piece in torch.arange(len(rays), device=device).split(self.field._chunk(len(anchor.views))):
            traced = self.field.trace(rays[piece], anchor.views, anchor.near[piece], anchor.far[piece], paint=self.paint)
            parts.append(self._rendered(traced, anchor.near[piece], anchor.far[piece]))
        out = RenderedRays.join(parts)
        depth, opacity, seen = (x.reshape(height, width) for x in (out.depth, out.opacity, out.seen))
        rgb = filled(out.rgb.reshape(height, width, 3), seen, depth > 0)
        return Picture(rgb.cpu(), depth.cpu(), opacity.cpu(), seen.cpu())

    def _rendered(self, traced: Traced, near: Tensor, far: Tensor) -> RenderedRays:
        distance = to_distance(traced.coordinate[:, None], near[:, None], far[:, None])[:, 0] * self.field.scale
        met = torch.where(traced.opacity > 0.5, distance, 0.0)
        return RenderedRays(traced.rgb.float().clamp(0, 1), met, traced.opacity.float().clamp(0, 1), traced.seen.float().clamp(0, 1))

    def swapped(self, other: "GeneralLook", branches: set[Branch]) -> "GeneralLook":
        """This look with some branches fed by another look at other versions of the photos: which of them does the damage?

        Raises:
            InputError: an unknown branch.
        """
        unknown = branches - {"features", "volumes", "colors"}
        if unknown:
            raise InputError(f"The general engine has no branch '{sorted(unknown)[0]}'. Its branches are features, volumes, colors.")
        mine, theirs = self.field.sources, other.field.sources
        sources = replace(
            mine,
            images=theirs.images if "colors" in branches else mine.images,
            quarter=theirs.quarter if "features" in branches else mine.quarter,
            half=theirs.half if "features" in branches else mine.half,
            surface=theirs.surface if "volumes" in branches else mine.surface,
        )
        return GeneralLook(self.field.beside(sources))

    def shape_of(self, other: "GeneralLook") -> "GeneralLook":
        """The surface of another look under the blending of this one (NeRFool's clean-density ablation)."""
        return GeneralLook(other.field, paint=self.field.sources)


@dataclass
class Turns:
    """Features and surfaces of all views as their last turn left them (`GeneralVictim.load`, ``refreshed``)."""

    count: int
    neighbours: Int[Tensor, "s k"]
    features: tuple[Tensor, Tensor, Tensor]
    surface: Float[Tensor, "1 s h w 6"]
    at: int = 0

    @classmethod
    @torch.no_grad()
    def of(cls, field: GeneralField, case: Case, count: int) -> "Turns":
        """The clean photos' state."""
        model = field.model
        neighbours = torch.from_numpy(neighbours_of(turned(field.cameras, field.turns), model.options.neighbours)).to(model.device)
        with model._precision():
            features = model._encoded(field.sources.images[0])
        return cls(max(min(count, len(case)), 1), neighbours, features, field.sources.surface)

    def next(self, field: GeneralField, case: Case, images: Float[Tensor, "s 3 h w"], colors: Float[Tensor, "s 3 h w"] | None) -> Sources:
        """Sources after the next views had their turn; gradients reach their photos and those of their two nearest neighbours."""
        model, old = field.model, field.sources
        total, device = len(case), model.device
        turn = torch.tensor([(self.at + i) % total for i in range(self.count)], device=device)
        self.at = (self.at + self.count) % total
        fresh = torch.unique(torch.cat([turn, self.neighbours[turn, :2].flatten()]))
        upright = turned(field.cameras, field.turns)
        live = torch.zeros(total, dtype=torch.bool, device=device)
        live[fresh] = True
        photos = torch.where(live[:, None, None, None], images, images.detach())
        pictures = model._stacked(case.pieces(photos), field.cameras.sizes, field.turns, upright)
        bounds = torch.from_numpy(field.near_far / field.scale).float().to(device)
        pose, k = old.camera_to_world[0], old.intrinsics[0]
        with model._precision():
            new = model._encoded(pictures[fresh])
            features = tuple(kept.index_copy(0, fresh, part) for kept, part in zip(self.features, new, strict=True))
            parts = []
            for view in turn.split(1):
                # Only the views that this volume compares: what is done to their features is done to all that are handed over.
                needed = torch.cat([view, self.neighbours[view, :].flatten()])
                few = tuple(part[needed] for part in features)
                mine, others = torch.zeros(1, dtype=torch.long, device=device), torch.arange(1, len(needed), device=device)[None]
                levels = model.network.volumes(few, k[needed], pose[needed], mine, others, bounds[view, 0], bounds[view, 1], model.options.follow)  # type: ignore[arg-type]
                parts.append(surface_map(levels, 1))
        surface = self.surface.index_copy(1, turn, torch.cat(parts, dim=1))
        self.features = tuple(f.detach() for f in features)  # type: ignore[assignment]
        self.surface = surface.detach()
        blended = pictures if colors is None else model._stacked(case.pieces(colors), field.cameras.sizes, field.turns, upright)
        return replace(old, images=blended[None], quarter=features[1][None], half=features[2][None], surface=surface)


def as_victim(model: Any, device: torch.device | str = "cpu") -> Any:
    """A victim from what people have at hand: a victim, a `GeneralModel`, a path of weights, or None for the shipped ones."""
    if isinstance(model, GeneralModel):
        return GeneralVictim(model)
    if model is None or isinstance(model, (str, Path)):
        return GeneralVictim.load(None if model is None else Path(model), device)
    if not (hasattr(model, "look") and hasattr(model, "gradients")):
        raise InputError(f"A {type(model).__name__} cannot be attacked. Give a victim of attacks.victims, a GeneralModel, or a path of its weights.")
    return model
