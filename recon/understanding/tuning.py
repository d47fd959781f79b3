"""Training of an adapter on labelled photos: the network stays as it is."""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from data.errors import InputError
from data.images import load_rgba
from recon.understanding.adapters import Adapter, save_adapter
from recon.understanding.options import UnderstandingTraining
from recon.understanding.small.networks import MULTIPLE, SHIPPED, UnderstandingNetwork, load_network

IGNORED = 255
"""Label of pixels that nothing is said about."""


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos of any sizes with label maps of the same sizes."""

    photos: tuple[UInt8[np.ndarray, "_ _ 3"], ...]
    labels: tuple[Int[np.ndarray, "_ _"], ...]
    names: tuple[str, ...]


def read_labelled(folder: Path, side: int = 640) -> LabelledPhotos:
    """``images/NAME.jpg|png``, ``labels/NAME.png`` (pixel values are label numbers, 255: nothing is said) and ``names.json`` (a list).

    Raises:
        InputError: a part is missing, does not fit the others, or labels have no names.
    """
    import cv2
    from PIL import Image

    try:
        names = json.loads((folder / "names.json").read_text())
        if not isinstance(names, list) or not all(isinstance(n, str) for n in names) or len(names) < 2:
            raise ValueError("a list of two or more names is needed")
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder / 'names.json'}' does not name the labels ({error}). Write a list, such as [\"background\", \"chair\"]; the first is label 0.") from None
    photos, labels = [], []
    for path in sorted((folder / "images").glob("*")):
        if path.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            continue
        beside = folder / "labels" / f"{path.stem}.png"
        if not beside.exists():
            raise InputError(f"'{path.name}' has no labels: '{beside}' does not exist. Label it, or take it out of the folder.")
        photo = load_rgba(path)[0]
        try:
            label = np.asarray(Image.open(beside)).astype(np.int64)
        except OSError as error:
            raise InputError(f"'{beside}' cannot be read ({error}). Write it again as a PNG.") from None
        if label.ndim != 2:
            raise InputError(f"'{beside}' has {label.shape[2]} channels. A label map has one: write it with a palette, or in grey.")
        if label.shape != photo.shape[:2]:
            raise InputError(f"'{beside}' has {label.shape[1]} x {label.shape[0]} pixels, its photo {photo.shape[1]} x {photo.shape[0]}. Label the photo at its own size.")
        beyond = np.unique(label[(label != IGNORED) & (label >= len(names))])
        if len(beyond):
            raise InputError(f"'{beside}' holds the label {int(beyond[0])}, but names.json has {len(names)} names. Name every label, from 0.")
        scale = min(side / max(photo.shape[:2]), 1.0)
        size = (max(round(photo.shape[1] * scale), 64), max(round(photo.shape[0] * scale), 64))
        photos.append(cv2.resize(photo, size, interpolation=cv2.INTER_AREA))
        labels.append(cv2.resize(label.astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int64))
    if not photos:
        raise InputError(f"'{folder / 'images'}' holds no photos. Put photos there, and their labels into 'labels'.")
    if all((m == IGNORED).all() for m in labels):
        raise InputError(f"The label maps in '{folder / 'labels'}' say nothing: all pixels are {IGNORED}. Label some.")
    return LabelledPhotos(tuple(photos), tuple(labels), tuple(names))


def train_adapter(options: UnderstandingTraining, out: Path, device: torch.device) -> Iterator[dict[str, float]]:
    """Train for the given time, yield rows of numbers, and write ``out/adapter.safetensors`` with its card."""
    assert options.labels is not None
    data = read_labelled(options.labels)
    network = load_network(SHIPPED if options.start_from in ("nothing", "shipped") else Path(options.start_from), device)
    adapter = Adapter(network, data.names, options.rank).to(device)
    steps = 0
    for row in tuned(adapter, network, data, options, device):
        steps = int(row["step"])
        yield row
    save_adapter(adapter, out / "adapter.safetensors", {
        "licence": "as that of the labelled photos", "steps": steps, "minutes": options.minutes, "photos": len(data.photos), "seed": options.seed,
        "parameters": adapter.count, "share_of_network": round(adapter.count / sum(p.numel() for p in network.parameters()), 4),
    })  # fmt: skip


def tuned(adapter: Adapter, network: UnderstandingNetwork, data: LabelledPhotos, options: UnderstandingTraining, device: torch.device) -> Iterator[dict[str, float]]:
    """Train an adapter in place, and yield rows of numbers; the last one when the time is over."""
    torch.manual_seed(options.seed)
    choice = np.random.default_rng(options.seed)
    optimizer = torch.optim.AdamW(adapter.parameters(), 2e-3, weight_decay=1e-2)
    counts = np.bincount(np.concatenate([m.reshape(-1)[::17] for m in data.labels]), minlength=256)[: len(data.names)]
    # Rare labels count for more, but not as much as they are rare.
    weight = torch.from_numpy((counts.sum() / np.maximum(counts, 1)) ** 0.35).float().to(device)
    began, step, total, sums, told = time.perf_counter(), 0, 60 * options.minutes, 0.0, 0
    while True:
        spent = time.perf_counter() - began
        share = spent / total if options.steps is None else step / options.steps
        if share >= 1:
            break
        warm = min(1.0, (step + 1) / 20)
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        photos, labels = _batch(data, 4 if device.type == "cpu" else 16, choice)
        scores = adapter.logits(network, photos.to(device))
        loss = F.cross_entropy(scores, labels.to(device), weight, ignore_index=IGNORED)
        if not torch.isfinite(loss):  # a batch without a single labelled pixel
            continue
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter.parameters(), 1.0)
        optimizer.step()
        step, sums = step + 1, sums + float(loss.detach())
        if step % 50 == 0:
            yield {"step": step, "seconds": spent, "loss": sums / (step - told)}
            sums, told = 0.0, step
    yield {"step": step, "seconds": time.perf_counter() - began, "loss": sums / max(step - told, 1)}


def _batch(data: LabelledPhotos, count: int, choice: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Random crops of at most 256 pixels a side, mirrored half of the time, brighter and darker; labels at half size."""
    photos, labels = [], []
    side = min(256, max(-(-max(m.shape) // MULTIPLE) * MULTIPLE for m in data.labels))
    for i in choice.integers(0, len(data.photos), count):
        photo, label = data.photos[i], data.labels[i]
        h, w = label.shape
        size = (min(h, side), min(w, side))
        top, left = choice.integers(0, h - size[0] + 1), choice.integers(0, w - size[1] + 1)
        p = torch.from_numpy(photo[top : top + size[0], left : left + size[1]].copy()).permute(2, 0, 1).float() / 255
        m = torch.from_numpy(label[top : top + size[0], left : left + size[1]].copy())
        p, m = F.pad(p[None], (0, side - size[1], 0, side - size[0]), mode="replicate")[0], F.pad(m, (0, side - size[1], 0, side - size[0]), value=IGNORED)
        if choice.random() < 0.5:
            p, m = p.flip(-1), m.flip(-1)
        gain = torch.from_numpy(np.exp(choice.normal(size=(3, 1, 1)) * 0.06 + choice.normal() * 0.15)).float()
        photos.append((p * gain).clamp(0, 1))
        labels.append(m[1::2, 1::2])
    return torch.stack(photos), torch.stack(labels)
