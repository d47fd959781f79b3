"""Training of the perceptual network on procedural worlds: depth from one picture, and its colours from its greys.

Features of networks that learned other things on other pictures judge likeness nearly as well as those of classifiers (Zhang et al.
2018, section 4); what they learned matters little, that they learned something matters.
"""

import math
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from data.files import write_json
from data.worlds.bank import make_bank
from recon.options import PerceptualTraining
from recon.perceptual import Features


class _Decoder(nn.Module):
    """From the features back to a picture: inverse depth and the two colour differences."""

    def __init__(self) -> None:
        super().__init__()
        widths = Features.WIDTHS
        self.merge = nn.ModuleList(nn.Conv2d(a + b, a, 3, padding=1) for a, b in zip(widths, widths[1:]))
        self.leave = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        x = features[-1]
        for layer, skip in zip(reversed(self.merge), reversed(features[:-1])):
            x = F.relu(layer(torch.cat([skip, F.interpolate(x, skip.shape[2:], mode="bilinear", align_corners=False)], dim=1)))
        return self.leave(x)  # type: ignore[no-any-return]


def train_perceptual(options: PerceptualTraining, out: Path, device: torch.device) -> Iterator[dict[str, float]]:
    """Train for the given time, yield rows of numbers, and write `perceptual.safetensors`."""
    from safetensors.torch import save_file

    torch.manual_seed(options.seed)
    start = options.seed * 100_000
    bank = make_bank(range(start, start + options.worlds), *options.size, 12, device)
    network, decoder = Features().to(device), _Decoder().to(device)
    parameters = [*network.parameters(), *decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, options.learning_rate, weight_decay=1e-3)
    generator = torch.Generator(device).manual_seed(options.seed)
    began, step, total = time.perf_counter(), 0, 60 * options.minutes
    while (spent := time.perf_counter() - began) < total:
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * spent / total)))
        world, view = (torch.randint(n, (options.batch,), generator=generator, device=device) for n in (len(bank), 12))
        photos, depth = bank.rgb[world, view].permute(0, 3, 1, 2).float() / 255, bank.depth[world, view].float()
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
            depth_loss = (decoder(network(photos))[:, 0].float() - nearness(depth)).abs().mean()
            grey = photos.mean(1, keepdim=True)
            color_loss = (decoder(network(grey.expand(-1, 3, -1, -1)))[:, 1:].float() - (photos - grey)[:, ::2]).abs().mean()
        loss = depth_loss + 4 * color_loss
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            yield {"step": step, "seconds": spent, "depth": float(depth_loss), "color": float(color_loss)}
    out.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().cpu().half().contiguous() for k, v in network.state_dict().items()}, out / "perceptual.safetensors")
    write_json(out / "perceptual.json", {
        "format": "lumigraph perceptual network", "version": 1, "licence": "Apache-2.0", "steps": step, "minutes": options.minutes,
        "data": "procedural worlds made by this program (data/worlds); no photograph was seen",
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        "note": "features for the LPIPS formula; not calibrated on people's judgements, its numbers are not those of the published networks",
    })  # fmt: skip


def nearness(depth: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Inverse depth relative to the picture's nearest tenth; 0 in the sky."""
    inverse = torch.where(depth > 0, 1 / depth.clamp(min=1e-3), torch.zeros_like(depth))
    return inverse / torch.quantile(inverse.flatten(1), 0.9, dim=1).clamp(min=1e-6)[:, None, None]
