"""The defender's view: which photos of a set look as if somebody had changed them?

Two kinds of evidence, both cheap:

* **Fine noise.** A camera's finest detail is nearly the same in all three colours, and where a photo is smooth there is next to none. A
  perturbation that was optimised value by value is not like that: the diagonal details of colour differences give it away (median absolute
  deviation in small blocks, as in wavelet denoising, Donoho and Johnstone 1994; the quieter blocks decide, so that texture does no harm).
* **Contradiction.** Attacks on geometry make views disagree: the share of a view's surface that no other view confirms
  (`defences.consistency.agreement`), where poses are known.

A logistic function joins them. Its coefficients (`data/weights/inspection.json`) were fitted on scenes other than those of the measured ROC
(`benchmarks/inspection.py`). An attacker who knows this can be quieter, and coarse JPEG wipes the noise out; a clean verdict is no proof.
"""

import json
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

import data
from data.errors import InputError
from data.progress import Progress
from data.readers import read_scene
from data.scene import Scene
from recon.options import Device

COEFFICIENTS = Path(data.__file__).parent / "weights" / "inspection.json"
SUSPICIOUS = 0.5
"""Scores from here on are called suspicious."""
MOST_VIEWS = 24
"""Photos that are compared with each other at once."""
BLOCK = 16
"""Side of the blocks of diagonal details, in pairs of pixels."""


@dataclass(frozen=True)
class InspectTask:
    """What `lumigraph inspect` asks."""

    photos: Path
    side: int = 504
    device: Device = "auto"


@dataclass(frozen=True)
class Traces:
    """What was measured of one photo; logarithms of standard deviations in steps of 255."""

    color_quiet: float
    """Colour differences' diagonal details, in the quietest fifth of the blocks."""
    color_middle: float
    """The same in the median block."""
    light_quiet: float
    """The brightness's, in the quietest fifth."""
    light_middle: float
    contradiction: float | None
    """Share of the surface that other views look at and none confirms; None where poses are not known."""


@dataclass(frozen=True)
class Inspected:
    """One photo's score, 0 (clean) to 1 (tampered with), and what speaks for it."""

    file: str
    score: float
    why: str
    traces: Traces


def diagonal_details(channel: Float[ndarray, "h w"]) -> Float[ndarray, "h2 w2"]:
    """Haar wavelet's diagonal details at the finest scale; noise of any kind keeps its standard deviation."""
    h, w = channel.shape[0] // 2 * 2, channel.shape[1] // 2 * 2
    a, b, c, d = channel[0:h:2, 0:w:2], channel[0:h:2, 1:w:2], channel[1:h:2, 0:w:2], channel[1:h:2, 1:w:2]
    return np.asarray((a - b - c + d) / 2)


def block_noise(details: Float[ndarray, "h w"]) -> Float[ndarray, "blocks"]:
    """Standard deviation of the details in each block, by its median absolute value."""
    rows, columns = (max(n // BLOCK, 1) for n in details.shape)
    cut = details[: rows * BLOCK, : columns * BLOCK]
    if min(cut.shape) < BLOCK:
        return np.array([np.median(np.abs(details)) / 0.6745])
    blocks = cut.reshape(rows, BLOCK, columns, BLOCK).transpose(0, 2, 1, 3).reshape(rows * columns, -1)
    # Values come in steps, and half of a smooth block's details are often exactly 0: the mean of the lower nine tenths still tells.
    ordered = np.sort(np.abs(blocks), axis=1)[:, : round(0.9 * BLOCK * BLOCK)]
    return np.asarray(ordered.mean(1) / 0.6574)


def noise_traces(photo: UInt8[ndarray, "h w 3"]) -> tuple[float, float, float, float]:
    """The first four of `Traces`."""
    x = photo.astype(np.float32)
    if min(x.shape[:2]) < 2:  # a single line has no diagonal details
        x = np.pad(x, ((0, 1), (0, 1), (0, 0)), mode="edge")
    red, green, blue = x[..., 0], x[..., 1], x[..., 2]
    color = np.maximum(block_noise(diagonal_details((red - green) / np.sqrt(2))), block_noise(diagonal_details((blue - green) / np.sqrt(2))))
    light = block_noise(diagonal_details((red + green + blue) / np.sqrt(3)))
    # Blocks that are black or white hold nothing.
    level = diagonal_means(x)
    usable = (level > 8) & (level < 247)
    if usable.sum() >= 4:
        color, light = color[usable], light[usable]
    values = [np.quantile(color, 0.2), np.quantile(color, 0.5), np.quantile(light, 0.2), np.quantile(light, 0.5)]
    a, b, c, d = (float(np.log(v + 0.1)) for v in values)
    return a, b, c, d


def diagonal_means(x: Float[ndarray, "h w 3"]) -> Float[ndarray, "blocks"]:
    """Mean value of the pixels of each block of `block_noise`."""
    grey = x.mean(-1)
    h, w = grey.shape[0] // 2, grey.shape[1] // 2
    rows, columns = max(h // BLOCK, 1), max(w // BLOCK, 1)
    if min(h, w) < BLOCK:
        return np.array([grey.mean()])
    cut = grey[: rows * BLOCK * 2, : columns * BLOCK * 2]
    return np.asarray(cut.reshape(rows, 2 * BLOCK, columns, 2 * BLOCK).mean((1, 3)).reshape(-1))


@torch.no_grad()
def contradictions(scene: Scene, device: str, side: int = 320) -> Float[ndarray, "n"]:
    """Share of each view's surface that others look at and none confirms, by the general model's depth volumes.

    Args:
        scene: posed and straight; see `attacks.case.prepared`.
    """
    from attacks.defences.consistency import agreement
    from recon.general.engine import ConditionOptions, GeneralModel
    from recon.general.photos import condition_scene
    from recon.general.views import mean_distance, unlikeness

    model = GeneralModel.from_pretrained(None, device, ConditionOptions(side=side))
    out = np.full(len(scene), np.nan)
    cameras = scene.posed()
    while np.isnan(out).any():
        first = int(np.flatnonzero(np.isnan(out))[0])
        unlike = unlikeness(cameras.centers, cameras.forwards, cameras.centers[first], cameras.forwards[first], mean_distance(cameras))
        views = [int(i) for i in np.argsort(unlike)[:MOST_VIEWS]]
        field = condition_scene(model, scene, views)
        looked, agreed = agreement(field.sources, 0.03)
        asked = (looked[0] >= 2).float()
        alone = ((agreed[0] == 0).float() * asked).sum((1, 2)) / asked.sum((1, 2)).clamp(min=1)
        for place, view in enumerate(views):
            if np.isnan(out[view]):
                out[view] = float(alone[place])
    return out


def traces_of(scene: Scene, device: str, side: int) -> Generator[Progress, None, list[Traces]]:
    """Everything that is measured of a scene's photos."""
    from attacks.case import prepared

    noise = []
    for i in range(len(scene)):
        yield Progress("inspect", 0.5 * i / len(scene), scene.names[i])
        noise.append(noise_traces(scene.image(i)))
    alone: Sequence[float | None] = [None] * len(scene)
    if scene.cameras is not None and len(scene) >= 3:
        yield Progress("inspect", 0.5, "comparing photos with each other")
        alone = [float(v) for v in contradictions(prepared(scene, side), device, min(side, 320))]
    return [Traces(*n, contradiction=a) for n, a in zip(noise, alone, strict=True)]


def score(traces: Traces, coefficients: dict[str, Any] | None = None) -> float:
    """Logistic function of the traces; without contradiction, of the noise alone."""
    table = coefficients or json.loads(COEFFICIENTS.read_text())
    kind = "noise" if traces.contradiction is None else "both"
    values = asdict(traces)
    z = table[kind]["bias"] + sum(w * values[name] for name, w in table[kind]["weights"].items())
    return float(1 / (1 + np.exp(-np.clip(z, -50, 50))))


def inspect_photos(task: InspectTask) -> Generator[Progress, None, dict[str, Any]]:
    """Score every photo.

    Raises:
        InputError: no photo can be read.
    """
    import tempfile

    from attacks.bench.running import device_of

    if task.side < 64:
        raise InputError(f"--side {task.side} is too small to compare photos. Give 64 or more.")
    with tempfile.TemporaryDirectory(prefix="lumigraph-inspect-") as folder:
        scene = read_scene(task.photos, Path(folder))
        traces = yield from traces_of(scene, device_of(task.device), task.side)
    found = [Inspected(name, score(t), "", t) for name, t in zip(scene.names, traces, strict=True)]
    median = np.median([t.color_quiet for t in traces])
    photos = []
    for photo in found:
        why = []
        if photo.score >= SUSPICIOUS:
            t = photo.traces
            why.append(f"colour noise of {np.exp(t.color_quiet) - 0.1:.1f} steps where the photo is smooth (the set's median: {np.exp(median) - 0.1:.1f})")
            if t.contradiction is not None:
                why.append(f"{100 * t.contradiction:.0f} % of its surface is confirmed by no other photo")
        photos.append({**asdict(photo), "why": "; ".join(why)})
    bad = sum(p["score"] >= SUSPICIOUS for p in photos)
    verdict = (
        f"{bad} of {len(photos)} photos look tampered with: reconstruct without them, or with the robust weights, and compare."
        if bad
        else f"None of {len(photos)} photos looks tampered with. A quiet or well-informed attacker would look the same."
    )
    return {"photos": photos, "suspicious": bad, "verdict": verdict, "compared": traces[0].contradiction is not None}
