"""Did the asked change happen? Judged on procedural worlds, where the answer is known.

For each held-out pair the editor sees the picture of before (with its depth) and the sentence. Its picture is compared, where the true edit changes
something and at the scale of that change (both smoothed), with: the true edit, the picture of before, and four other edits of the same kind
that were not asked for, such as other colours of the same thing. It is right if the true edit is the nearest.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.progress import Progress, drained
from data.worlds.edits.filters import FILTERS, Views, background, blurred, named_color, painted, tint
from data.worlds.edits.pairs import EditBank, batch, make_edit_bank
from data.worlds.edits.words import COLORS, Instruction, phrase
from recon.editing.protocol import EditRequest, ImageEditor

SEEDS = 990_000_000
"""Worlds for judging begin here; no training comes near."""
OTHERS = 4
_LOOKS = {
    "gold": (0.85, 0.62, 0.20), "silver": (0.75, 0.76, 0.78), "copper": (0.72, 0.40, 0.26), "wood": (0.50, 0.33, 0.18), "marble": (0.84, 0.83, 0.82), "stone": (0.45, 0.43, 0.41),
    "brick": (0.58, 0.27, 0.19), "porcelain": (0.95, 0.95, 0.96),
}  # fmt: skip
"""About the mean colour of each material."""


@dataclass(frozen=True)
class Judged:
    """One edit."""

    prompt: str
    kind: str
    right: bool
    nearest: str
    """What the picture is most like: `asked`, `before`, or the name of another edit."""


def judge(editor: ImageEditor, count: int, seed: int = 0, side: int = 192) -> Generator[Progress, None, list[Judged]]:
    """Judge so many held-out edits.

    Args:
        side: of the pictures, pixels; a multiple of 16.
    """
    start = SEEDS + 1000 * seed
    yield Progress("accuracy", 0.0, "photographing worlds")
    bank = make_edit_bank(range(start, start + max(count // 2, 12)), side, 1, 2)
    g, choice = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    out: list[Judged] = []
    while len(out) < count:
        pairs, look = _pairs(bank, side, g, choice)
        for i, instruction in enumerate(pairs.instructions):
            one = Views(*(getattr(look, name)[i : i + 1] for name in Views.__dataclass_fields__))
            weight = (8 * blurred(pairs.changed[i : i + 1], 2)).clamp(0, 1)
            if len(out) >= count or float(weight.mean()) < 0.01 or _same(one.rgb, pairs.after[i : i + 1], weight):
                continue
            sentence = phrase(instruction, choice)
            work = editor.edit(EditRequest(one.rgb, sentence, pairs.depth[i], None, 1.0, seed + len(out)))
            picture = drained(work)
            answers = {"asked": pairs.after[i : i + 1], "before": one.rgb, **_others(one, instruction, weight, g, choice)}
            errors = {name: _distance(picture.cpu(), answer, weight) for name, answer in answers.items()}
            nearest = min(errors, key=lambda k: errors[k])
            out.append(Judged(sentence, instruction.kind, nearest == "asked", nearest))
            yield Progress("accuracy", len(out) / count, f"{sum(j.right for j in out)} of {len(out)} right")
    return out


def summary(judged: list[Judged]) -> dict[str, Any]:
    """Shares that are right, of all and of each kind."""
    kinds = sorted({j.kind for j in judged})
    share = lambda rows: round(float(np.mean([j.right for j in rows])), 4)  # noqa: E731
    return {
        "edits": len(judged), "accuracy": share(judged), "kinds": {k: {"edits": sum(j.kind == k for j in judged), "accuracy": share([j for j in judged if j.kind == k])} for k in kinds},
    }  # fmt: skip


def _pairs(bank: EditBank, side: int, g: torch.Generator, choice: np.random.Generator) -> tuple[Any, Views]:
    """A few pairs as they are in training, and what is known of their pictures (worlds are not mirrored here)."""
    pairs = batch(bank, 16, (side, side), g, choice, flips=False)
    return pairs, Views(pairs.before, pairs.depth, pairs.up, pairs.things)


def _others(one: Views, instruction: Instruction, weight: Tensor, g: torch.Generator, choice: np.random.Generator) -> dict[str, Tensor]:
    """Edits of the same kind that were not asked for."""
    kind = instruction.kind

    def some(names: list[str]) -> list[str]:
        left = [n for n in names if n != instruction.to]
        return [str(n) for n in choice.choice(left, min(OTHERS, len(left)), replace=False)]

    if kind in ("thing_color", "place_color", "swap"):
        return {n: painted(one.rgb, weight, named_color(n, one.rgb, g)).clamp(0, 1) for n in some(list(COLORS))}
    if kind in ("thing_material", "place_material", "all_material"):
        return {n: painted(one.rgb, weight, torch.tensor(_LOOKS[n]).view(1, 3, 1, 1)).clamp(0, 1) for n in some(list(_LOOKS))}
    if kind in ("tint", "background"):
        made = tint if kind == "tint" else background
        return {n: made(one, named_color(n, one.rgb, g), g).clamp(0, 1) for n in some(list(COLORS))}
    names = [n for k, n in FILTERS if k == kind]
    return {n: FILTERS[kind, n](one, g).clamp(0, 1) for n in some(names)}


def _distance(a: Float[Tensor, "1 3 h w"], b: Float[Tensor, "1 3 h w"], weight: Float[Tensor, "1 1 h w"]) -> float:
    return float(((blurred(a, 2) - blurred(b, 2)) ** 2 * weight).sum() / weight.sum().clamp(min=1e-6))


def _same(before: Tensor, after: Tensor, weight: Tensor) -> bool:
    """An edit that nobody would see, such as black made darker."""
    return _distance(before, after, weight) < 0.05**2
