"""White-box attacks that follow the gradient of rendered rays: FGSM, PGD, NeRFool and its successors, targeted, depth and patch attacks."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.ascent import AdamStep, Rule, SignStep, ascend
from attacks.ball import random_start, uniform
from attacks.base import Attack, Run, Tally
from attacks.case import Case, Target
from attacks.objectives import Error, RayLoss, color_error, color_likeness, depth_error, geometry_error, sdf_error
from attacks.threat import ThreatModel
from attacks.victims.protocol import Victim
from data.cameras import Cameras
from data.errors import InputError
from data.progress import told


@dataclass(frozen=True)
class PGD(Attack):
    """Projected gradient descent (Madry et al. 2018) on the error of random rays of the target views."""

    alpha: float = 2 / 255
    """Size of a step, or Adam's rate."""
    update: str = "sign"
    """sign: steps of full size along the steepest direction of the norm; adam: as NeRFool takes them."""
    random_start: bool = True
    reconcile: bool = True
    """With several losses: see `ascent.ascend`."""

    name = "pgd"

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`."""
        best, highest = None, -torch.inf
        for restart in range(threat.restarts):
            loss = self.loss(victim, case, threat, generator)
            start = random_start(case.photos, threat, inside, generator) if self.random_start else None
            ascent = ascend(loss, case.photos, threat, self.rule(), start, inside, self.reconcile)
            images = yield from told(ascent, lambda step, restart=restart: tally.note(step, restart, threat))  # type: ignore[misc]
            if threat.restarts == 1:
                return images
            value = self._worth(loss, images)
            tally.queries += 1
            if value > highest:
                best, highest = images, value
        assert best is not None
        return best

    def loss(self, victim: Victim, case: Case, threat: ThreatModel, generator: torch.Generator) -> RayLoss:
        """What is raised."""
        return RayLoss(victim, case, self.aims(case), threat, generator, self.errors(), self.rays)

    def errors(self) -> tuple[tuple[Error, float], ...]:
        """Losses and their weights."""
        return ((color_error, 1.0),)

    def aims(self, case: Case) -> Sequence[Target]:
        """Views that the attack looks from."""
        views = case.proxies if self.universal else case.targets
        if not views:
            what = "photographed views to learn from (proxies)" if self.universal else "target views"
            raise InputError(f"'{case.name}' has no {what}. Make the case with some.")
        if self.knowledge == "truth" and color_error in [error for error, _ in self.errors()]:
            for view in views:
                view.needs_truth(f"{self.name} with knowledge of the truth")
        return views

    def rule(self) -> Rule:
        """A fresh rule for one start."""
        if self.update == "adam":
            return AdamStep(self.alpha)
        if self.update == "sign":
            return SignStep(self.alpha, self.norm)
        raise InputError(f"There is no update '{self.update}'. Choose sign or adam.")

    @staticmethod
    @torch.no_grad()
    def _worth(loss: RayLoss, images: Tensor) -> float:
        """Loss over rays that are the same for all starts."""
        judge = RayLoss(loss.victim, loss.case, loss.views, loss.threat, torch.Generator().manual_seed(1), loss.errors, 2048, picture=loss.picture)
        return float(judge(images, 0)[0])


@dataclass(frozen=True)
class FGSM(PGD):
    """One step of full size from the clean photos (Goodfellow et al. 2015)."""

    steps: int = 1
    alpha: float = 0.0
    """Always epsilon."""
    random_start: bool = False
    rays: int = 4096

    name = "fgsm"

    def rule(self) -> Rule:
        """See `PGD.rule`."""
        return SignStep(self.eps, self.norm)


@dataclass(frozen=True)
class NeRFool(PGD):
    """NeRFool (Fu et al. 2023), view-specific: Adam on the error of the very view that will be rendered.

    The authors' README takes 1000 steps at the rate 1e-3 with 512 rays; see reference/robustness.md, 1.3 A.
    """

    steps: int = 1000
    alpha: float = 1e-3
    update: str = "adam"

    name = "nerfool"


@dataclass(frozen=True)
class UniversalNeRFool(NeRFool):
    """NeRFool for all views at once: the scene's training photos stand for the views to come (1.3 B)."""

    name = "nerfool-universal"
    universal = True


@dataclass(frozen=True)
class NeRFoolPlus(UniversalNeRFool):
    """NeRFool+: poses between photos, where the clean render is the truth, and a geometry loss that yields to colour (1.3 C)."""

    unseen: float = 0.5
    """Share of the steps that look from between the photos."""
    geometry: float = 0.1
    """Weight of the geometry loss beside that of colour; 0 leaves it out."""
    shape: str = "depth"
    """What the geometry loss compares: depth, or alphas (opacities of the samples, as in the released code). The gradient of the latter is
    much longer than that of colour and fades once a surface has moved away: with it, take a smaller weight (0.02)."""

    name = "nerfool+"

    def errors(self) -> tuple[tuple[Error, float], ...]:
        """See `PGD.errors`."""
        if self.shape not in ("depth", "alphas"):
            raise InputError(f"NeRFool+ compares no '{self.shape}'. Choose depth or alphas.")
        geometry = depth_error if self.shape == "depth" else geometry_error
        return ((color_error, 1.0), (geometry, self.geometry)) if self.geometry else ((color_error, 1.0),)

    def loss(self, victim: Victim, case: Case, threat: ThreatModel, generator: torch.Generator) -> RayLoss:
        """See `PGD.loss`."""
        views = self.aims(case)
        return RayLoss(victim, case, views, threat, generator, self.errors(), self.rays, self.unseen, _cameras(views))


@dataclass(frozen=True)
class Targeted(NeRFool):
    """Make every target view show a picture of the attacker's choice (Horvath and Jozsa 2023)."""

    picture: Float[Tensor, "h w 3"] | None = None
    """The picture: another scene's render or photo, any size."""

    name = "targeted"

    @property
    def threat(self) -> ThreatModel:
        """See `Attack.threat`."""
        from dataclasses import replace

        return replace(super().threat, targeted=True)

    def errors(self) -> tuple[tuple[Error, float], ...]:
        """See `PGD.errors`."""
        return ((color_likeness, 1.0),)

    def loss(self, victim: Victim, case: Case, threat: ThreatModel, generator: torch.Generator) -> RayLoss:
        """See `PGD.loss`."""
        if self.picture is None:
            raise InputError("A targeted attack needs the picture that shall appear. Give one (another scene's render or photo).")
        return RayLoss(victim, case, self.aims(case), threat, generator, self.errors(), self.rays, picture=self.picture)


@dataclass(frozen=True)
class DepthAttack(NeRFool):
    """Move the surface, whatever the colours do; needs no truth."""

    quantity: str = "depth"
    """depth: where rays meet the surface; sdf: the signed distances around it."""

    name = "depth"

    def errors(self) -> tuple[tuple[Error, float], ...]:
        """See `PGD.errors`."""
        if self.quantity not in ("depth", "sdf"):
            raise InputError(f"There is no quantity '{self.quantity}' to attack. Choose depth or sdf.")
        return ((depth_error if self.quantity == "depth" else sdf_error, 1.0),)


@dataclass(frozen=True)
class Patch(PGD):
    """A square patch in each photo (or in ``views`` of them) that may show anything, as a sticker does; the rest stays clean.

    ``eps`` is how far values may go inside it: 1 by default.
    """

    eps: float = 1.0
    alpha: float = 0.05
    share: float = 0.15
    """Side of the patch as a share of the photo's shorter side."""

    name = "patch"

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`."""
        if not 0 < self.share <= 1:
            raise InputError(f"A patch of {self.share:g} times the photo's side is none. Give a share between 0 and 1.")
        window = torch.zeros_like(inside)
        for plane, (width, height) in zip(window, case.cameras.sizes, strict=True):
            side = max(round(self.share * min(width, height)), 1)
            x, y = (uniform((2,), generator, torch.device("cpu")) * torch.tensor([width - side + 1, height - side + 1])).long().tolist()
            plane[:, y : y + side, x : x + side] = 1
        return (yield from super().changed(victim, case, threat, inside * window, generator, tally))


def _cameras(views: Sequence[Target]) -> Cameras | None:
    """The cameras of views of one size (poses between them take the first one's lens), or None where there are fewer than three."""
    if len(views) < 3:
        return None
    import numpy as np

    cams = [v.camera for v in views]
    return Cameras.pinhole(*(np.concatenate([getattr(c, name) for c in cams]) for name in ("intrinsics", "camera_to_world", "sizes")))
