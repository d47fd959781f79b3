"""Camera poses as what is attacked: small motions of the source cameras, as of a calibration that somebody tampered with."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.base import Attack, Run, Tally
from attacks.case import Case
from attacks.gradient import PGD
from attacks.objectives import RayLoss
from attacks.threat import ThreatModel
from attacks.victims.general import GeneralVictim
from attacks.victims.protocol import Look, Victim
from data.errors import InputError
from recon.general.views import mean_distance


def motions(turn: Float[Tensor, "s 3"], shift: Float[Tensor, "s 3"]) -> Float[Tensor, "s 4 4"]:
    """Rotation vectors (radians) and translations -> motions (`GeneralModel.condition`); differentiable, exact rotations."""
    zero = torch.zeros_like(turn[:, 0])
    x, y, z = turn.unbind(-1)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).view(-1, 3, 3)
    top = torch.cat([torch.linalg.matrix_exp(cross), shift[:, :, None]], dim=2)
    bottom = torch.tensor([0.0, 0.0, 0.0, 1.0], device=turn.device).expand(len(turn), 1, 4)
    return torch.cat([top, bottom], dim=1)


@dataclass(frozen=True)
class PoseAttack(Attack):
    """Sign ascent on the error of the target views; photos stay clean (``eps`` is not used)."""

    steps: int = 50
    degrees: float = 1.0
    """Largest turn of a camera about each axis of the world."""
    share: float = 0.02
    """Largest translation along each axis, as a share of the mean distance between cameras."""
    random: bool = False
    """A control: corners of the same box at random instead of ascent."""

    name = "pose"

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`; the motion is noted in the tally."""
        if not isinstance(victim, GeneralVictim):
            raise InputError("Camera poses are attacked through the general engine. Give a GeneralVictim.")
        if self.degrees < 0 or self.share < 0:
            raise InputError("A pose attack needs degrees and share of at least 0. Correct them.")
        bounds = torch.tensor([self.degrees * torch.pi / 180] * 3 + [self.share * mean_distance(case.cameras)] * 3, device=victim.device)
        draw = torch.rand(len(case), 6, generator=generator).to(victim.device)
        state = (2 * draw - 1) * bounds
        if self.random:
            tally.motion = motions(*((2.0 * (draw < 0.5) - 1) * bounds).split(3, dim=1))
            yield 1.0
            return case.photos
        loss = _Moving(victim, case, PGD(self.model).aims(case), threat, generator, rays=self.rays)
        for index in range(threat.steps):
            leaf = state.clone().requires_grad_()
            loss.motion = motions(*leaf.split(3, dim=1))
            value = loss(case.photos, index)[0]
            gradient = torch.autograd.grad(value, leaf)[0]
            tally.losses.append(float(value.detach()))
            tally.largest.append(float(gradient.abs().max()))
            tally.gradients += 1
            state = torch.minimum(torch.maximum(state + 4 / threat.steps * bounds * gradient.sign(), -bounds), bounds)
            yield (index + 1) / threat.steps
        tally.motion = motions(*state.split(3, dim=1))
        return case.photos


class _Moving(RayLoss):
    """Rays of the target views, with the source cameras moved."""

    motion: Tensor

    def look(self, images: Tensor) -> Look:
        assert isinstance(self.victim, GeneralVictim)
        return self.victim.look_from(self.case, images, self.clean, moved=self.motion)
