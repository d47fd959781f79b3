"""What an attacker raises: the error of rendered rays, of geometry, of depth; or likeness to a picture of its choice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from attacks.case import Case, Target
from attacks.poses import unseen_camera
from attacks.threat import ThreatModel
from attacks.victims.protocol import Look, Seen, Victim, clean_look
from data.cameras import Cameras

Error = Callable[[Seen, Seen | None, Tensor], Tensor]
"""What rays show now, what they showed before (None where nobody asked), and the colours wanted -> a loss to raise."""


def color_error(now: Seen, clean: Seen | None, wanted: Float[Tensor, "n 3"]) -> Tensor:
    """Mean squared error of the colours."""
    return (now.rgb - wanted).square().mean()


def color_likeness(now: Seen, clean: Seen | None, wanted: Float[Tensor, "n 3"]) -> Tensor:
    """Minus `color_error`: for a picture that shall appear."""
    return -(now.rgb - wanted).square().mean()


def geometry_error(now: Seen, clean: Seen | None, wanted: Tensor) -> Tensor:
    """Mean squared error of the samples' opacities, coarse plus fine (NeRFool+)."""
    assert clean is not None
    terms = [(a - b).square().mean() for a, b in zip(now.alphas, clean.alphas, strict=True)]
    return sum(terms[1:], terms[0]) if terms else (now.opacity - clean.opacity).square().mean()


def depth_error(now: Seen, clean: Seen | None, wanted: Tensor) -> Tensor:
    """Mean distance between the surface now and before, along the ray."""
    assert clean is not None
    return (now.where - clean.where).abs().mean()


def sdf_error(now: Seen, clean: Seen | None, wanted: Tensor) -> Tensor:
    """Mean squared error of the signed distances at the same samples, cut off two units from the surface."""
    if clean is None or now.signed is None or clean.signed is None:
        return depth_error(now, clean, wanted)
    return (now.signed.clamp(-2, 2) - clean.signed.clamp(-2, 2)).square().mean()


SAME_SAMPLES = (geometry_error, sdf_error)
"""Errors that compare sample by sample, and so want the clean render's samples; all others want those that the victim would take."""


def pixels_of(target: Target, count: int, generator: torch.Generator) -> Int[Tensor, "n 2"]:
    """Random pixels (column, row) of a target that count."""
    width, height = (int(v) for v in target.camera.sizes[0])
    if target.mask is not None:
        allowed = torch.nonzero(target.mask.flatten())[:, 0]
        index = allowed[torch.randint(len(allowed), (count,), generator=generator, device=generator.device).cpu()]
    else:
        index = torch.randint(width * height, (count,), generator=generator, device=generator.device).cpu()
    return torch.stack([index % width, index // width], dim=-1)


@dataclass
class RayLoss:
    """Losses of random rays of random views, everything anew in every step.

    An objective of `ascent.ascend`: the first loss is the major one.
    """

    victim: Victim
    case: Case
    views: Sequence[Target]
    """Views whose rays are asked; one a step."""
    threat: ThreatModel
    generator: torch.Generator
    errors: tuple[tuple[Error, float], ...] = ((color_error, 1.0),)
    """Losses and their weights."""
    rays: int = 512
    unseen: float = 0.0
    """Share of the steps that look from a pose between photos (`poses.unseen_camera`), where the clean render stands for the truth."""
    unseen_from: Cameras | None = None
    """Cameras to go between; those of the source photos if not given."""
    fixed: bool = False
    """The same rays in every step, for attacks that compare steps (APGD, Square) and for tests."""
    picture: Float[Tensor, "h w 3"] | None = None
    """A picture to be brought about in every view, instead of the truth."""
    draws: int = 0
    """Steps so far."""
    _drawn: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def clean(self) -> Look:
        """What the victim makes of the clean photos."""
        return clean_look(self.victim, self.case)

    def __call__(self, images: Float[Tensor, "s 3 h w"], step: int) -> tuple[Tensor, ...]:
        target, pixels = self._draw()
        pinned = [error in SAME_SAMPLES for error, _ in self.errors]
        known = self.picture is not None or (target.truth is not None and self.threat.knowledge == "truth")
        before = None if known and self._colors_alone() else self._before(target, pixels)
        look = self.look(images)
        seen = {same: look.trace(target, pixels, before.anchor if same and before is not None else None) for same in set(pinned)}
        wanted = self._wanted(target, pixels, before)
        return tuple(weight * error(seen[same], before, wanted) for (error, weight), same in zip(self.errors, pinned, strict=True))

    def _colors_alone(self) -> bool:
        return all(error in (color_error, color_likeness) for error, _ in self.errors)

    def look(self, images: Float[Tensor, "s 3 h w"]) -> Look:
        """What the victim makes of changed photos, comparable with the clean ones."""
        colors = self.case.photos if self.threat.paths == "feature_only" else None
        return self.victim.look(self.case, images, self.clean, colors)

    def _draw(self) -> tuple[Target, Tensor]:
        if self.fixed and self._drawn:
            return self._drawn["target"], self._drawn["pixels"]
        self.draws += 1
        uniform = torch.rand(2, generator=self.generator, device=self.generator.device).tolist()
        if uniform[0] < self.unseen:
            camera = unseen_camera(self.unseen_from or self.case.cameras, self.generator)
            target = Target("unseen", camera)
        else:
            target = self.views[min(int(uniform[1] * len(self.views)), len(self.views) - 1)]
        pixels = pixels_of(target, self.rays, self.generator)
        self._drawn = {"target": target, "pixels": pixels}
        return target, pixels

    @torch.no_grad()
    def _before(self, target: Target, pixels: Tensor) -> Seen:
        if self.fixed and "before" in self._drawn:
            return self._drawn["before"]  # type: ignore[no-any-return]
        self._drawn["before"] = before = self.clean.trace(target, pixels)
        return before

    def _wanted(self, target: Target, pixels: Tensor, before: Seen | None) -> Float[Tensor, "n 3"]:
        column, row = pixels.unbind(-1)
        if self.picture is not None:
            width, height = (int(v) for v in target.camera.sizes[0])
            picture = fitted(self.picture, height, width)
            return picture[row, column].to(self.victim.device)
        if target.truth is None or self.threat.knowledge == "render":
            assert before is not None
            return before.rgb
        return target.truth[row, column].to(self.victim.device)


def fitted(picture: Float[Tensor, "h w 3"], height: int, width: int) -> Float[Tensor, "h2 w2 3"]:
    """A picture in another size."""
    if picture.shape[:2] == (height, width):
        return picture
    return F.interpolate(picture.permute(2, 0, 1)[None], (height, width), mode="bilinear", antialias=True, align_corners=False)[0].permute(1, 2, 0)
