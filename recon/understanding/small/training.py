"""Training of the shipped network on labelled procedural worlds."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from data.worlds.degrade import degrade, recolor
from data.worlds.labels import LabelBank, Labelled, batch, creases, flat, make_label_bank, outlines
from data.worlds.options import DegradeOptions
from recon.halves import Halves
from recon.understanding.options import UnderstandingTraining
from recon.understanding.small.networks import SHIPPED, UnderstandingNetwork, Understood, load_network, read_card, save_network

VIEWS = 2
"""Pictures of each world in a step: features of one thing must agree between them."""
TEMPERATURE = 0.1
"""Of the contrast between features."""
WEIGHTS = {"instance": 1.0, "material": 0.4, "outline": 1.0, "crease": 0.5, "thing": 0.5, "flat": 0.2, "classes": 0.5, "patterns": 0.25, "normal": 1.0, "depth": 0.5}
"""Of the terms."""


def train_understanding(options: UnderstandingTraining, out: Path, device: torch.device) -> Iterator[dict[str, float]]:
    """Train for the given time, yield rows of numbers, and write ``out/understanding.safetensors`` with its card."""
    torch.manual_seed(options.seed)
    bank = _bank(options, device)
    if options.start_from == "nothing":
        network, earlier = UnderstandingNetwork(), []
    else:
        old = SHIPPED if options.start_from == "shipped" else Path(options.start_from)
        network, earlier = load_network(old).requires_grad_(True).train(), trainings(old)
    network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    halves = Halves([network], options.learning_rate, 1e-2, options.average, warm_up=300)
    g = torch.Generator(device).manual_seed(options.seed)
    run = _Recorded(network, device)
    began, step, total, sums, told = time.perf_counter(), 0, 60 * options.minutes, dict[str, Tensor](), 0
    while (spent := time.perf_counter() - began) < total:
        labelled = batch(bank, options.batch, VIEWS, options.sizes[step % len(options.sizes)], g, options.zoom)
        terms = losses(network.split(run(photographed(labelled.rgb, g))), labelled, options.samples, g)
        loss = sum((WEIGHTS[name] * term for name, term in terms.items()), torch.zeros((), device=device))
        halves.step(loss, spent / total)
        step = halves.steps
        for name, term in terms.items():
            sums[name] = sums.get(name, torch.zeros((), device=device)) + term.detach()
        if step % 200 == 0:
            yield {"step": step, "seconds": spent, **{name: float(value) / (step - told) for name, value in sums.items()}}
            sums, told = {}, step
    halves.finish()
    save_network(network, out / "understanding.safetensors", {**_card(options, step, bank, device), "earlier": earlier})


def trainings(path: Path) -> list[dict[str, Any]]:
    """All trainings that a network has had, the first one first."""
    card = read_card(path)
    return [*card.get("earlier", []), {name: card[name] for name in ("steps", "minutes", "seed", "device") if name in card}]


def photographed(rgb: Float[Tensor, "n 3 h w"], g: torch.Generator) -> Float[Tensor, "n 3 h w"]:
    """With the flaws of cameras, and for each world a palette of its own."""
    worlds = rgb.unflatten(0, (-1, VIEWS))
    flaws = DegradeOptions(exposure=0.1, white_balance=0.05, noise=0.03, blur=1.2)
    return degrade(recolor(worlds, g), flaws, g).flatten(0, 1)


def losses(said: Understood, labelled: Labelled, samples: int, g: torch.Generator) -> dict[str, Tensor]:
    """The terms; labels are taken at half size, as the network answers."""
    half = (slice(None), slice(1, None, 2), slice(1, None, 2))
    segment, material, depth = (x[half] for x in (labelled.segment, labelled.material, labelled.depth))
    kind, pattern = labelled.kind[half], labelled.pattern[half]
    normal = labelled.normal[:, :, 1::2, 1::2]
    outline, crease = outlines(segment), creases(normal, depth)
    solid = (depth > 0).float()
    log = torch.where(depth > 0, depth, torch.ones_like(depth)).log()
    # The constant is each picture's own: the weighted mean of the difference.
    off = said.depth[:, 0] - log
    off = off - ((off * solid).sum((1, 2)) / solid.sum((1, 2)).clamp(min=1))[:, None, None]
    near = F.max_pool2d(outline[:, None], 5, 1, 2)[:, 0]
    return {
        "instance": contrast(said.instance, segment, near, samples, g),
        "material": contrast(said.material, material, near, samples // 2, g),
        "outline": _odds(said.outline[:, 0], outline, 1 + 3 * outline),
        "crease": _odds(said.crease[:, 0], crease, 1 + 2 * crease),
        "thing": _odds(said.thing[:, 0], (kind >= 4).float(), torch.ones_like(solid)),
        "flat": _odds(said.flat[:, 0], flat(normal), solid),
        "classes": F.cross_entropy(said.classes, kind),
        "patterns": F.cross_entropy(said.patterns, pattern, ignore_index=255),
        "normal": ((1 - (said.normal * normal).sum(1)) * solid).sum() / solid.sum().clamp(min=1),
        "depth": (off.abs() * solid).sum() / solid.sum().clamp(min=1),
    }


def _odds(logits: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, target, weight, reduction="sum") / weight.sum().clamp(min=1)


def contrast(features: Float[Tensor, "n e h w"], label: Int[Tensor, "n h w"], near: Float[Tensor, "n h w"], samples: int, g: torch.Generator) -> Tensor:
    """Supervised contrast (Khosla et al. 2020) between pixels of all views of a world: those of one label against those of others.

    Small segments are sampled as if they were larger, and so are pixels near borders.

    Args:
        near: 1 near a border.
    """
    n, e = features.shape[:2]
    flat_label = label.flatten(1)
    count = torch.zeros(n, 256, device=label.device).scatter_add_(1, flat_label, torch.ones_like(flat_label, dtype=torch.float32))
    weight = count.gather(1, flat_label) ** -0.6 * (1 + near.flatten(1))
    index = torch.multinomial(weight, samples, replacement=True, generator=g)
    chosen = features.flatten(2).gather(2, index[:, None].expand(-1, e, -1)).transpose(1, 2).reshape(n // VIEWS, VIEWS * samples, e)
    mine = flat_label.gather(1, index).reshape(n // VIEWS, -1)
    alike = chosen @ chosen.transpose(1, 2) / TEMPERATURE
    itself = torch.eye(alike.shape[1], dtype=torch.bool, device=alike.device)
    same = (mine[:, :, None] == mine[:, None]) & ~itself
    chance = alike.masked_fill(itself, -torch.inf).log_softmax(2).masked_fill(itself, 0)
    return -((chance * same).sum(2) / same.sum(2).clamp(min=1)).mean()


class _Recorded:
    """The network, recorded as a CUDA graph for each size where there is a GPU: launching its kernels one by one takes longer than running them."""

    def __init__(self, network: UnderstandingNetwork, device: torch.device) -> None:
        self.network, self.device = network, device
        self.recorded: dict[tuple[int, ...], Any] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return self.network.raw(images)
        images = images.to(torch.bfloat16).contiguous(memory_format=torch.channels_last)
        key = tuple(images.shape)
        if key not in self.recorded:
            self.recorded[key] = torch.cuda.make_graphed_callables(_Raw(self.network), (images.clone(),))  # it changes the module it is given
        return self.recorded[key](images)  # type: ignore[no-any-return]


class _Raw(nn.Module):
    def __init__(self, network: UnderstandingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.raw(images)


def _bank(options: UnderstandingTraining, device: torch.device) -> LabelBank:
    start = options.seed * 100_000
    seeds, size = range(start, start + options.worlds), options.bank
    if options.worlds < 100:
        return make_label_bank(seeds, *size, options.views, device, None, options.plain)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
        return make_label_bank(seeds, *size, options.views, device, executor, options.plain)


def _card(options: UnderstandingTraining, steps: int, bank: LabelBank, device: torch.device) -> dict[str, Any]:
    return {
        "licence": "Apache-2.0", "steps": steps, "minutes": options.minutes, "worlds": len(bank), "pictures": len(bank) * options.views,
        "batch": options.batch * VIEWS, "seed": options.seed, "started_from": str(options.start_from),
        "data": "labelled pictures of procedural worlds made by this program (data/worlds/labels); no photograph was seen",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }  # fmt: skip
