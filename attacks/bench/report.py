"""From finished cells to `results.json`, `results.csv` and `leaderboard.html`."""

import csv
import io
import json
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import data
from attacks.bench.cells import plain
from attacks.bench.page import write_page
from attacks.bench.running import stamp
from attacks.bench.suite import Suite
from attacks.methods import CONTROLS
from attacks.sanity import suspicions
from data import __version__
from data.files import atomic_write, write_json
from recon.perceptual import lpips_network

METRICS = ("psnr", "ssim", "lpips", "psnr_clean", "ssim_clean", "lpips_clean", "depth", "depth_truth", "opacity", "lost", "chamfer")
VISIBLE = ("linf", "l2", "psnr", "ssim", "lpips")


def write_report(suite: Suite, rows: Sequence[dict[str, Any]], extras: dict[str, Any], command: str) -> dict[str, Any]:
    """Write all three files; returns what `results.json` holds.

    Args:
        extras: transfer matrices, corruptions, and whatever else was asked for.
        command: exactly what was run.
    """
    content = {
        "lumigraph": __version__, "commit": commit(), "command": command, "time": stamp(), "python": platform.python_version(), "torch": torch.__version__,
        "lpips_network": lpips_network(), "options": _plain(suite.options), "board": board(rows), "rows": list(rows), **extras,
    }  # fmt: skip
    content = plain(content)
    write_json(suite.out / "results.json", content)
    atomic_write(suite.out / "results.csv", table(rows).encode())
    write_page(suite.out / "leaderboard.html", content, suite.out)
    return content  # type: ignore[no-any-return]


def table(rows: Sequence[dict[str, Any]]) -> str:
    """One line for each cell and view."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    head = ["scene", "victim", "defence", "method", "setting", "eps", "seed", "view", *METRICS, *(f"photo_{name}" for name in VISIBLE)]
    writer.writerow([*head, "gradients", "queries", "seconds", "weights", "device", "unreliable", "mesh_chamfer", "mesh_area"])
    wrong = suspicions(rows)
    for row in rows:
        cell = row["cell"]
        reasons = wrong[(cell["scene"], cell["victim"], cell["defence"])]
        for i, view in enumerate(row["views"]):
            at = min(i, len(row["attacks"]) - 1)
            attack, visible = row["attacks"][at], row["perceptibility"][at]
            mesh = row["meshes"][at] if row.get("meshes") else {"chamfer": None, "area": None}
            writer.writerow([
                row["scene_name"], cell["victim"], cell["defence"], cell["method"], cell["setting"], cell["eps"], cell["seed"], view["view"],
                *(_short(view[name]) for name in METRICS), *(_short(visible[name]) for name in VISIBLE),
                attack["gradients"], attack["queries"], attack["seconds"], row["weights"], row["device"], bool(reasons), _short(mesh["chamfer"]), _short(mesh["area"]),
            ])  # fmt: skip
    return file.getvalue()


def board(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry for each scene, victim, defence, method, setting and epsilon: means over views and seeds, spread over seeds, worst view."""
    wrong = suspicions(rows)
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        c = row["cell"]
        groups.setdefault((c["scene"], c["victim"], c["defence"], c["method"], c["setting"], c["eps"]), []).append(row)
    clean = {key[:3] + key[4:5]: _means(group) for key, group in groups.items() if key[5] == 0}
    out = []
    for (scene, victim, defence, method, setting, eps), group in groups.items():
        means = _means(group)
        by_seed = [_means([row])["psnr"] for row in group]
        untouched = clean.get((scene, victim, defence, setting))
        reasons = wrong[(scene, victim, defence)]
        out.append({
            "scene": group[0]["scene_name"], "victim": victim, "defence": defence, "method": method, "setting": setting, "eps": eps,
            "control": method in CONTROLS, "seeds": len(group), "views": sum(len(r["views"]) for r in group) // len(group), **means,
            "seen_psnr": _mean([v["psnr"] for r in group for v in r.get("seen", [])]),
            "seen_psnr_clean": _mean([v["psnr_clean"] for r in group for v in r.get("seen", [])]),
            "mesh_chamfer": _mean([m["chamfer"] for r in group for m in r.get("meshes", [])]), "mesh_area": _mean([m["area"] for r in group for m in r.get("meshes", [])]),
            "psnr_std": float(np.std(by_seed)), "worst_psnr": min((v["psnr"] for r in group for v in r["views"] if v["psnr"] is not None), default=float("nan")),
            "loss": None if untouched is None else untouched["psnr"] - means["psnr"],
            **{f"photo_{n}": _mean([p[n] for r in group for p in r["perceptibility"]]) for n in VISIBLE},
            "seconds": float(np.mean([r["seconds"] for r in group])), "weights": group[0]["weights"], "device": group[0]["device"],
            "unreliable": bool(reasons), "reasons": reasons,
        })  # fmt: skip
    return out


def _means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    return {name: _mean([v[name] for r in rows for v in r["views"]]) for name in METRICS}


def _mean(values: Sequence[float | None]) -> float:
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else float("nan")


def commit() -> str:
    """Of the program, where it is run from a repository; with + where files differ from it."""
    root = Path(data.__file__).resolve().parents[1]
    try:
        name = subprocess.run(["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(["git", "-C", str(root), "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
    return name + ("+" if changed else "")


def _short(value: float | None) -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:.5g}"


def _plain(value: Any) -> Any:
    from dataclasses import asdict

    return json.loads(json.dumps(asdict(value), default=str))
