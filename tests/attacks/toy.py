"""A renderer small enough to know the right answer: no depth, pixels are weighted sums of the photos'."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attacks.case import Case, Target
from attacks.victims.protocol import Look, Seen
from recon.pictures import Picture
from tests.conftest import ring_of_cameras


def toy_case(sources: int = 3, size: int = 16, seed: int = 0, truth: bool = True) -> Case:
    """Random photos of 8 bits, two targets."""
    generator = torch.Generator().manual_seed(seed)
    cameras = ring_of_cameras(sources + 2, size)
    photos = torch.randint(0, 256, (sources, 3, size, size), generator=generator) / 255
    names = tuple(f"{i}.png" for i in range(sources))

    def target(i: int) -> Target:
        picture = torch.rand(size, size, 3, generator=generator) if truth else None
        return Target(f"target {i}", cameras.select([i]), picture)

    targets = (target(sources), target(sources + 1))
    proxies = tuple(Target(n, cameras.select([i]), photos[i].permute(1, 2, 0)) for i, n in enumerate(names))
    return Case("toy", photos, cameras.select(range(sources)), names, targets, proxies)


@dataclass
class ToyVictim:
    """Pixels are a linear map of the photos at the same place; with a trigger, one photo's red channel counts a hundredfold."""

    gradients: bool = True
    trigger: int | None = None
    masked: bool = False
    """Quantise the photos, so that gradients vanish."""
    noisy: bool = False
    name: str = "toy"

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")

    def look(self, case: Case, images: Tensor, like: Look | None = None, colors: Tensor | None = None) -> "ToyLook":
        if self.masked:
            images = torch.round(images * 8) / 8
        weights = torch.linspace(0.2, 0.6, len(images))
        if self.trigger is not None:
            weights = torch.full((len(images),), 0.01)
            weights[self.trigger] = 1.0
        blended = ((images if colors is None else 0.5 * (images + colors)) * weights[:, None, None, None]).sum(0)
        if self.noisy:
            blended = blended + 0.01 * torch.randn_like(blended)
        return ToyLook(blended, images.mean((0, 1)))


@dataclass
class ToyLook:
    picture_: Tensor
    surface: Tensor

    def trace(self, target: Target, pixels: Tensor, anchor: Any = None) -> Seen:
        column, row = pixels.unbind(-1)
        where = self.surface[row, column]
        return Seen(self.picture_[:, row, column].T, where, torch.ones_like(where), (where[:, None], 1 - where[:, None]), where[:, None], "anchor")

    def picture(self, target: Target) -> Picture:
        rgb = self.picture_.detach().permute(1, 2, 0).clamp(0, 1)
        return Picture(rgb, 1 + self.surface.detach(), torch.ones_like(self.surface), torch.ones_like(self.surface))
