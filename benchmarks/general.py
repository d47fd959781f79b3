"""The general engine on real photos: held-out views, depth against the truth, speed. Nothing is trained on the scenes.

    python -m benchmarks.general views ../shared/scenes            PSNR of held-out views, 8 nearest sources
    python -m benchmarks.general views ../shared/scenes --tune 60  the same before and after a minute of tuning
    python -m benchmarks.general depth ../shared/scenes/objects_gt depth of the training views
    python -m benchmarks.general mesh ../shared/scenes/dtu_scan24   12 photos 640 x 480 to a mesh: seconds, memory
    python -m benchmarks.general worlds                            held-out worlds by the engine, which enlarges small photos
    python -m benchmarks.general card                              held-out worlds and the bundled sample, into the weights' card
    python -m benchmarks.general speed                             a 640 x 480 depth map and novel view
"""

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from PIL import Image

from benchmarks.common import about_this_run, run_task
from data.allocator import keep_freed_memory
from data.cameras import Cameras
from data.files import write_json
from data.masks import masks_mean
from data.points import with_points
from data.prepare import prepare
from data.progress import drained
from data.readers import read_scene
from data.scene import Scene
from data.worlds.bank import Bank, make_bank
from data.writers import write_transforms
from recon.fields import Rays
from recon.frame import choose_frame, subject_box
from recon.general.batches import make_batch
from recon.general.engine import ConditionOptions, GeneralModel
from recon.general.photos import condition_scene, known_ranges, photo_tensor
from recon.general.tuning import TuneOptions, Tuner
from recon.general.validation import SEEDS, nearest_sources, sample_psnr, validate
from recon.general.validation import psnr as picture_psnr
from recon.general.weights import SHIPPED, read_card
from recon.metrics import psnr, ssim
from recon.options import Quality, ReconstructOptions, Task
from recon.pictures import filled, render_picture
from recon.surface.depth import render_depths

WIDTHS = {"llff_fern": 384, "fox": 216, "dtu_scan24": 320, "middlebury_templeSparseRing": 320}
"""Working widths of the held-out comparison."""


def resized(scene: Scene, folder: Path, width: int) -> Scene:
    """Undistorted photos of a given width."""
    height, full = scene.sizes()[0][::-1]
    side = round(width * max(height, full) / full)
    return drained(prepare(scene, folder, side))


def held_out(model: GeneralModel, name: str, scene: Scene, limit: int, pictures: Path | None) -> dict[str, Any]:
    """Every 8th view from its 8 nearest others, which are all that the model sees."""
    cameras, held = scene.posed(), list(range(0, len(scene), 8))
    rows, strips = [], []
    for target in held[:limit]:
        chosen = scene.select(nearest_sources(scene, target, held))
        started = time.perf_counter()
        with torch.no_grad():
            field = condition_scene(model, chosen if known_ranges(chosen) is not None else with_points(chosen))
            looked = time.perf_counter()
            rendered = render_picture(field, cameras, target)
        done = time.perf_counter()
        truth = photo_tensor(scene, target).permute(1, 2, 0).numpy()
        image = rendered.rgb.numpy()
        copy = photo_tensor(chosen, 0).permute(1, 2, 0).numpy()
        mask = _mask(name, scene, target, truth)
        row = {"psnr": psnr(image, truth), "ssim": ssim(image, truth), "copy": psnr(copy, truth) if copy.shape == truth.shape else float("nan")}
        if mask is not None:
            row |= {"psnr_mask": psnr(image, truth, mask), "copy_mask": psnr(copy, truth, mask)}
        rows.append(row | {"condition_seconds": looked - started, "render_seconds": done - looked})
        strips.append(np.concatenate([truth, image, _disparity(rendered.depth.numpy())], axis=1))
        print(name, target, json.dumps({k: round(float(v), 3) for k, v in rows[-1].items()}), flush=True)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        Image.fromarray((np.concatenate(strips[:4]).clip(0, 1) * 255).astype(np.uint8)).save(pictures / f"{name}.png")
    return {k: round(float(np.mean([r[k] for r in rows])), 3) for k in rows[0]} | {"views": len(rows), "size": [int(v) for v in cameras.sizes[0]]}


def tuning(model: GeneralModel, name: str, scene: Scene, limit: int, seconds: float) -> dict[str, Any]:
    """Held-out views before and after tuning on all other photos of the scene; the 8 nearest of them are blended, as before.

    In the mask where the scene has one, and of whole pictures.
    """
    held = list(range(0, len(scene), 8))
    train = scene.select([i for i in range(len(scene)) if i not in held])
    field = condition_scene(model, train if known_ranges(train) is not None else with_points(train))

    def scores() -> list[tuple[float, float]]:
        rows = []
        for target in held[:limit]:
            truth = photo_tensor(scene, target).permute(1, 2, 0).numpy()
            with torch.no_grad():
                image = render_picture(field, scene.posed(), target).rgb.numpy()
            rows.append((psnr(image, truth, _mask(name, scene, target, truth)), psnr(image, truth)))
        return rows

    before = scores()
    tuner = Tuner(field, train, TuneOptions(seconds=seconds))
    for _ in tuner.tune():
        pass
    after = scores()
    (inside, whole), (inside_after, whole_after) = np.mean(before, axis=0), np.mean(after, axis=0)
    row = {"before": inside, "after": inside_after, "gain": inside_after - inside, "whole_before": whole, "whole_after": whole_after}
    return {k: round(float(v), 3) for k, v in row.items()} | {"steps": tuner.result.steps, "views": len(before), "photos": len(train)}


def _mask(name: str, scene: Scene, view: int, truth: Float[ndarray, "h w 3"]) -> ndarray | None:
    if name.startswith("dtu"):
        mask = scene.mask(view)
        return None if mask is None else np.asarray(Image.fromarray(mask).resize(truth.shape[1::-1]))
    return truth.max(-1) > 0.08 if "temple" in name else None


def _disparity(depth: Float[ndarray, "h w"]) -> Float[ndarray, "h w 3"]:
    seen = depth[depth > 0]
    low, high = np.percentile(seen, [1, 99]) if len(seen) else (1.0, 2.0)
    value = np.clip((1 / np.maximum(depth, low) - 1 / high) / (1 / low - 1 / high + 1e-9), 0, 1) * (depth > 0)
    return np.repeat(value[..., None], 3, axis=-1)


def object_depths(model: GeneralModel, folder: Path, views: str) -> dict[str, Any]:
    """Relative depth errors of the training views inside the masks, unfiltered: of the volumes, and of the geometry branch."""
    scene = read_scene(folder, folder.parent / f".{folder.name}.input")
    chosen = with_points(scene.select(scene.splits[views]))
    chosen = replace(chosen, mask_meaning=masks_mean(chosen))
    started = time.perf_counter()
    field = condition_scene(model, chosen)
    looked = time.perf_counter()
    field.subject_box = subject_box(chosen, choose_frame(chosen))
    traced = drained(render_depths(field, chosen, int(chosen.sizes().max()), np.zeros(len(chosen))))
    done = time.perf_counter()
    errors: dict[str, list[ndarray]] = {"volume": [], "geometry_branch": []}
    for i in range(len(chosen)):
        truth, mask = chosen.depth(i), chosen.mask(i)
        assert truth is not None
        assert mask is not None
        volume = 1 / np.asarray(Image.fromarray(1 / field.depth(i)[0]).resize(truth.shape[1::-1], Image.Resampling.BILINEAR))
        inside = mask & (truth > 0)
        for name, found in (("volume", volume), ("geometry_branch", traced.depth[i])):
            errors[name].append(np.abs(found - truth)[inside] / truth[inside])
    out: dict[str, Any] = {"views": len(chosen), "look_seconds": round(looked - started, 2), "trace_seconds": round(done - looked, 2)}
    for name, parts in errors.items():
        e = np.concatenate(parts)
        out[name] = {"median_percent": round(100 * float(np.median(e)), 3)} | {
            f"within_{k}_percent": round(100 * float((e < 0.01 * k).mean()), 2) for k in (1, 3)
        }
    return out


def speed(model: GeneralModel) -> dict[str, Any]:
    """Seconds for a 640 x 480 view, eight sources from the bundled sample; the second of two runs."""
    sample = read_scene(Path(__file__).parent.parent / "data" / "sample" / "still_life", Path("/tmp/unused"))
    scene = sample.select(list(range(9)))
    small = [torch.nn.functional.interpolate(photo_tensor(scene, i)[None], (480, 640), mode="bilinear", antialias=True)[0] for i in range(9)]
    cameras = scene.posed().resized(np.tile([640, 480], (9, 1)))
    ranges = known_ranges(with_points(scene))
    assert ranges is not None
    out: dict[str, Any] = {}

    def clock() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()

    with torch.no_grad():
        for _ in range(2):
            start = clock()
            model.condition(small[1:6], cameras.select(range(1, 6)), ranges[1:6], volumes_of=[0])
            depth = clock()
            field = model.condition(small[1:], cameras.select(range(1, 9)), ranges[1:])
            looked = clock()
            render_picture(field, cameras, 0)
            out = {"depth_map_seconds": depth - start, "condition_8_seconds": looked - depth, "novel_view_seconds": clock() - looked}
    return {k: round(v, 3) for k, v in out.items()}


def twelve_photos(folder: Path, work: Path, quality: Quality, rounds: int = 1) -> dict[str, Any]:
    """Seconds and memory from 12 posed photos with a longest side of 640 pixels to mesh.glb, this process's start excluded.

    The first of several rounds loads libraries and compiles kernels; what else is reported belongs to the last.
    """
    scene = read_scene(folder, work / "input")
    chosen = scene.select(list(np.linspace(0, len(scene) - 1, 12).round().astype(int)))
    prepared = drained(prepare(chosen, work / "photos", 640))
    write_transforms(work / "photos", prepared)
    task = Task(work / "photos", work / "out", ReconstructOptions(engine="general", quality=quality, turntable=False), overwrite=True)
    totals = []
    for _ in range(rounds):
        report = run_task(task)
        totals.append(round(report["seconds"]["total"] - report["seconds"]["previews"], 2))
    keys = ("seconds", "peak_memory_mb", "peak_gpu_memory_mb", "mesh")
    return {"quality": quality, "size": [int(v) for v in prepared.posed().sizes[0]], "to_glb_seconds": totals, **{k: report[k] for k in keys}}


def held_out_worlds(model: GeneralModel, bank: Bank, count: int = 24) -> dict[str, Any]:
    """One view of each held-out world from its eight nearest others, in ranges as wide as in training's validation."""
    rows = []
    for world in range(min(count, len(bank))):
        target = (torch.tensor([world], device=model.device), torch.tensor([0], device=model.device))
        batch = make_batch(bank, 1, 8, 0, 4, None, torch.Generator(model.device), target)
        size = [batch.images.shape[-1], batch.images.shape[-2]]
        cameras = Cameras.pinhole(*(m[0].double().cpu().numpy() for m in (batch.intrinsics, batch.camera_to_world)), np.tile(size, (8, 1)))
        ranges = torch.stack([batch.view_near[0], batch.view_far[0]], dim=1).double().cpu().numpy()
        start = torch.zeros(batch.near.shape[1], device=model.device)
        with torch.no_grad():
            field = model.condition(list(batch.images[0]), cameras, ranges)
            rays = field.render(Rays(batch.origins[0], batch.directions[0], start, start + torch.inf))
        shape = (size[1], size[0])
        picture = filled(rays.rgb.view(*shape, 3), rays.seen.view(shape), rays.depth.view(shape) > 0).view(-1, 3)
        truth = batch.depth[0].cpu()
        error = ((rays.depth - truth).abs() / truth.clamp(min=1e-6))[truth > 0]
        rows.append({
            "psnr": picture_psnr(picture, batch.rgb[0].cpu()), "unfilled": picture_psnr(rays.rgb, batch.rgb[0].cpu()), "within_1": float((error < 0.01).float().mean()),
            "within_3": float((error < 0.03).float().mean()),
        })  # fmt: skip
        print(world, bank.kinds[world], json.dumps({k: round(v, 3) for k, v in rows[-1].items()}), flush=True)
    return {k: round(float(np.mean([r[k] for r in rows])), 3) for k in rows[0]} | {"worlds": len(rows)}


def card(model: GeneralModel, path: Path) -> dict[str, Any]:
    """Scores on the held-out worlds and on the sample, written into the weights' card."""
    content = read_card(path)
    bank = make_bank(SEEDS, 256, 192, 12, model.device)
    with torch.no_grad():
        content["validation"] = asdict(validate(model.network, bank))
    content["sample_psnr"] = sample_psnr(model.network)
    write_json(path.with_suffix(".json"), content)
    return {"validation": content["validation"], "sample_psnr": content["sample_psnr"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("views", "depth", "mesh", "worlds", "card", "speed"))
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", default="")
    parser.add_argument("--limit", type=int, default=99)
    parser.add_argument("--side", type=int, default=ConditionOptions.side, help="photos are brought to this longest side")
    parser.add_argument("--split", default="train")
    parser.add_argument("--tune", type=float, default=0.0, help="views: seconds of tuning, measured before and after")
    parser.add_argument("--shrink", type=int, default=1, help="views: divides the working widths, for slow machines")
    parser.add_argument("--rounds", type=int, default=1, help="mesh: times each, in one process")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--work", type=Path, default=Path("/tmp/lumigraph-general"))
    arguments = parser.parse_args()
    keep_freed_memory()  # as the command line does
    model = GeneralModel.from_pretrained(arguments.weights, arguments.device, ConditionOptions(side=arguments.side))
    rows: dict[str, Any] = {}
    if arguments.what == "speed":
        rows = speed(model)
    elif arguments.what == "mesh":
        rows = {q: twelve_photos(arguments.folder, arguments.work / f"twelve.{q}", q, arguments.rounds) for q in ("draft", "standard")}
    elif arguments.what == "worlds":
        rows = held_out_worlds(model, make_bank(SEEDS, 256, 192, 12, model.device), arguments.limit if arguments.limit < 99 else 24)
    elif arguments.what == "card":
        rows = card(model, arguments.weights or SHIPPED)
    elif arguments.what == "views":
        for name, width in WIDTHS.items():
            if arguments.only in name:
                scene = resized(read_scene(arguments.folder / name, arguments.work / f"{name}.input"), arguments.work / f"{name}.{arguments.shrink}", width // arguments.shrink)
                if arguments.tune:
                    rows[name] = tuning(model, name, scene, arguments.limit, arguments.tune)
                    print(name, json.dumps(rows[name]), flush=True)
                else:
                    rows[name] = held_out(model, name, scene, arguments.limit, arguments.pictures)
    else:
        for folder in sorted(p for p in arguments.folder.iterdir() if (p / "mesh.ply").exists() and arguments.only in p.name):
            rows[folder.name] = object_depths(model, folder, arguments.split)
            print(folder.name, json.dumps(rows[folder.name]), flush=True)
        for name in ("volume", "geometry_branch"):
            found = [r[name] for r in rows.values() if name in r]
            rows[f"mean_{name}"] = {key: round(float(np.mean([f[key] for f in found])), 3) for key in found[0]}
    print(json.dumps({**rows, **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
