"""How well `lumigraph inspect` tells attacked photos from clean ones; and the fit of its coefficients.

    python -m benchmarks.inspection fit ../shared/scenes data/sample --out OUT     fit on the temple and the bundled sample
    python -m benchmarks.inspection roc ../shared/scenes --out OUT                 ROC on fern, fox, dtu_scan24 and the three objects

Eight photos of each scene are attacked at once (universal) by each method, and stand beside the scene's clean photos. So that no file format
can give them away, both come from every hand: as PNG, and as JPEG of two qualities. The changed photos are kept in OUT and used again; OUT
gets `inspection.json` and the curves, `roc.html`.
"""

import argparse
import json
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from attacks.base import Attack
from attacks.bench.cells import plain, save_photos
from attacks.bench.page import chart
from attacks.case import Case, prepared, read_universal
from attacks.controls import RandomSign, UniformNoise
from attacks.gradient import DepthAttack, NeRFoolPlus, UniversalNeRFool
from attacks.inspection import COEFFICIENTS, SUSPICIOUS, Traces, score, traces_of
from attacks.victims.general import GeneralVictim
from benchmarks.common import about_this_run
from data.files import atomic_write, write_json
from data.images import load_rgba, save_image
from data.progress import drained
from data.readers import read_scene
from data.scene import Scene

TUNE = ("middlebury_templeSparseRing", "still_life")
TEST = ("llff_fern", "fox", "dtu_scan24", "objects_gt/gso_black_bowl", "objects_gt/gso_porcelain_mug", "objects_gt/hope_salad_dressing")
HANDS = {"png": None, "jpeg 95": 95, "jpeg 80": 80}
"""How the last one in line writes photos: file format and quality."""
KINDS = {"noise": ("color_quiet", "color_middle"), "both": ("color_quiet", "contradiction")}
"""What each score is made of: few traces, so that two scenes suffice to fit them. The brightness's noise differs too much from scene to scene."""
FALSE_ALARMS = 0.02
"""Share of the clean photos of the fitted scenes, of all hands, that the threshold lets be suspected."""


def methods(victim: GeneralVictim, eps: float, steps: int) -> dict[str, Attack]:
    """Attacks of different making; noise for comparison."""
    fast = {"update": "sign", "alpha": eps / 4, "steps": steps, "eps": eps}
    return {
        "nerfool-universal": UniversalNeRFool(victim, **fast), "nerfool+": NeRFoolPlus(victim, **fast), "depth": DepthAttack(victim, **fast),  # type: ignore[arg-type]
        "nerfool (adam)": UniversalNeRFool(victim, eps=eps, steps=steps, alpha=max(1e-3, 2 * eps / steps)),
        "random-sign": RandomSign(victim, eps=eps), "uniform": UniformNoise(victim, eps=eps),
    }  # fmt: skip


def measured(scene: Scene, case: Case, folder: Path, device: str, quality: int | None) -> list[Traces]:
    """Traces of a case's changed photos, read from their files as anybody would get them: written again as JPEG if a quality is given."""
    paths = tuple(sorted(folder.glob("00_*.png")))
    order = {f"00_{Path(n).stem}.png": i for i, n in enumerate(case.names)}
    inner = case.scene
    assert inner is not None
    chosen = [order[p.name] for p in paths]
    with tempfile.TemporaryDirectory() as again:
        if quality is not None:
            for path in paths:
                save_image(Path(again) / f"{path.stem}.jpg", load_rgba(path)[0][..., :3], quality)
            paths = tuple(Path(again) / f"{path.stem}.jpg" for path in paths)
        attacked = replace(inner.select(chosen), image_paths=paths, root=paths[0].parent)
        return drained(traces_of(attacked, device, max(int(v) for v in case.cameras.sizes.max(0))))


def collect(folder: Path, names: tuple[str, ...], out: Path, device: str, side: int, eps: float, steps: int, refreshed: int | None) -> list[dict[str, Any]]:
    """Rows of scene, method ('clean' for untouched photos), hand ('as given' for the scene's own files) and traces."""
    rows = []
    victim = GeneralVictim.load(None, device, side, refreshed=refreshed)
    for name in names:
        root = folder / name
        if not root.exists():
            continue
        kept = out / f"{name.replace('/', '_')}-{side}-{eps * 255:g}-{steps}.json"
        if kept.exists():
            rows += json.loads(kept.read_text())
            continue
        scene = prepared(read_scene(root, root), side)
        case = read_universal(scene, 8, 8, 1).to(device)
        mine = [{"scene": name, "method": "clean", "hand": "as given", **asdict(t)} for t in drained(traces_of(scene, device, side))]
        for method, attack in {"clean": UniformNoise(victim, eps=0), **methods(victim, eps, steps)}.items():
            place = out / "photos" / name / f"{method}-{side}-{eps * 255:g}-{steps}"
            if not list(place.glob("*.png")):
                save_photos(place, attack(case), 0)
            for hand, quality in HANDS.items():
                mine += [{"scene": name, "method": method, "hand": hand, **asdict(t)} for t in measured(scene, case, place, device, quality)]
            print(name, method, flush=True)
        write_json(kept, plain(mine))
        rows += mine
    return rows


def auc(clean: np.ndarray, attacked: np.ndarray) -> float:
    """Share of the pairs in which the attacked photo scores higher; ties count half."""
    return float(((attacked[:, None] > clean[None]) + 0.5 * (attacked[:, None] == clean[None])).mean())


def fit(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, Any]:
    """Logistic regression with a ridge on standardised features, by Newton's method; clean and attacked photos weigh the same.

    The bias is then set by the false alarms (`FALSE_ALARMS`).
    """
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
    found = w[:-1] / deviation
    clean = np.array([[r[n] for n in names] for r in rows if r["method"] == "clean"]) @ found
    return {"weights": {n: float(v) for n, v in zip(names, found)}, "bias": -float(np.quantile(clean, 1 - FALSE_ALARMS))}


def report(rows: list[dict[str, Any]], coefficients: dict[str, Any] | None) -> dict[str, Any]:
    """AUC by method, by hand and by scene, with both kinds of evidence and with the noise alone; false alarms; the curves' points.

    Clean photos of all hands stand together against the attacked ones: who inspects does not know who wrote a file.
    """

    def scores(chosen: list[dict[str, Any]], kind: str) -> np.ndarray:
        names = Traces.__dataclass_fields__
        return np.array([score(Traces(**{n: (None if n == "contradiction" and kind == "noise" else r[n]) for n in names}), coefficients) for r in chosen])

    def versus(clean: list[dict[str, Any]], chosen: list[dict[str, Any]]) -> dict[str, Any]:
        kinds = ("both", "noise")
        return {
            "photos": len(chosen), **{f"auc_{k}": round(auc(scores(clean, k), scores(chosen, k)), 4) for k in kinds},
            "found": {k: round(float((scores(chosen, k) >= SUSPICIOUS).mean()), 4) for k in kinds},
        }  # fmt: skip

    clean = [r for r in rows if r["method"] == "clean"]
    attacked = [r for r in rows if r["method"] not in ("clean", "random-sign", "uniform")]
    hands = ("as given", *HANDS)
    return {
        "clean_photos": len(clean),
        "false_alarms": {h: {k: round(float((scores([r for r in clean if r["hand"] == h], k) >= SUSPICIOUS).mean()), 4) for k in ("both", "noise")} for h in hands},
        "all": versus(clean, attacked),
        "method": {m: versus(clean, [r for r in rows if r["method"] == m]) for m in dict.fromkeys(r["method"] for r in rows if r["method"] != "clean")},
        "hand": {h: versus(clean, [r for r in attacked if r["hand"] == h]) for h in HANDS},
        "scene": {s: versus([r for r in clean if r["scene"] == s], [r for r in attacked if r["scene"] == s]) for s in dict.fromkeys(r["scene"] for r in rows)},
        "curves": {h: roc(scores(clean, "both"), scores([r for r in attacked if r["hand"] == h], "both")) for h in HANDS},
    }


def roc(clean: np.ndarray, attacked: np.ndarray) -> list[tuple[float, float]]:
    """False alarms against attacked photos found, at every threshold that matters."""
    limits = np.unique(np.concatenate([clean, attacked, [np.inf]]))[::-1]
    points = [(float((clean >= t).mean()), float((attacked >= t).mean())) for t in limits]
    return [p for i, p in enumerate(points) if i in (0, len(points) - 1) or p != points[i - 1]]


def write_curves(path: Path, found: dict[str, Any], title: str) -> None:
    """The ROC as a page of its own."""
    lines = {f"{hand}, AUC {found['hand'][hand]['auc_both']:.3f}": [(x, y) for x, y in points] for hand, points in found["curves"].items()}
    body = chart("attacked photos found over false alarms", lines, 640, 420, ticks=(0, 0.25, 0.5, 0.75, 1))
    head = "<!doctype html><meta charset=utf-8><title>Inspection</title><style>body{font:14px sans-serif;margin:2em}svg{font-size:11px}</style>"
    atomic_write(path, f"{head}<h1>Inspection</h1><p>{title}</p>{body}".encode())


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
        table = {"format": "lumigraph inspection", "fitted_on": list(TUNE), "eps": a.eps, "side": a.side, **{kind: fit(rows, names) for kind, names in KINDS.items()}}
        write_json(COEFFICIENTS, table)
        return
    found = {**report(rows, None), **about_this_run()}
    write_json(a.out / "inspection.json", found)
    write_curves(a.out / "roc.html", found, f"{len(rows)} photos, at most {a.eps:g}/255, longest side {a.side} pixels")
    print(json.dumps({k: v for k, v in found.items() if k != "curves"}, indent=1))


if __name__ == "__main__":
    main()
