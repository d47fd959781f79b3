"""Noise of the same budget: what any attack must beat before it may be called one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.ball import allowed, normal, random_start, steepest, uniform
from attacks.base import Attack, Run, Tally
from attacks.case import Case
from attacks.threat import ThreatModel
from attacks.victims.protocol import Victim


@dataclass(frozen=True)
class Control(Attack):
    """Asks the victim nothing."""

    steps: int = 1
    white_box = False

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`."""
        yield 0.0
        return self.noisy(case.photos, threat, inside, generator)

    def noisy(self, clean: Tensor, threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Tensor:
        """Photos with noise."""
        raise NotImplementedError


@dataclass(frozen=True)
class UniformNoise(Control):
    """Every value changed by a number uniform within the budget."""

    name = "uniform"

    def noisy(self, clean: Tensor, threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Tensor:
        """See `Control.noisy`."""
        return random_start(clean, threat, inside, generator)


@dataclass(frozen=True)
class GaussianNoise(Control):
    """Normal numbers; linf: of standard deviation epsilon, cut off at the budget; l2: scaled onto the ball."""

    name = "gaussian"

    def noisy(self, clean: Tensor, threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Tensor:
        """See `Control.noisy`."""
        noise = normal(clean.shape, generator, clean.device)
        noise = steepest(noise, "l2", inside) * threat.eps
        return allowed(clean + noise, clean, threat, inside)


@dataclass(frozen=True)
class RandomSign(Control):
    """Every value changed by the whole budget, up or down: the strongest noise that the budget allows, in both norms."""

    name = "random-sign"

    def noisy(self, clean: Tensor, threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Tensor:
        """See `Control.noisy`."""
        signs = 2.0 * (uniform(clean.shape, generator, clean.device) < 0.5) - 1.0
        return allowed(clean + threat.eps * signs, clean, threat, inside)


@dataclass(frozen=True)
class Transplanted(Control):
    """Another attack's change, given to the wrong photos: tells structure that is aimed from structure that merely looks odd."""

    delta: Tensor | None = None

    name = "transplanted"

    def noisy(self, clean: Tensor, threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Tensor:
        """See `Control.noisy`."""
        if self.delta is None:
            return clean
        order = torch.roll(torch.arange(len(clean)), 1)
        return allowed(clean + self.delta.to(clean)[order].flip(-1), clean, threat, inside)
