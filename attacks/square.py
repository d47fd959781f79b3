"""Square attack (Andriushchenko et al. 2020): random squares of full budget, kept if the loss rises. Asks for no gradient."""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.ball import allowed, uniform
from attacks.base import Attack, Run, Tally
from attacks.case import Case
from attacks.gradient import PGD
from attacks.objectives import RayLoss
from attacks.threat import ThreatModel
from attacks.victims.protocol import Victim
from data.errors import InputError
from data.progress import told


def share_of_pixels(first: float, index: int, queries: int) -> float:
    """Area of the squares as a share of the photo's: halved at fixed points of the budget."""
    at = int(index / max(queries, 1) * 10_000)
    halvings = sum(at > point for point in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
    return first / 2**halvings


def square(
    loss: Callable[[Tensor], float], clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, inside: Float[Tensor, "s 1 h w"],
    generator: torch.Generator, first: float = 0.3,
) -> Generator[tuple[int, float], None, Float[Tensor, "s 3 h w"]]:  # fmt: skip
    """Raise a loss by ``threat.steps`` queries; one square in one photo at a time. Yields query and loss.

    Raises:
        InputError: the norm is not linf.
    """
    if threat.norm != "linf":
        raise InputError("The square attack is written for the norm linf. Choose linf, or a gradient attack for l2.")
    s, _, h, w = clean.shape

    def signs(*shape: int) -> Tensor:
        return 2.0 * (uniform(shape, generator, clean.device) < 0.5) - 1.0

    images = allowed(clean + threat.eps * signs(s, 3, 1, w), clean, threat, inside)
    best = loss(images)
    yield 0, best
    changeable = torch.nonzero(inside.flatten(1).amax(1) > 0)[:, 0].tolist()
    for index in range(1, threat.steps):
        side = max(round((share_of_pixels(first, index, threat.steps) * h * w) ** 0.5), 1)
        side = min(side, h, w)
        draw = uniform((3,), generator, torch.device("cpu")).tolist()
        photo = changeable[min(int(draw[0] * len(changeable)), len(changeable) - 1)]
        y, x = min(int(draw[1] * (h - side + 1)), h - side), min(int(draw[2] * (w - side + 1)), w - side)
        trial = images.clone()
        window = (photo, slice(None), slice(y, y + side), slice(x, x + side))
        trial[window] = clean[window] + threat.eps * signs(3, 1, 1)
        trial = allowed(trial, clean, threat, inside)
        value = loss(trial)
        if value > best:
            images, best = trial, value
        yield index, best
    return images


@dataclass(frozen=True)
class Square(Attack):
    """Black box: the attacker sees nothing but rendered pixels of the target views."""

    steps: int = 1000
    """Renderings asked for."""
    rays: int = 2048

    name = "square"
    white_box = False

    def changed(self, victim: Victim, case: Case, threat: ThreatModel, inside: Tensor, generator: torch.Generator, tally: Tally) -> Run:
        """See `Attack.changed`."""
        views = PGD(self.model, knowledge=self.knowledge).aims(case)
        objective = RayLoss(victim, case, views, threat, generator, rays=self.rays, fixed=True)

        def loss(images: Tensor) -> float:
            with torch.no_grad():
                return float(objective(images, 0)[0])

        work = square(loss, case.photos, threat, inside, generator)
        def note(query: tuple[int, float]) -> float:
            tally.losses.append(query[1])
            tally.queries += 1
            return (query[0] + 1) / threat.steps

        return (yield from told(work, note))
