"""Gradient ascent inside the ball: one loop for every first-order attack; the rule that turns gradients into steps is exchangeable.

``torchattacks.PGD(model, eps, alpha, steps)(images, labels)`` and ``ascend(loss, clean, threat, SignStep(alpha))`` give the same
photos for the same loss and start (tests/attacks/test_oracles.py).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.ball import allowed, steepest
from attacks.conflicts import reconciled
from attacks.threat import Norm, ThreatModel

Objective = Callable[[Tensor, int], tuple[Tensor, ...]]
"""Photos and the number of the step -> losses to raise. Of several the gradients are reconciled, the first is the major one."""


@dataclass(frozen=True)
class Step:
    """What one step saw."""

    index: int
    loss: float
    gradient: float
    """Largest absolute value of the gradient."""


@runtime_checkable
class Rule(Protocol):
    """Photos and gradient -> photos, before they are brought back into the ball. May keep a state; made anew for every start."""

    def __call__(self, images: Tensor, gradient: Tensor, inside: Tensor) -> Tensor: ...


class SignStep:
    """Projected gradient descent (Madry et al. 2018): a step of fixed size along the steepest direction of the norm."""

    def __init__(self, alpha: float, norm: Norm = "linf") -> None:
        self.alpha, self.norm = alpha, norm

    def __call__(self, images: Tensor, gradient: Tensor, inside: Tensor) -> Tensor:
        return images + self.alpha * steepest(gradient, self.norm, inside)


class AdamStep:
    """Adam (Kingma and Ba 2015) on the change, as NeRFool uses it; no weight decay."""

    def __init__(self, rate: float, betas: tuple[float, float] = (0.9, 0.999), tiny: float = 1e-8) -> None:
        self.rate, self.betas, self.tiny = rate, betas, tiny
        self.first: Tensor | None = None
        self.second: Tensor | None = None
        self.count = 0

    def __call__(self, images: Tensor, gradient: Tensor, inside: Tensor) -> Tensor:
        a, b = self.betas
        if self.first is None or self.second is None:
            self.first, self.second = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self.count += 1
        self.first = a * self.first + (1 - a) * gradient
        self.second = b * self.second + (1 - b) * gradient.square()
        mean, spread = self.first / (1 - a**self.count), (self.second / (1 - b**self.count)).sqrt()
        return images + self.rate * mean / (spread + self.tiny) * inside


def ascend(
    objective: Objective, clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, rule: Rule, start: Float[Tensor, "s 3 h w"] | None = None,
    inside: Float[Tensor, "s 1 h w"] | None = None, reconcile: bool = True,
) -> Generator[Step, None, Float[Tensor, "s 3 h w"]]:  # fmt: skip
    """Raise an objective for ``threat.steps`` steps.

    Args:
        start: where to begin; at the clean photos if not given.
        inside: 1 where photos may change; everywhere if not given.
        reconcile: of several losses, remove from each gradient what lowers the others (`conflicts.reconciled`); else add them.
    """
    inside = torch.ones_like(clean[:, :1]) if inside is None else inside
    images = clean.clone() if start is None else start.clone()
    for index in range(threat.steps):
        losses, gradients = gradients_of(objective, images, index)
        gradient = reconciled(gradients) if reconcile else sum(gradients[1:], gradients[0])
        yield Step(index, float(losses[0]), float(gradient.abs().max()))
        images = allowed(rule(images, gradient, inside), clean, threat, inside)
    return images


def gradients_of(objective: Objective, images: Tensor, index: int) -> tuple[list[Tensor], list[Tensor]]:
    """The losses at some photos and their gradients; a loss that does not depend on the photos has a gradient of zeros."""
    leaf = images.detach().requires_grad_()
    with torch.enable_grad():
        losses = objective(leaf, index)
        gradients = []
        for i, loss in enumerate(losses):
            found = torch.autograd.grad(loss, leaf, retain_graph=i + 1 < len(losses), allow_unused=True)[0] if loss.requires_grad else None
            gradients.append(torch.zeros_like(images) if found is None else found.detach())
    return [loss.detach() for loss in losses], gradients
