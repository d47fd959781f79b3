"""What every attack is: options and one call. ``PGD(model, eps=8/255, alpha=2/255, steps=10)(scene)``."""

import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.ascent import Step
from attacks.ball import rounded
from attacks.case import Case, prepared, read_universal
from attacks.threat import Knowledge, Norm, Paths, ThreatModel
from attacks.victims.general import as_victim
from attacks.victims.protocol import Victim
from data.progress import drained
from data.scene import Scene


@dataclass(frozen=True)
class Adversarial:
    """Changed photos, and how they came about."""

    images: Float[Tensor, "s 3 h w"]
    """As anybody would get them: allowed by the threat model, 8 bits a value if it says so."""
    exact: Float[Tensor, "s 3 h w"]
    """Before rounding."""
    case: Case
    threat: ThreatModel
    method: str
    seconds: float
    gradients: int
    """How many gradients of the victim were asked for."""
    queries: int
    """How many losses without a gradient."""
    losses: tuple[float, ...] = ()
    largest_gradients: tuple[float, ...] = ()
    motion: Float[Tensor, "s 4 4"] | None = None
    """How the cameras moved, for attacks on poses (`GeneralModel.condition`)."""

    @property
    def delta(self) -> Float[Tensor, "s 3 h w"]:
        """The change."""
        return self.images - self.case.photos


@dataclass
class Tally:
    """What an attack has done so far; attacks fill it in as they go."""

    losses: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    gradients: int = 0
    queries: int = 0
    motion: Tensor | None = None

    def note(self, step: Step, restart: int, threat: ThreatModel) -> float:
        """Keep what a step saw; the share of the attack that is done."""
        self.losses.append(step.loss)
        self.largest.append(step.gradient)
        self.gradients += 1
        return (restart + (step.index + 1) / threat.steps) / threat.restarts


Run = Generator[float, None, Float[Tensor, "s 3 h w"]]
"""Yields the share that is done; returns photos before rounding."""


@dataclass(frozen=True)
class Attack:
    """Options common to all attacks. ``model``: a victim, a `GeneralModel`, a path of weights, or None for the shipped ones."""

    model: Any = None
    eps: float = 8 / 255
    """See `ThreatModel`, likewise the others that it shares."""
    steps: int = 100
    norm: Norm = "linf"
    views: int | None = None
    paths: Paths = "both"
    knowledge: Knowledge = "truth"
    restarts: int = 1
    rays: int = 512
    """Rays that each step asks."""
    rounded: bool = True
    seed: int = 0

    name = "attack"
    white_box = True
    universal = False
    """Whether one change shall serve for all target views (it then learns from the case's proxies), not for each its own."""

    @property
    def threat(self) -> ThreatModel:
        """Checked options.

        Raises:
            InputError: an option makes no sense; the text names it.
        """
        return ThreatModel(self.norm, self.eps, self.views, self.paths, self.knowledge, not self.universal, False, self.steps, self.restarts, self.rounded)

    def __call__(self, scene: Scene | Case) -> Adversarial:
        """Change the source photos of a case; of a scene (shrunk to 504 pixels), those of `case.read_universal`."""
        return drained(self.run(scene))

    def run(self, scene: Scene | Case) -> Generator[float, None, Adversarial]:
        """The same as a generator that yields the share that is done and may be closed."""
        threat, victim = self.threat, as_victim(self.model)
        if self.white_box:
            from attacks.victims.protocol import needs_gradients

            needs_gradients(victim, self.name)
        case = scene if isinstance(scene, Case) else read_universal(prepared(scene, 504))
        case = case.to(victim.device)
        inside = case.attackable(threat.views)
        tally, started = Tally(), time.perf_counter()
        if threat.eps == 0:  # exactly the clean photos, whatever the method
            exact = case.photos
        else:
            exact = yield from self.changed(victim, case, threat, inside, torch.Generator().manual_seed(self.seed), tally)
        images = rounded(exact, case.photos, threat, inside) if threat.rounded else exact
        seconds = time.perf_counter() - started
        return Adversarial(
            images, exact, case, threat, self.name, seconds, tally.gradients, tally.queries, tuple(tally.losses), tuple(tally.largest), tally.motion
        )

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """The photos changed, before rounding."""
        raise NotImplementedError
