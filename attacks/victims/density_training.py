"""Training of the IBRNet-style victim on procedural worlds."""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from attacks.victims.density import DensityNetwork, save_density
from attacks.victims.options import DensityTraining
from data.worlds.bank import make_bank
from recon.general.batches import Batch, make_batch
from recon.general.marching import to_coordinate
from recon.general.validation import SEEDS
from recon.general.weights import load_network


def train_density(options: DensityTraining, out: Path, device: torch.device) -> Iterator[dict[str, float]]:
    """Train for the given time, yield rows of numbers, and write `density.safetensors`."""
    torch.manual_seed(options.seed)
    network = DensityNetwork(options.model)
    network.encoder.load_state_dict(load_network().encoder.state_dict())
    network.to(device).train()
    start = options.seed * 100_000
    bank = make_bank(range(start, start + options.worlds), *options.size, 12, device)
    held_out = make_bank(SEEDS[:16], *options.size, 12, device)
    optimizer = torch.optim.AdamW(network.parameters(), options.learning_rate, betas=(0.9, 0.98), weight_decay=1e-3)
    average = {k: v.detach().clone() for k, v in network.state_dict().items()}
    generator = torch.Generator(device).manual_seed(options.seed)
    began, step, total = time.perf_counter(), 0, 60 * options.minutes
    while (spent := time.perf_counter() - began) < total:
        share = spent / total
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * min(share / 0.02 + 0.01, 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * share)))
        batch = make_batch(bank, options.batch, options.views, options.rays, 4, options.flaws, generator)
        color, depth = losses(network, batch, jitter=True)
        optimizer.zero_grad(set_to_none=True)
        (color + options.depth * depth).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        step += 1
        with torch.no_grad():
            decay = min(0.998, (1 + step) / (10 + step))
            for k, v in network.state_dict().items():
                average[k].lerp_(v, 1 - decay)
        if step % 100 == 0:
            yield {"step": step, "seconds": spent, "color": float(color), "depth": float(depth)}
    network.load_state_dict(average)
    psnr = held_out_psnr(network.eval(), held_out, options.views)
    card = {
        "licence": "Apache-2.0", "data": "procedural worlds made by this program (data/worlds); no photograph was seen", "steps": step,
        "minutes": options.minutes, "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU", "held_out_psnr": round(psnr, 3),
    }  # fmt: skip
    save_density(out / "density.safetensors", network, card)
    yield {"step": step, "held_out_psnr": psnr}


def losses(network: DensityNetwork, batch: Batch, jitter: bool) -> tuple[Tensor, Tensor]:
    """Colour and depth errors of both passes."""
    device = batch.images.device
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
        views = network.views(batch.images, batch.intrinsics, batch.camera_to_world, batch.present)
        traced = network.trace(views, batch.origins, batch.directions, batch.near, batch.far, jitter)
    rgb, depth = batch.rgb.reshape(-1, 3), batch.depth.reshape(-1, 1)
    goal = to_coordinate(depth.clamp(min=1e-3), batch.near.reshape(-1, 1), batch.far.reshape(-1, 1))
    goal = torch.where(depth > 0, goal, torch.ones_like(goal)).clamp(0, 1)[:, 0]
    color = sum(((x - rgb).square() + 1e-4).sqrt().mean() for x in (traced.rgb, traced.coarse_rgb))
    away = sum((x - goal).abs().mean() for x in (traced.coordinate, traced.coarse_coordinate))
    assert isinstance(color, Tensor)
    assert isinstance(away, Tensor)
    return color, away


@torch.no_grad()
def held_out_psnr(network: DensityNetwork, bank: object, views: int) -> float:
    """Mean PSNR of one view of each held-out world, dB."""
    from recon.general.validation import psnr

    values = []
    for world in range(len(bank)):  # type: ignore[arg-type]
        device = bank.cameras.device  # type: ignore[attr-defined]
        target = (torch.tensor([world], device=device), torch.tensor([0], device=device))
        batch = make_batch(bank, 1, views, 0, 4, None, torch.Generator(device), target)  # type: ignore[arg-type]
        seen = network.views(batch.images, batch.intrinsics, batch.camera_to_world, batch.present)
        parts = [
            network.trace(seen, batch.origins[:, p], batch.directions[:, p], batch.near[:, p], batch.far[:, p]).rgb
            for p in (slice(i, i + 4096) for i in range(0, batch.near.shape[1], 4096))
        ]
        values.append(psnr(torch.cat(parts).clamp(0, 1), batch.rgb[0]))
    return sum(values) / len(values)
