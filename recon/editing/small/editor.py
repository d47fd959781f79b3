"""The shipped editor as an `ImageEditor`: several views at once, which agree while they take shape."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from data.progress import Progress
from recon.depthviews import Links, nearness
from recon.editing.prompts import SUGGESTIONS, understood
from recon.editing.protocol import Detail, EditRequest
from recon.editing.small.networks import load
from recon.editing.small.pipeline import MULTIPLE, SmallEditPipeline
from recon.editing.transfer import carried
from recon.relay import relayed

AGREEMENT = 0.8
"""How far each view's prediction is drawn towards what the others predict for the same places, at every step."""


@dataclass(frozen=True)
class SmallEditor:
    """See `small.pipeline`."""

    pipeline: SmallEditPipeline
    name: str = "shipped"
    side: int = 256
    multiple: int = MULTIPLE
    detail: Detail = "photo"
    steps: int = 6
    guidance: float = 1.0

    @classmethod
    def from_pretrained(cls, folder: Path | None = None, device: torch.device | str = "cpu") -> "SmallEditor":
        """The editor that comes with the program, or another of its kind.

        Raises:
            InputError: its files cannot be used.
        """
        return cls(load(folder, device), "shipped" if folder is None else str(folder))

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.pipeline.unet.device  # type: ignore[no-any-return]

    def check(self, prompt: str) -> None:
        """See `ImageEditor`; every word must be one that the editor was taught."""
        understood(prompt)

    def suggestions(self) -> Sequence[str]:
        """See `ImageEditor`."""
        return SUGGESTIONS

    def edit(self, request: EditRequest) -> Generator[Progress, None, Float[Tensor, "n 3 h w"]]:
        """See `ImageEditor`."""
        photos = request.photos.to(self.device)
        near = None if request.depth is None else nearness(request.depth.to(self.device))[:, None]
        renders = None if request.renders is None else request.renders.to(self.device)
        noise = None if request.noise is None else request.noise.to(self.device)
        taken = max(min(round(self.steps * request.strength), self.steps), 1) if renders is not None else self.steps

        def work(tell: Callable[[Progress], None]) -> Tensor:
            def hook(step: int, clean: Tensor) -> Tensor:
                tell(Progress("edit", (step + 1) / taken, f"step {step + 1} of {taken}"))
                return clean if request.links is None else 2 * agreed(photos, (clean + 1) / 2, request.links) - 1

            return self.pipeline(
                photos, request.prompt, near, renders, noise, self.steps, self.guidance, request.strength,
                torch.Generator(self.device).manual_seed(request.seed), hook,
            )  # fmt: skip

        return (yield from relayed(work))


def agreed(photos: Float[Tensor, "n 3 h w"], pictures: Float[Tensor, "n 3 h w"], links: Links) -> Float[Tensor, "n 3 h w"]:
    """Each view drawn towards what its neighbours make of the same places: predict, then blend."""
    blended, total = carried(photos, pictures, links, own=0.25)
    known = (total - 0.25).clamp(min=0)
    weight = AGREEMENT * known / (known + 0.1)
    return pictures + weight * (blended - pictures)
