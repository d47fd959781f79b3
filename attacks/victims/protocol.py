"""The one protocol that attacks speak: a victim looks at photos; what it saw can be asked along rays."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attacks.case import Case, Target
from data.errors import InputError
from recon.pictures import Picture


@dataclass(frozen=True)
class Seen:
    """What a victim says about n rays; everything may carry gradients back to the photos."""

    rgb: Float[Tensor, "n 3"]
    where: Float[Tensor, "n"]
    """Expected place of the surface along the ray, on the victim's own scale (for the general engine 0 near to 1 far)."""
    opacity: Float[Tensor, "n"]
    alphas: tuple[Float[Tensor, "n _"], ...] = ()
    """Opacities of the samples (coarse, fine), if the victim has such; comparable between two looks if these share their samples."""
    signed: Float[Tensor, "n _"] | None = None
    """Signed distances of the samples in units of the victim's own, if it has such."""
    anchor: Any = None
    """What pins the samples down: give it to `Look.trace` of another look to ask the same samples."""


@runtime_checkable
class Look(Protocol):
    """Photos that a victim has looked at."""

    def trace(self, target: Target, pixels: Int[Tensor, "n 2"], anchor: Any = None) -> Seen:
        """Rays through pixels (column, row) of a target view."""
        ...

    def picture(self, target: Target) -> Picture:
        """The whole view as the product renders it; no gradients."""
        ...


@runtime_checkable
class Victim(Protocol):
    """Whatever turns photos into views."""

    name: str
    gradients: bool
    """Whether gradients reach the photos. A victim without them is open to black-box attacks and to photos made for another one."""

    @property
    def device(self) -> torch.device: ...

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> Look:
        """Look at photos.

        Args:
            like: an earlier look at other versions of the photos, whose ranges and samples are kept, so that both are comparable; without it
                everything is found anew from these photos, as a user's reconstruction would.
            colors: photos that colour is blended from, if others than ``images`` (`ThreatModel.paths`).
        """
        ...


def clean_look(victim: Victim, case: Case) -> Look:
    """What a victim makes of a case's clean photos; the case remembers it."""
    known = case.looks.get(id(victim))
    if known is None or known[0] is not victim:
        with torch.no_grad():
            case.looks[id(victim)] = known = (victim, victim.look(case, case.photos))
    look: Look = known[1]
    return look


def needs_gradients(victim: Victim, attack: str) -> None:
    """An error where a white-box attack meets a victim without gradients."""
    if not victim.gradients:
        raise InputError(
            f"{attack} follows gradients, and '{victim.name}' has none that reach the photos. Use a black-box attack (square) or make the photos "
            "for another victim and transfer them."
        )
