"""When not to believe a robustness figure: the signs of masked gradients and broken attacks (Carlini et al. 2019, AutoAttack's flags)."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.methods import METHODS


def promise_kept(loss: Callable[[Tensor], Tensor], images: Float[Tensor, "s 3 h w"], size: float = 5e-4) -> float:
    """How much of the rise that the gradient promises comes true for a small step along its signs, by central differences.

    Args:
        size: change of each value.

    Returns:
        about 1 for a smooth loss, 0 or less where gradients mislead (or are zero). A renderer's loss has kinks everywhere, so that anything
        of that order is sound.
    """
    leaf = images.detach().requires_grad_()
    gradient = torch.autograd.grad(loss(leaf), leaf, allow_unused=True)[0]
    if gradient is None or not bool((gradient != 0).any()):
        return 0.0
    way = gradient.sign()
    with torch.no_grad():
        rise = float(loss(images + size * way) - loss(images - size * way)) / (2 * size)
    return rise / float(gradient.abs().sum())


def repeats(loss: Callable[[Tensor], Tensor], images: Float[Tensor, "s 3 h w"], tolerance: float = 1e-3) -> bool:
    """Whether the loss is the same when asked twice, up to the rounding of parallel sums."""
    with torch.no_grad():
        one, two = float(loss(images)), float(loss(images))
    return abs(one - two) <= tolerance * max(abs(one), 1e-12)


def suspicions(rows: Iterable[dict[str, Any]]) -> dict[tuple[str, ...], list[str]]:
    """What is wrong with the figures of each (scene, victim, defence), over all its cells.

    Args:
        rows: finished cells (`bench.cells.run_cell`).
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        cell = row["cell"]
        groups.setdefault((cell["scene"], cell["victim"], cell["defence"]), []).append(row)
    return {key: _suspicions(group) for key, group in groups.items()}


def _suspicions(rows: list[dict[str, Any]]) -> list[str]:
    out = sorted({f"{row['cell']['method']}: {flag}" for row in rows for flag in row["flags"]})
    error = {(r["cell"]["method"], r["cell"]["setting"], r["cell"]["eps"], r["cell"]["seed"]): _damage(r) for r in rows}
    for row in rows:
        if row["cell"]["eps"] == 0 and not row.get("identical", True):
            out.append(f"{row['cell']['method']}: at epsilon 0 the photos are not the clean ones")
        if row["cell"]["eps"] == 0 and any(v["psnr_clean"] < 99.9 for v in row["views"]):
            out.append(f"{row['cell']['method']}: at epsilon 0 the render is not the clean one")
    curves: dict[tuple[str, str], dict[float, list[float]]] = {}
    for (method, setting, eps, _), value in error.items():
        curves.setdefault((method, setting), {}).setdefault(eps, []).append(value)
    means = {key: {eps: sum(v) / len(v) for eps, v in by_eps.items()} for key, by_eps in curves.items()}
    for (method, setting), by_eps in means.items():
        kind = METHODS.get(method)
        levels = sorted(e for e in by_eps if e > 0)
        falls = [(a, b) for a, b in zip(levels, levels[1:]) if by_eps[b] < 0.8 * by_eps[a]]
        if falls and kind is not None and kind.white_box:  # type: ignore[attr-defined]
            out.append(f"{method}: damage falls from epsilon {falls[0][0]:g} to {falls[0][1]:g}")
        noise = means.get(("random-sign", setting), {})
        for eps in levels:
            if kind is not None and kind.white_box and method != "pose" and eps in noise and by_eps[eps] < 0.95 * noise[eps]:  # type: ignore[attr-defined]
                out.append(f"{method}: at epsilon {eps:g} it does less damage than random signs")
                break
    white = [means[key] for key in means if key[1] == "view" and key[0] in METHODS and METHODS[key[0]].white_box and key[0] != "pose"]  # type: ignore[attr-defined]
    for eps, value in means.get(("square", "view"), {}).items():
        strongest = max((w[eps] for w in white if eps in w), default=None)
        if strongest is not None and value > 1.02 * strongest:
            out.append(f"square: at epsilon {eps:g} the black box beats every white-box attack, a sign of masked gradients")
    single, many = means.get(("fgsm", "view"), {}), [means[k] for k in means if k[0] in ("pgd", "apgd", "nerfool") and k[1] == "view"]
    for eps, value in single.items():
        strongest = max((m[eps] for m in many if eps in m), default=None)
        if eps and strongest is not None and value > 1.05 * strongest:
            out.append(f"fgsm: at epsilon {eps:g} one step does more damage than many")
    return out


def _damage(row: dict[str, Any]) -> float:
    """Mean squared error against the clean render."""
    return sum(10 ** (-v["psnr_clean"] / 10) for v in row["views"]) / max(len(row["views"]), 1)
