"""Scene understanding measured: segments of novel views, agreement of views, selection by clicks, time.

python -m benchmarks.understanding merging                   fit `recon.understanding.merging.Evidence` on procedural worlds
python -m benchmarks.understanding worlds [--worlds 24]      instances in novel views of held-out worlds: predict-then-blend against render-then-predict
python -m benchmarks.understanding select RESULT MASKS       a person who clicks where the mask is most wrong, in three photos; IoU in the others
python -m benchmarks.understanding objects RESULTS TRUTHS    the same for the objects with true meshes, and the F-score of the part of the mesh
python -m benchmarks.understanding time RESULT               seconds of a question
python -m benchmarks.understanding adapters                  light tuning on a domain that the network does not know, against zero-shot
python -m benchmarks.understanding pictures RESULT... --out FILE   overlays of all tasks
"""

import argparse
import json
import tempfile
import time
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
from data.worlds.labels import CLASSES, LabelBank, make_label_bank
from recon.depthviews import DepthViews, link, nearest
from recon.fields import ray_to_z
from recon.general.engine import GeneralField
from recon.understanding.evaluation import class_iou, matched_iou, view_agreement
from recon.understanding.instances import instances
from recon.understanding.lifting import lift, rendered_first
from recon.understanding.prediction import Predictions, scores_of
from recon.understanding.small.networks import UnderstandingOptions
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
    _search(fitted, arguments.tries, 60 * arguments.minutes)


_PAIRS: list[tuple[Any, ...]] = []
"""Regions and pairs of each world: with all photos and of each alone, and the truth. Worker processes inherit it."""


def _search(fitted: list[np.ndarray], tries: int, seconds: float) -> None:
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
        best, value, begun = starts[int(np.argmax(scores))], max(scores), time.perf_counter()
        for i in range(tries):
            if time.perf_counter() - begun > seconds:
                break
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
    """Instances and classes in novel views, both strategies with the same network, the same regions, the same merging."""
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
    ratio = {k: round(mean[f"blend_{k}"] / mean[f"render_{k}"], 3) for k in ("each_view", "scene", "classes")}
    print(json.dumps({"worlds": len(bank), **about_this_run(), "mean": mean, "ratio": ratio}, indent=1))


def _world(bank: LabelBank, world: int, sources: list[int], novel: list[int], asked: Understander, model: Any) -> dict[str, float]:
    h, w = bank.rgb.shape[2:4]
    cameras = cameras_of(bank.cameras[world], w, h)
    photos = photos_of(bank, world, sources)
    field = model.condition(list(photos), cameras.select(sources))
    seen = field_views(field, photos, cameras.select(sources))
    said = asked.understand(photos)
    found = instances(said, seen)
    lifted = lift(_numbered(found), field)
    half = cameras.select(novel).resized(np.tile(np.array([w // 2, h // 2]), (len(novel), 1)))
    true = bank.segment[world, novel, 1::2, 1::2].numpy().astype(np.int64)
    blended = torch.stack([lifted.render_view(half, i).labels.view(h // 2, w // 2) for i in range(len(novel))]).numpy()
    kinds = []

    def predict(rgb: torch.Tensor) -> Predictions:
        what = asked.understand(rgb)
        kinds.append(asked.scores(what, rgb).maps[0].argmax(0).numpy())
        return _numbered(instances(what))

    alone = np.stack([rendered_first(predict, field, cameras.select(novel), i).maps[0].argmax(0).numpy() for i in range(len(novel))])
    two_d = asked.scores(said, photos)
    scores = lift(two_d, field)
    lifted_kinds = torch.stack([scores.render_view(half, i).labels.view(h // 2, w // 2) for i in range(len(novel))]).numpy()
    kind, photo_kind = (bank.classes[world].numpy().astype(np.int64)[bank.segment[world, v, 1::2, 1::2].numpy().astype(np.int64)] for v in (novel, sources))
    apart = alone + (np.arange(len(novel)) * 1000)[:, None, None]  # render-then-predict knows nothing of one number in two views
    truth = true_views(bank, world, sources + novel)
    every = np.concatenate([found, blended])
    agree = view_agreement(torch.from_numpy(every), link(truth, nearest(truth.cameras, 6)))
    return {
        "blend_each_view": float(np.mean([v for i in range(len(novel)) for v in matched_iou(blended[i], true[i])])),
        "render_each_view": float(np.mean([v for i in range(len(novel)) for v in matched_iou(alone[i], true[i])])),
        "blend_scene": float(np.mean(matched_iou(blended, true))), "render_scene": float(np.mean(matched_iou(apart, true))),
        "photos_scene": float(np.mean(matched_iou(found, bank.segment[world, sources, 1::2, 1::2].numpy().astype(np.int64)))),
        "blend_classes": float(np.mean(list(class_iou(lifted_kinds, kind, len(CLASSES)).values()))),
        "render_classes": float(np.mean(list(class_iou(np.stack(kinds), kind, len(CLASSES)).values()))),
        "photos_classes": float(np.mean(list(class_iou(np.stack([m.argmax(0).numpy() for m in two_d.maps]), photo_kind, len(CLASSES)).values()))),
        "agreement": agree,
    }  # fmt: skip


def _numbered(labels: np.ndarray) -> Predictions:
    """Label maps as predictions; the numbers are the names."""
    return scores_of([torch.from_numpy(m) for m in labels], [str(i) for i in range(int(labels.max()) + 1)])


def field_views(field: GeneralField, photos: torch.Tensor, cameras: Cameras) -> DepthViews:
    """Photos of one size at half of it, with the depth that the general engine finds."""
    n, _, h, w = photos.shape
    half = cameras.resized(np.tile(np.array([w // 2, h // 2]), (n, 1)))
    depth = torch.stack([torch.nn.functional.interpolate(torch.from_numpy(field.depth(i)[0].copy())[None, None], (h // 2, w // 2), mode="nearest-exact")[0, 0] for i in range(n)])
    return DepthViews(torch.nn.functional.avg_pool2d(photos, 2), depth.float(), half)


def select_(arguments: argparse.Namespace) -> None:
    """Interactive selection, a person simulated as is usual: each click goes to the middle of the largest mistake."""
    row = clicked_result(arguments.result, arguments.masks, arguments.rounds)[0]
    print(json.dumps({"result": arguments.result.name, **about_this_run(), "rounds": row}, indent=1))


def clicked_result(folder: Path, masks: Path, rounds: int) -> tuple[list[dict[str, Any]], Any]:
    """Clicks in three photos, evenly spaced, one each a round; and the answer after the last."""
    from recon.result import open_result
    from recon.understanding.answers import selection
    from recon.understanding.asked import look
    from recon.understanding.selecting import Click

    asked = look(open_result(folder), 640)
    said = Understander.from_pretrained().understand(asked.photos)
    h, w = asked.views.depth.shape[1:]
    by_stem = {int("".join(c for c in p.stem if c.isdigit()) or -1): p for p in masks.glob("*.png")} | {p.stem: p for p in masks.glob("*.png")}  # type: ignore[dict-item]
    true = np.stack([_mask(by_stem.get(n) or by_stem[int(n)], w, h) for n in asked.names])  # type: ignore[call-overload,arg-type,index]
    n = len(true)
    photos, clicks, out = [0, n // 3, 2 * n // 3], [], []
    found = np.zeros_like(true)
    for _ in range(rounds):
        for i in photos:
            missed, wrong = _deepest(true[i] & ~found[i]), _deepest(found[i] & ~true[i])
            depth, x, y = max(missed, wrong)
            if depth >= 3:
                clicks.append(Click(i, ((x + 0.5) / w, (y + 0.5) / h), missed >= wrong))
                answer = selection(asked, said, clicks)
                assert answer.labels is not None
                found = answer.labels > 0
        iou = [float((found[i] & true[i]).sum() / max((found[i] | true[i]).sum(), 1)) for i in range(n)]
        others = [iou[i] for i in range(n) if i not in photos]
        out.append({"clicks": len(clicks), "unclicked_mean": round(float(np.mean(others)), 4), "unclicked_worst": round(min(others), 4), "clicked": [round(iou[i], 4) for i in photos]})
    return out, (asked, answer)


def _mask(path: Path, width: int, height: int) -> np.ndarray:
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA) > 127


def _deepest(mistake: np.ndarray) -> tuple[float, int, int]:
    """How far the middle of the largest mistake is from its rim, and where it is."""
    import cv2

    inside = cv2.distanceTransform(np.pad(mistake.astype(np.uint8), 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(inside.argmax(), inside.shape)
    return float(inside.max()), int(x), int(y)


def objects(arguments: argparse.Namespace) -> None:
    """Selected parts of meshes that hold more than the object, against the true meshes."""
    import trimesh

    from benchmarks.objects import score
    from recon.surface.raycast import Raycaster
    from recon.surface.triangles import Triangles
    from recon.understanding.meshes import face_labels, part

    for truth in sorted(p for p in arguments.truths.iterdir() if (p / "gt_points.npz").exists()):
        rows, (asked, answer) = clicked_result(arguments.results / truth.name, truth / "masks", arguments.rounds)
        mesh = asked.result.asset.mesh
        faces = face_labels(mesh, list(answer.labels), asked.views.cameras, asked.depth)
        chosen = faces.label == 1
        true_mesh = trimesh.load(truth / "mesh.ply", process=False)
        caster = Raycaster(Triangles(np.asarray(true_mesh.vertices), np.asarray(true_mesh.faces)))
        near = caster.distance(mesh.vertices[mesh.faces].mean(1)) < 0.02 * float(np.linalg.norm(true_mesh.extents))
        area = mesh.face_areas
        hit = float(area[chosen & near].sum())
        precision, recall = hit / max(float(area[chosen].sum()), 1e-12), hit / max(float(area[near].sum()), 1e-12)
        with tempfile.TemporaryDirectory() as folder:
            file = part(asked.result.asset, np.flatnonzero(chosen)).write(Path(folder) / "part.glb")
            shape, whole = score(file, truth), score(asked.result.folder / "mesh.glb", truth)
        print(truth.name, json.dumps({
            "clicks": rows[-1]["clicks"], "unclicked_iou": rows[-1]["unclicked_mean"], "faces_precision": round(precision, 4), "faces_recall": round(recall, 4),
            "faces_f_score": round(2 * precision * recall / max(precision + recall, 1e-12), 4), "shape_f_score": round(shape["f_score"], 4), "whole_mesh_f_score": round(whole["f_score"], 4),
        }), flush=True)  # fmt: skip
    print(json.dumps(about_this_run(), indent=1))


def time_(arguments: argparse.Namespace) -> None:
    """Seconds of a whole question, the first in a process and the second, and of the network alone."""
    from data.progress import drained
    from recon.result import open_result
    from recon.understanding.asked import look
    from recon.understanding.options import UnderstandOptions, UnderstandTask
    from recon.understanding.pipeline import understand

    row: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for which in ("first", "second"):
            begun = time.perf_counter()
            for task in arguments.tasks:
                drained(understand(UnderstandTask(arguments.result, Path(folder) / task, UnderstandOptions(task=task))))
                row[f"{which}_{task}"] = round(time.perf_counter() - begun, 2)
                begun = time.perf_counter()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    asked, network = look(open_result(arguments.result), 640, device), Understander.from_pretrained(None, device)
    for _ in range(2):
        begun = time.perf_counter()
        float(network.understand(asked.photos).thing.sum())
        row["network"] = round(time.perf_counter() - begun, 3)
    begun = time.perf_counter()
    said = network.understand(asked.photos)
    instances(said, asked.views)
    row["network_and_merging"] = round(time.perf_counter() - begun, 2)
    print(json.dumps({"photos": list(asked.photos.shape), **row, **about_this_run()}, indent=1))


def adapters(arguments: argparse.Namespace) -> None:
    """Worlds drawn in charcoal: a domain with the same names that the network never saw. Tuned on some worlds, judged on others."""
    from data.worlds.edits.filters import FILTERS, Views
    from recon.understanding.adapters import Adapter
    from recon.understanding.options import UnderstandingTraining
    from recon.understanding.tuning import LabelledPhotos, tuned

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = Understander.from_pretrained(None, device)
    g = torch.Generator().manual_seed(0)

    def domain(seeds: range) -> tuple[list[np.ndarray], list[np.ndarray]]:
        bank = _bank(seeds, 2)
        rgb = bank.rgb.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        n = len(rgb)
        views = Views(rgb, bank.depth.flatten(0, 1)[:, None].float(), torch.zeros(n, 1, *rgb.shape[2:]), torch.zeros(n, 1, *rgb.shape[2:], dtype=torch.bool))
        drawn = FILTERS["style", arguments.style](views, g).clamp(0, 1)
        kind = bank.classes[:, None].expand(-1, 2, -1).flatten(0, 1).long().gather(1, bank.segment.flatten(0, 1).flatten(1).long()).view(n, *rgb.shape[2:])
        return [np.round(p.permute(1, 2, 0).numpy() * 255).astype(np.uint8) for p in drawn], list(kind.numpy())

    test, truth = domain(range(93_000_000, 93_000_000 + arguments.test))
    train, labels = domain(range(94_000_000, 94_000_000 + arguments.train))
    photos = torch.from_numpy(np.stack(test)).permute(0, 3, 1, 2).float() / 255
    true = np.stack(truth)[:, 1::2, 1::2]

    def miou() -> float:
        said = network.understand(photos) if network.adapter is None else None
        found = np.stack([m.argmax(0).numpy() for m in network.scores(said, photos).maps])  # type: ignore[arg-type]
        return float(np.mean(list(class_iou(found, true, len(CLASSES)).values())))

    before = miou() if arguments.base == "understanding" else None
    if arguments.base == "general":
        network.network = _GeneralBase(device)  # type: ignore[assignment]
    adapter = Adapter(network.network, CLASSES, arguments.rank).to(device)
    last = list(tuned(adapter, network.network, LabelledPhotos(tuple(train), tuple(labels), CLASSES), UnderstandingTraining(minutes=arguments.minutes, rank=arguments.rank), device))[-1]
    network.adapter = adapter.eval()
    after = miou()
    print(json.dumps({
        "style": arguments.style, "labelled_photos": len(train), "test_photos": len(test), "base": arguments.base, "zero_shot_miou": before and round(before, 4), "tuned_miou": round(after, 4), "gain": before and round(after - before, 4),
        "steps": last["step"], "parameters": adapter.count, "share": round(adapter.count / sum(p.numel() for p in network.network.parameters()), 4), **about_this_run(),
    }, indent=1))  # fmt: skip


class _GeneralBase(torch.nn.Module):
    """The encoder of the general model, frozen, as what adapters sit on: is it the better base?"""

    def __init__(self, device: torch.device) -> None:
        from recon.general.engine import GeneralModel

        super().__init__()
        encoder = GeneralModel.from_pretrained(None, device).network.encoder
        for name, part in encoder.named_children():
            self.add_module(name, part)
        self.out, self.raw = encoder.out2, encoder.forward
        self.options = UnderstandingOptions(decoder=(0, 0, encoder.out2.in_channels))
        self.requires_grad_(False)


def pictures(arguments: argparse.Namespace) -> None:
    """A page of overlays: a row for each result, a column for each task."""
    import cv2

    from data.progress import drained
    from recon.understanding.options import UnderstandOptions, UnderstandTask
    from recon.understanding.pipeline import understand

    rows = []
    for result in arguments.results:
        row = []
        for task in arguments.tasks:
            with tempfile.TemporaryDirectory() as folder:
                drained(understand(UnderstandTask(result, Path(folder) / task, UnderstandOptions(task=task))))
                files = sorted((Path(folder) / task / "overlays").iterdir())
                picture = cv2.imread(str(files[len(files) // 2]))
                assert picture is not None
                row.append(cv2.resize(picture, (320, 240), interpolation=cv2.INTER_AREA))
        if len(arguments.results) == 1 and len(row) % 3 == 0:  # a single result is no row of a table
            rows += [np.concatenate(row[k : k + 3], axis=1) for k in range(0, len(row), 3)]
        else:
            rows.append(np.concatenate(row, axis=1))
    cv2.imwrite(str(arguments.out), np.concatenate(rows))


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
    one.add_argument("--minutes", type=float, default=30.0, help="of the search, at most")
    one.add_argument("--weights", type=Path)
    one.set_defaults(run=merging)
    one = what.add_parser("worlds")
    one.add_argument("--worlds", type=int, default=24)
    one.add_argument("--weights", type=Path)
    one.set_defaults(run=worlds)
    one = what.add_parser("select")
    one.add_argument("result", type=Path)
    one.add_argument("masks", type=Path)
    one.add_argument("--rounds", type=int, default=4)
    one.set_defaults(run=select_)
    one = what.add_parser("objects")
    one.add_argument("results", type=Path)
    one.add_argument("truths", type=Path)
    one.add_argument("--rounds", type=int, default=3)
    one.set_defaults(run=objects)
    one = what.add_parser("time")
    one.add_argument("result", type=Path)
    one.add_argument("--tasks", nargs="+", default=["instances"])
    one.set_defaults(run=time_)
    one = what.add_parser("adapters")
    one.add_argument("--style", default="charcoal")
    one.add_argument("--base", choices=("understanding", "general"), default="understanding", help="what the adapters sit on: the network for understanding, or the encoder of the general model")
    one.add_argument("--train", type=int, default=40)
    one.add_argument("--test", type=int, default=30)
    one.add_argument("--minutes", type=float, default=4.0)
    one.add_argument("--rank", type=int, default=4)
    one.set_defaults(run=adapters)
    one = what.add_parser("pictures")
    one.add_argument("results", type=Path, nargs="+")
    one.add_argument("--tasks", nargs="+", default=["instances", "materials", "features", "foreground", "edges", "normals"])
    one.add_argument("--out", type=Path, required=True)
    one.set_defaults(run=pictures)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
