"""APGD: projected gradient ascent with momentum that sets its own step size (Croce and Hein 2020)."""

from collections.abc import Generator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.ascent import Objective, Step, gradients_of
from attacks.ball import allowed, random_start, steepest
from attacks.base import Attack, Run, Tally
from attacks.case import Case
from attacks.gradient import PGD
from attacks.objectives import RayLoss
from attacks.threat import ThreatModel
from attacks.victims.protocol import Victim
from data.progress import told

MOMENTUM, PROGRESS = 0.75, 0.75
"""Share of the new step, and share of the steps between two checkpoints that must have helped."""


def checkpoints(steps: int) -> list[int]:
    """Steps after which the step size is judged: the first after 22 %, then ever closer, 6 % apart at last."""
    shares, out = [0.0, 0.22], []
    while shares[-1] < 1:
        out.append(max(int(shares[-1] * steps), 1))
        shares.append(shares[-1] + max(shares[-1] - shares[-2] - 0.03, 0.06))
    return sorted(set(out))


def apgd(
    objective: Objective, clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, start: Float[Tensor, "s 3 h w"] | None = None,
    inside: Float[Tensor, "s 1 h w"] | None = None,
) -> Generator[Step, None, Float[Tensor, "s 3 h w"]]:  # fmt: skip
    """Raise a deterministic objective; the photos with the highest loss are returned."""
    inside = torch.ones_like(clean[:, :1]) if inside is None else inside
    images = clean.clone() if start is None else start.clone()
    previous, size = images, 2 * threat.eps
    judged, since = checkpoints(threat.steps), 0
    losses, gradients = gradients_of(objective, images, 0)
    gradient, loss = gradients[0], float(losses[0])
    best, best_gradient, highest = images, gradient, loss
    reference, rises, last = loss, 0, 0
    halved = True
    for index in range(threat.steps):
        yield Step(index, loss, float(gradient.abs().max()))
        share = MOMENTUM if index else 1.0
        ahead = allowed(images + size * steepest(gradient, threat.norm, inside), clean, threat, inside)
        step = images + share * (ahead - images) + (1 - share) * (images - previous)
        previous, images = images, allowed(step, clean, threat, inside)
        losses, gradients = gradients_of(objective, images, index + 1)
        gradient, now = gradients[0], float(losses[0])
        rises += now > loss
        loss = now
        if now > highest:
            best, best_gradient, highest = images, gradient, now
        since = index + 1
        if since in judged:
            few = rises < PROGRESS * (since - last)
            stuck = not halved and highest <= reference
            halved = few or stuck
            if halved:
                size /= 2
                images, gradient, loss = best, best_gradient, highest
                previous = images
            reference, rises, last = highest, 0, since
    return best


@dataclass(frozen=True)
class APGD(Attack):
    """Parameter-free ascent on the error of fixed rays of the target views."""

    rays: int = 2048

    name = "apgd"

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`."""
        views = PGD(self.model, knowledge=self.knowledge).aims(case)
        loss = RayLoss(victim, case, views, threat, generator, rays=self.rays, fixed=True)
        best, highest = case.photos, -torch.inf
        for restart in range(threat.restarts):
            work = apgd(loss, case.photos, threat, random_start(case.photos, threat, inside, generator), inside)
            images = yield from told(work, lambda step, restart=restart: tally.note(step, restart, threat))  # type: ignore[misc]
            with torch.no_grad():
                value = float(loss(images, 0)[0])
            tally.queries += 1
            if value > highest:
                best, highest = images, value
        return best
