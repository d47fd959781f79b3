"""The course of a training: CSV tables and a PNG."""

import csv
import io
from pathlib import Path
from typing import Any

from data.files import atomic_write


def write_table(path: Path, rows: list[dict[str, Any]]) -> None:
    """Rows as CSV; columns are those of the first row."""
    if not rows:
        return
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: round(v, 6) for k, v in row.items()} for row in rows)
    atomic_write(path, text.getvalue().encode())


def draw_curves(path: Path, rows: list[dict[str, Any]], scores: list[dict[str, Any]]) -> None:
    """Losses and held-out scores over the steps."""
    if not rows:
        return
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), constrained_layout=True)
    for name in ("total", "color", "depth", "distance", "classes", "errors"):
        left.plot([r["step"] for r in rows], [r[name] for r in rows], label=name, linewidth=1)
    left.set(xlabel="step", yscale="log", title="losses")
    left.legend(fontsize=8)
    if scores:
        steps = [s["step"] for s in scores]
        right.plot(steps, [s["psnr"] for s in scores], "o-", label="PSNR, dB")
        right.axhline(scores[-1]["true_depth"], linestyle=":", color="gray", label="blending with the true depth")
        other = right.twinx()
        other.plot(steps, [100 * s["within_1"] for s in scores], "s--", color="tab:orange", label="depth within 1%")
        other.set_ylabel("% of surface pixels")
        right.set(xlabel="step", title="held-out worlds")
        right.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=100)
    plt.close(figure)
