"""The same photos, to the last bit, as other libraries make for the same loss and start."""

import numpy as np
import pytest
import torch
from torch import nn

from attacks.ascent import SignStep, ascend
from attacks.threat import ThreatModel

EPS, ALPHA, STEPS = 8 / 255, 2 / 255, 10


class Renderer(nn.Module):
    """A toy renderer as a classifier of two classes, whose cross-entropy for class 1 grows with the rendering loss."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Tanh(), nn.Conv2d(8, 3, 3, padding=1), nn.Sigmoid())
        self.truth = torch.rand(1, 3, 16, 16)

    def loss(self, images: torch.Tensor) -> torch.Tensor:
        return (self.net(images).mean(0, keepdim=True) - self.truth).square().mean()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.loss(images)
        return torch.stack([value, value * 0])[None].expand(len(images), 2)


@pytest.fixture
def renderer() -> Renderer:
    return Renderer().eval().requires_grad_(False)


@pytest.fixture
def photos() -> torch.Tensor:
    return torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def ours(renderer: Renderer, photos: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
    work = ascend(lambda x, i: (renderer.loss(x),), photos, ThreatModel(eps=EPS, steps=STEPS), SignStep(ALPHA), start)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def test_torchattacks_makes_the_same_photos(renderer: Renderer, photos: torch.Tensor) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    attack = torchattacks.PGD(renderer, eps=EPS, alpha=ALPHA, steps=STEPS, random_start=False)
    labels = torch.ones(len(photos), dtype=torch.long)
    assert torch.equal(ours(renderer, photos), attack(photos, labels))


def test_torchattacks_makes_the_same_photos_from_the_same_random_start(renderer: Renderer, photos: torch.Tensor) -> None:
    torchattacks = pytest.importorskip("torchattacks")
    attack = torchattacks.PGD(renderer, eps=EPS, alpha=ALPHA, steps=STEPS, random_start=True)
    torch.manual_seed(7)
    theirs = attack(photos, torch.ones(len(photos), dtype=torch.long))
    torch.manual_seed(7)
    start = torch.clamp(photos + torch.empty_like(photos).uniform_(-EPS, EPS), min=0, max=1)
    assert torch.equal(ours(renderer, photos, start), theirs)


def test_art_makes_the_same_photos(renderer: Renderer, photos: torch.Tensor) -> None:
    evasion = pytest.importorskip("art.attacks.evasion")
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(renderer, nn.CrossEntropyLoss(reduction="sum"), (3, 16, 16), 2, clip_values=(0, 1), device_type="cpu")
    attack = evasion.ProjectedGradientDescent(classifier, eps=EPS, eps_step=ALPHA, max_iter=STEPS, num_random_init=0, batch_size=len(photos), verbose=False)
    theirs = attack.generate(photos.numpy(), np.ones(len(photos), dtype=np.int64))
    assert np.abs(ours(renderer, photos).numpy() - theirs).max() <= 2 ** -22
