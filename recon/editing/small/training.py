"""Training of the shipped editor on before/after pairs of procedural worlds."""

import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from data.worlds.edits.pairs import EditBank, Pairs, batch, make_edit_bank
from data.worlds.edits.words import phrase
from recon.depthviews import nearness
from recon.editing.options import EditorTraining
from recon.editing.small.networks import SHIPPED, build, load, save, trainings
from recon.editing.small.pipeline import BLOCK, SmallEditPipeline, blocks, encode
from recon.halves import Halves


def train_editor(options: EditorTraining, out: Path, device: torch.device) -> Iterator[dict[str, float]]:
    """Train for the given time, yield rows of numbers, and write the editor to ``out/editor``."""
    torch.manual_seed(options.seed)
    bank = _bank(options, device)
    if options.start_from == "nothing":
        pipeline, earlier = build(), []
    else:
        old = SHIPPED if options.start_from == "shipped" else Path(options.start_from)
        pipeline, earlier = load(old), trainings(old)
    pipeline.unet.train()
    pipeline.text_encoder.train()
    models = [pipeline.unet, pipeline.text_encoder]
    for model in models:
        model.to(device)
    halves = Halves(models, options.learning_rate, 1e-3, options.average, warm_up=200)
    g, choice = torch.Generator(device).manual_seed(options.seed), np.random.default_rng(options.seed)
    objective = _Objective(pipeline, options, device)
    began, step, total, sums, told = time.perf_counter(), 0, 60 * options.minutes, torch.zeros((), device=device), 0
    while (spent := time.perf_counter() - began) < total:
        pairs = batch(bank, options.batch, options.sizes[step % len(options.sizes)], g, choice, options.in_worlds)
        loss = objective.loss(pairs, g, choice)
        halves.step(loss, spent / total)
        step = halves.steps
        sums += loss.detach().float()
        if step % 200 == 0:
            yield {"step": step, "seconds": spent, "loss": float(sums) / (step - told)}
            sums.zero_()
            told = step
    halves.finish()
    for model in models:
        model.cpu().half()
    save(pipeline, out / "editor", {**_card(options, step, bank, device), "earlier": earlier})


def _bank(options: EditorTraining, device: torch.device) -> EditBank:
    start = options.seed * 100_000
    seeds = range(start, start + options.worlds)
    if options.worlds < 100:
        return make_edit_bank(seeds, options.side, options.views, options.edits, device)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
        return make_edit_bank(seeds, options.side, options.views, options.edits, device, executor)


class _Network(nn.Module):
    """The U-Net as one function of tensors, so that CUDA can record it."""

    def __init__(self, unet: Any) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, x: Tensor, time_: Tensor, text: Tensor) -> Tensor:
        return self.unet(x, time_, encoder_hidden_states=text).sample  # type: ignore[no-any-return]


class _Objective:
    """The loss, with the U-Net recorded as a CUDA graph for each size where there is a GPU: launching its thousand kernels one by one takes longer
    than running them."""

    def __init__(self, pipeline: SmallEditPipeline, options: EditorTraining, device: torch.device) -> None:
        self.pipeline, self.options, self.device = pipeline, options, device
        self.levels = pipeline.scheduler.alphas_cumprod.to(device)
        self.dtype = pipeline.unet.dtype
        self.network = _Network(pipeline.unet)
        self.recorded: dict[tuple[int, ...], Any] = {}

    def loss(self, pairs: Pairs, g: torch.Generator, choice: np.random.Generator) -> Tensor:
        """Squared error of the predicted edit, what changes counting more."""
        device, n, o, levels = self.device, len(pairs.before), self.options, self.levels
        sentences = ["" if choice.random() < o.no_text else phrase(i, choice) for i in pairs.instructions]
        near = nearness(pairs.depth[:, 0])[:, None] * (torch.rand(n, 1, 1, 1, generator=g, device=device) > o.no_depth)
        photos, target = pairs.before * 2 - 1, pairs.after * 2 - 1
        photos = (photos + 0.04 * torch.rand(n, 1, 1, 1, generator=g, device=device) * torch.randn(photos.shape, generator=g, device=device)).clamp(-1, 1)
        # Few steps are taken in use, and the first of them decides most: a third of the times are of its kind.
        time_ = torch.randint(len(levels), (n,), generator=g, device=device)
        first = torch.rand(n, generator=g, device=device) < 0.3
        time_ = torch.where(first, len(levels) - 1 - time_ // 8, time_)
        level = levels[time_].view(-1, 1, 1, 1)
        x = level.sqrt() * target + (1 - level).sqrt() * torch.randn(target.shape, generator=g, device=device)
        text = encode(self.pipeline.text_encoder, self.pipeline.tokenized(sentences).to(device))
        change = F.pixel_shuffle(self._run(blocks(x, photos, near).to(self.dtype), time_, text), BLOCK).float()
        touched = (4 * pairs.changed).clamp(0, 1)
        # An edit of one thing touches a tenth of the picture, an edit of the light all of it: the small ones count for more, or they are never learned.
        balance = (o.small_edits / (touched.mean((1, 2, 3), keepdim=True) + 0.1)).clamp(1, 4) if o.small_edits else 1.0
        return ((photos + change - target) ** 2 * (1 + 3 * touched) * balance).mean()

    def _run(self, x: Tensor, time_: Tensor, text: Tensor) -> Tensor:
        if self.device.type != "cuda":
            return self.network(x, time_, text)  # type: ignore[no-any-return]
        key = tuple(x.shape)
        if key not in self.recorded:
            like = (x.detach().clone(), time_.clone(), text.detach().clone().requires_grad_())
            self.recorded[key] = torch.cuda.make_graphed_callables(_Network(self.pipeline.unet), like)  # it changes the module it is given
        return self.recorded[key](x, time_, text)  # type: ignore[no-any-return]


def _card(options: EditorTraining, steps: int, bank: EditBank, device: torch.device) -> dict[str, Any]:
    return {
        "licence": "Apache-2.0", "steps": steps, "minutes": options.minutes, "worlds": options.worlds, "pictures": len(bank), "edits_in_worlds": len(bank.after),
        "batch": options.batch, "seed": options.seed, "started_from": str(options.start_from),
        "data": "before/after pairs of procedural worlds made by this program (data/worlds/edits); no photograph was seen",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
    }  # fmt: skip
