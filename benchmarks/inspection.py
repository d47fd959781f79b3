"""How well `lumigraph inspect` tells attacked photos from clean ones; and the fit of its coefficients.

    python -m benchmarks.inspection fit ../shared/scenes data/sample --out OUT     fit on the temple and the bundled sample
    python -m benchmarks.inspection roc ../shared/scenes --out OUT                 ROC on fern, fox, dtu_scan24 and the three objects

Eight photos of each scene are attacked at once (universal) by each method, and stand beside the scene's clean photos. The changed photos are
kept in OUT and used again.
"""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks.base import Attack
from attacks.bench.cells import plain, save_photos
from attacks.case import Case, prepared, read_universal
from attacks.controls import RandomSign, UniformNoise
from attacks.gradient import DepthAttack, NeRFoolPlus, UniversalNeRFool
from attacks.inspection import COEFFICIENTS, Traces, score, traces_of
from attacks.victims.general import GeneralVictim
from benchmarks.common import about_this_run, drained
from data.files import write_json
from data.readers import read_scene
from data.scene import Scene

TUNE = ("middlebury_templeSparseRing", "still_life")
TEST = ("llff_fern", "fox", "dtu_scan24", "objects_gt/gso_black_bowl", "objects_gt/gso_porcelain_mug", "objects_gt/hope_salad_dressing")
NOISE = ("color_quiet", "color_middle", "light_quiet", "light_middle")


def methods(victim: GeneralVictim, eps: float, steps: int) -> dict[str, Attack]:
    """Attacks of different making; noise for comparison."""
    fast = {"update": "sign", "alpha": eps / 4, "steps": steps, "eps": eps}
    return {
        "nerfool-universal": UniversalNeRFool(victim, **fast), "nerfool+": NeRFoolPlus(victim, **fast), "depth": DepthAttack(victim, **fast),  # type: ignore[arg-type]
        "nerfool (adam)": UniversalNeRFool(victim, eps=eps, steps=steps, alpha=max(1e-3, 2 * eps / steps)),
        "random-sign": RandomSign(victim, eps=eps), "uniform": UniformNoise(victim, eps=eps),
    }  # fmt: skip


def measured(scene: Scene, case: Case, folder: Path, device: str) -> list[Traces]:
    """Traces of a case's changed photos, read from their files as anybody would get them."""
    paths = tuple(sorted(folder.glob("00_*.png")))
    order = {f"00_{Path(n).stem}.png": i for i, n in enumerate(case.names)}
    inner = case.scene
    assert inner is not None
    chosen = [order[p.name] for p in paths]
    attacked = replace(inner.select(chosen), image_paths=paths, root=folder)
    return drained(traces_of(attacked, device, max(int(v) for v in case.cameras.sizes.max(0))))


def collect(folder: Path, names: tuple[str, ...], out: Path, device: str, side: int, eps: float, steps: int, refreshed: int | None) -> list[dict[str, Any]]:
    """Rows of scene, method ('clean' for untouched photos) and traces."""
    rows = []
    victim = GeneralVictim.load(None, device, side, refreshed=refreshed)
    for name in names:
        root = folder / name
        if not root.exists():
            continue
        kept = out / f"{name.replace('/', '_')}-{side}-{eps * 255:g}.json"
        if kept.exists():
            rows += json.loads(kept.read_text())
            continue
        scene = prepared(read_scene(root, root), side)
        case = read_universal(scene, 8, 8, 1).to(device)
        # Clean photos as they come, and as written again by the same hand as the attacked ones.
        mine = [{"scene": name, "method": "clean", **asdict(t)} for t in drained(traces_of(scene, device, side))]
        for method, attack in methods(victim, eps, steps).items():
            place = out / "photos" / name / f"{method}-{side}-{eps * 255:g}-{steps}"
            if not list(place.glob("*.png")):
                save_photos(place, attack(case), 0)
            mine += [{"scene": name, "method": method, **asdict(t)} for t in measured(scene, case, place, device)]
            print(name, method, flush=True)
        write_json(kept, plain(mine))
        rows += mine
    return rows


def auc(clean: np.ndarray, attacked: np.ndarray) -> float:
    """Share of the pairs in which the attacked photo scores higher; ties count half."""
    return float(((attacked[:, None] > clean[None]) + 0.5 * (attacked[:, None] == clean[None])).mean())


def fit(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Logistic regression with a ridge on standardised features, by Newton's method; clean and attacked photos weigh the same."""
    rows = [r for r in rows if all(r[n] is not None for n in names)]
    x = np.array([[r[n] for n in names] for r in rows])
    y = np.array([r["method"] not in ("clean", "uniform", "random-sign") for r in rows], dtype=float)
    keep = np.array([r["method"] not in ("uniform", "random-sign") for r in rows])
    x, y = x[keep], y[keep]
    mean, deviation = x.mean(0), x.std(0) + 1e-9
    z = np.concatenate([(x - mean) / deviation, np.ones((len(x), 1))], axis=1)
    weight = np.where(y > 0, 0.5 / y.sum(), 0.5 / (1 - y).sum())
    w = np.zeros(z.shape[1])
    ridge = 0.003 * np.diag([1.0] * len(names) + [0.0])
    for _ in range(60):
        p = 1 / (1 + np.exp(-z @ w))
        gradient = z.T @ (weight * (p - y)) + ridge @ w
        w = w - np.linalg.solve((z * (weight * p * (1 - p))[:, None]).T @ z + ridge + 1e-9 * np.eye(len(w)), gradient)
    return {"weights": {n: float(v) for n, v in zip(names, w[:-1] / deviation)}, "bias": float(w[-1] - (w[:-1] * mean / deviation).sum())}


def report(rows: list[dict[str, Any]], coefficients: dict[str, Any] | None) -> dict[str, Any]:
    """AUC for each method over all scenes, with both kinds of evidence and with the noise alone; false alarms."""

    def scores(chosen: list[dict[str, Any]], kind: str) -> np.ndarray:
        names = (*NOISE, "contradiction")
        return np.array([score(Traces(**{n: (None if n == "contradiction" and kind == "noise" else r[n]) for n in names}), coefficients) for r in chosen])

    clean = [r for r in rows if r["method"] == "clean"]
    out: dict[str, Any] = {"clean_photos": len(clean), "false_alarms": {k: float((scores(clean, k) >= 0.5).mean()) for k in ("both", "noise")}}
    found = list(dict.fromkeys(r["method"] for r in rows if r["method"] != "clean"))
    for method in found:
        chosen = [r for r in rows if r["method"] == method]
        out[method] = {
            "photos": len(chosen), **{f"auc_{k}": round(auc(scores(clean, k), scores(chosen, k)), 4) for k in ("both", "noise")},
            "found": {k: float((scores(chosen, k) >= 0.5).mean()) for k in ("both", "noise")},
        }  # fmt: skip
    attacked = [r for r in rows if r["method"] not in ("clean", "random-sign", "uniform")]
    out["auc"] = {k: round(auc(scores(clean, k), scores(attacked, k)), 4) for k in ("both", "noise")}
    out["auc_by_scene"] = {
        s: round(auc(scores([r for r in clean if r["scene"] == s], "both"), scores([r for r in attacked if r["scene"] == s], "both")), 4)
        for s in dict.fromkeys(r["scene"] for r in rows)
    }
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["fit", "roc"])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, default=504)
    parser.add_argument("--eps", type=float, default=8)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--refreshed", type=int, help="depth volumes anew in each step (CPU: 1)")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    names = TUNE if a.what == "fit" else TEST
    rows = [r for f in a.folders for r in collect(f, names, a.out, a.device, a.side, a.eps / 255, a.steps, a.refreshed)]
    if a.what == "fit":
        table = {"format": "lumigraph inspection", "fitted_on": list(TUNE), "eps": a.eps, "side": a.side, "noise": fit(rows, NOISE), "both": fit(rows, (*NOISE, "contradiction"))}
        write_json(COEFFICIENTS, table)
    print(json.dumps({**report(rows, None), **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
