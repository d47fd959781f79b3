"""Scene understanding measured: segments of novel views, agreement of views, selection by clicks, time.

python -m benchmarks.understanding merging                   fit `recon.understanding.merging.Evidence` on procedural worlds
python -m benchmarks.understanding worlds [--worlds 24]      instances in novel views of held-out worlds: predict-then-blend against render-then-predict
"""

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import about_this_run
from data.cameras import Cameras
from data.worlds import layout as L
from data.worlds.labels import LabelBank, make_label_bank
from recon.depthviews import DepthViews, link, nearest
from recon.fields import image_rays, ray_to_z
from recon.general.engine import GeneralField
from recon.understanding.evaluation import matched_iou, view_agreement
from recon.understanding.instances import instances
from recon.understanding.lifting import lift
from recon.understanding.prediction import scores_of
from recon.understanding.small.predictor import Understander

FITTED = range(91_000_000, 91_000_200)
"""Worlds that the merging is fitted on; no network was trained on them."""
HELD_OUT = range(92_000_000, 92_000_200)
"""Worlds that everything is judged on."""


def cameras_of(rows: torch.Tensor, width: int, height: int) -> Cameras:
    """Cameras of world tables as the program has them."""
    n = len(rows)
    k, pose = np.zeros((n, 3, 3)), np.tile(np.eye(4), (n, 1, 1))
    rows = rows.cpu().numpy().astype(np.float64)
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2], k[:, 2, 2] = rows[:, L.CAMERA_FX], rows[:, L.CAMERA_FY], rows[:, L.CAMERA_CX], rows[:, L.CAMERA_CY], 1
    pose[:, :3, :3], pose[:, :3, 3] = rows[:, :9].reshape(n, 3, 3), rows[:, L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3]
    return Cameras.pinhole(k, pose, np.tile(np.array([width, height]), (n, 1)))


def true_views(bank: LabelBank, world: int, views: list[int]) -> DepthViews:
    """Views of a world at half size, with true depth."""
    h, w = bank.rgb.shape[2:4]
    cameras = cameras_of(bank.cameras[world, views], w, h)
    half = cameras.resized(np.tile(np.array([w // 2, h // 2]), (len(views), 1)))
    photos = torch.nn.functional.avg_pool2d(bank.rgb[world, views].permute(0, 3, 1, 2).float() / 255, 2)
    z = torch.stack([bank.depth[world, v, 1::2, 1::2].float() * ray_to_z(half, i).float() for i, v in enumerate(views)])
    return DepthViews(photos, z, half)


def _bank(seeds: range, views: int) -> LabelBank:
    """Made where it is fastest, kept in main memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if len(seeds) < 40:
        bank = make_label_bank(seeds, 320, 240, views, device)
    else:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as executor:
            bank = make_label_bank(seeds, 320, 240, views, device, executor)
    return LabelBank(*(getattr(bank, name).cpu() for name in LabelBank.__dataclass_fields__))


def photos_of(bank: LabelBank, world: int, views: list[int]) -> torch.Tensor:
    return bank.rgb[world, views].permute(0, 3, 1, 2).float() / 255


def merging(arguments: argparse.Namespace) -> None:
    """Logistic regression of "one thing" on what is known of pairs of regions."""
    from recon.understanding import merging as M
    from recon.understanding.regions import edges_of, regions_of, unit

    asked = Understander.from_pretrained(arguments.weights)
    touch, over = [], []
    bank = _bank(FITTED[: arguments.worlds], 6)
    _PAIRS.clear()
    for world in range(len(bank)):
        views = list(range(6))
        seen = true_views(bank, world, views)
        said = asked.understand(photos_of(bank, world, views))
        regions = regions_of(said, views=seen)
        edges = edges_of(regions, said, seen)
        labels = bank.segment[world, views, 1::2, 1::2].numpy()
        lone = regions_of(said)
        _PAIRS.append((regions, edges, lone, edges_of(lone, said), labels.astype(np.int64)))
        true, pure = _majority(regions.maps, labels)
        good = (pure[edges.a] > 0.7) & (pure[edges.b] > 0.7)
        same = (true[edges.a] == true[edges.b])[good]
        f, n = unit(regions.feature), unit(regions.normal)
        unlike, bent = 1 - (f[edges.a] * f[edges.b]).sum(1), 1 - (n[edges.a] * n[edges.b]).sum(1)
        at = edges.border[good] > 0
        touch.append((M.touching(edges.border, edges.outline, edges.step, unlike, bent)[good][at], same[at], np.sqrt(edges.border[good][at])))
        at = edges.shared[good] > 0
        root = np.sqrt(edges.shared)
        over.append((M.overlapping(root, edges.share * root, unlike)[good][at], same[at], np.sqrt(root[good][at])))
    fitted = []
    for name, rows in (("touch", touch), ("overlap", over)):
        x, y, weight = (np.concatenate([r[k] for r in rows]) for k in range(3))
        coefficients, right = _logistic(x, y, weight)
        print(f"{name} = ({', '.join(f'{c:.2f}' for c in coefficients)})  # {len(y)} pairs, {100 * y.mean():.0f} % one thing, {100 * right:.1f} % told right", flush=True)
        fitted.append(coefficients)
    _search(fitted, arguments.tries)


_PAIRS: list[tuple[Any, ...]] = []
"""Regions and pairs of each world: with all photos and of each alone, and the truth. Worker processes inherit it."""


def _search(fitted: list[np.ndarray], tries: int) -> None:
    """From the regression on, coefficients are changed at random and kept where the segments get better: a pair told right is not yet a thing found."""
    from recon.understanding.merging import Evidence

    g = np.random.default_rng(0)
    with ProcessPoolExecutor(mp_context=get_context("fork")) as executor:

        def score(e: Evidence) -> float:
            return float(np.mean(list(executor.map(partial(_judged, e), range(len(_PAIRS)), chunksize=2))))

        def moved(values: tuple[float, ...], width: float) -> tuple[float, ...]:
            return tuple(c + (0.3 + abs(c)) * width * g.normal() * (g.random() < 0.4) for c in values)

        starts = [Evidence(tuple(fitted[0] - [least, 0, 0, 0, 0, 0]), tuple(fitted[1] - [least, 0, 0])) for least in (0.0, 1.0, 2.0)] + [Evidence()]
        scores = [score(e) for e in starts]
        print("starts", [round(v, 4) for v in scores], flush=True)
        best, value = starts[int(np.argmax(scores))], max(scores)
        for i in range(tries):
            width = 0.5 * (1 - i / tries) + 0.05
            new = Evidence(moved(best.touch, width), moved(best.overlap, width), best.weight * float(np.exp(width * g.normal())))
            if (v := score(new)) > value:
                best, value = new, v
                print(i, round(value, 4), flush=True)
    rounded = {k: [round(float(c), 2) for c in v] if isinstance(v, tuple) else round(float(v), 3) for k, v in vars(best).items()}
    print(json.dumps({"score": round(value, 4), **rounded}))


def _judged(evidence: Any, world: int) -> float:
    """Mean of how well things are found in all photos at once and in each alone: the merging serves both."""
    from recon.understanding.merging import merge
    from recon.understanding.regions import of_pixels

    regions, edges, lone, lone_edges, true = _PAIRS[world]
    together = of_pixels(merge(regions, edges, evidence), regions)
    alone = of_pixels(merge(lone, lone_edges, evidence), lone)
    each = [v for i in range(len(true)) for v in matched_iou(alone[i], true[i])]
    return 0.5 * (float(np.mean(matched_iou(together, true))) + float(np.mean(each)))


def worlds(arguments: argparse.Namespace) -> None:
    """Instances in novel views, both strategies with the same network, the same regions, the same merging."""
    from recon.general.engine import GeneralModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked, model = Understander.from_pretrained(arguments.weights, device), GeneralModel.from_pretrained(None, device)
    bank = _bank(HELD_OUT[: arguments.worlds], 12)
    sources, novel = [0, 1, 3, 4, 6, 7, 9, 10], [2, 5, 8, 11]
    rows = []
    for world in range(len(bank)):
        row = _world(bank, world, sources, novel, asked, model)
        rows.append(row)
        print(world, {k: round(v, 3) for k, v in row.items()}, flush=True)
    mean = {k: round(float(np.mean([r[k] for r in rows])), 4) for k in rows[0]}
    ratio = {k: round(mean[f"blend_{k}"] / mean[f"render_{k}"], 3) for k in ("each_view", "scene")}
    print(json.dumps({"worlds": len(bank), **about_this_run(), "mean": mean, "ratio": ratio}, indent=1))


def _world(bank: LabelBank, world: int, sources: list[int], novel: list[int], asked: Understander, model: Any) -> dict[str, float]:
    h, w = bank.rgb.shape[2:4]
    cameras = cameras_of(bank.cameras[world], w, h)
    photos = photos_of(bank, world, sources)
    field = model.condition(list(photos), cameras.select(sources))
    seen = field_views(field, photos, cameras.select(sources))
    said = asked.understand(photos)
    found = instances(said, seen)
    predictions = scores_of([torch.from_numpy(m) for m in found], [str(i) for i in range(int(found.max()) + 1)])
    lifted = lift(predictions, field)
    half = cameras.select(novel).resized(np.tile(np.array([w // 2, h // 2]), (len(novel), 1)))
    true = bank.segment[world, novel, 1::2, 1::2].numpy().astype(np.int64)
    blended = torch.stack([lifted.render_view(half, i).labels.view(h // 2, w // 2) for i in range(len(novel))]).numpy()
    rgb = torch.stack([field.render(image_rays(cameras.select(novel), i, device=field.device)).rgb.view(h, w, 3).permute(2, 0, 1) for i in range(len(novel))])
    alone = np.stack([instances(asked.understand(r[None]))[0] for r in rgb])
    apart = alone + (np.arange(len(novel)) * 1000)[:, None, None]  # render-then-predict knows nothing of one number in two views
    truth = true_views(bank, world, sources + novel)
    every = np.concatenate([found, blended])
    agree = view_agreement(torch.from_numpy(every), link(truth, nearest(truth.cameras, 6)))
    return {
        "blend_each_view": float(np.mean([v for i in range(len(novel)) for v in matched_iou(blended[i], true[i])])),
        "render_each_view": float(np.mean([v for i in range(len(novel)) for v in matched_iou(alone[i], true[i])])),
        "blend_scene": float(np.mean(matched_iou(blended, true))), "render_scene": float(np.mean(matched_iou(apart, true))),
        "photos_scene": float(np.mean(matched_iou(found, bank.segment[world, sources, 1::2, 1::2].numpy().astype(np.int64)))),
        "agreement": agree,
    }  # fmt: skip


def field_views(field: GeneralField, photos: torch.Tensor, cameras: Cameras) -> DepthViews:
    """Photos of one size at half of it, with the depth that the general engine finds."""
    n, _, h, w = photos.shape
    half = cameras.resized(np.tile(np.array([w // 2, h // 2]), (n, 1)))
    depth = torch.stack([torch.nn.functional.interpolate(torch.from_numpy(field.depth(i)[0].copy())[None, None], (h // 2, w // 2), mode="nearest-exact")[0, 0] for i in range(n)])
    return DepthViews(torch.nn.functional.avg_pool2d(photos, 2), depth.float(), half)


def _majority(maps: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The commonest true label of each region, and its share."""
    count = np.zeros((maps.max() + 1, 256))
    np.add.at(count, (maps.reshape(-1), true.reshape(-1)), 1)
    return count.argmax(1), count.max(1) / np.maximum(count.sum(1), 1)


def _logistic(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, float]:
    from scipy.optimize import minimize

    sign = np.where(y, 1.0, -1.0)

    def loss(c: np.ndarray) -> tuple[float, np.ndarray]:
        z = sign * (x @ c)
        value = (weight * np.logaddexp(0, -z)).sum() / weight.sum() + 1e-4 * (c @ c)
        slope = -(x * (weight * sign / (1 + np.exp(np.clip(z, -50, 50))))[:, None]).sum(0) / weight.sum() + 2e-4 * c
        return value, slope

    c = minimize(loss, np.zeros(x.shape[1]), jac=True, method="L-BFGS-B").x
    return c, float((((x @ c) > 0) == y).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_subparsers(dest="what", required=True)
    one = what.add_parser("merging")
    one.add_argument("--worlds", type=int, default=100)
    one.add_argument("--tries", type=int, default=200)
    one.add_argument("--weights", type=Path)
    one.set_defaults(run=merging)
    one = what.add_parser("worlds")
    one.add_argument("--worlds", type=int, default=24)
    one.add_argument("--weights", type=Path)
    one.set_defaults(run=worlds)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
