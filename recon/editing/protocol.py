"""`ImageEditor`: whatever edits photos as a sentence says."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from data.progress import Progress
from recon.depthviews import Links

Detail = Literal["photo", "editor"]
"""Whose detail edited photos have: the photo's (the edit is a smooth field of colours), or the editor's (its pixels are taken)."""


@dataclass(frozen=True)
class EditRequest:
    """What an editor is asked to do."""

    photos: Float[Tensor, "n 3 h w"]
    """What the scene looks like unedited, sRGB, 0 to 1: the edit is of these."""
    prompt: str
    depth: Float[Tensor, "n h w"] | None = None
    """Along the optical axes; 0 where unknown."""
    renders: Float[Tensor, "n 3 h w"] | None = None
    """How the views look as the edited scene stands: editing goes on from there. None: from nothing."""
    strength: float = 1.0
    """How far editing may go from ``renders``: the share of the noise that they are hidden in, 0 to 1."""
    seed: int = 0
    noise: Float[Tensor, "n 3 h w"] | None = None
    """Noise of unit variance that agrees between the views; for editors that can use it."""
    links: Links | None = None
    """Where the views show the same; for editors that look at several views at once."""


@runtime_checkable
class ImageEditor(Protocol):
    """Edits photos as a sentence says."""

    @property
    def name(self) -> str:
        """For reports and `edit.toml`: `shipped`, or what was given as the model."""
        ...

    @property
    def side(self) -> int:
        """Longest side of the pictures that it works on, pixels."""
        ...

    @property
    def multiple(self) -> int:
        """Their sides are multiples of this."""
        ...

    @property
    def detail(self) -> Detail:
        """Whose detail edited photos have."""
        ...

    @property
    def device(self) -> torch.device:
        """Where it works."""
        ...

    def check(self, prompt: str) -> None:
        """Whether it can follow a sentence.

        Raises:
            InputError: it cannot; says why, and what it could.
        """
        ...

    def suggestions(self) -> Sequence[str]:
        """Sentences that it understands."""
        ...

    def edit(self, request: EditRequest) -> Generator[Progress, None, Float[Tensor, "n 3 h w"]]:
        """Edited photos, 0 to 1, with progress in stage `edit`; closing the generator ends it.

        Raises:
            InputError: the memory does not suffice, with what would.
        """
        ...
