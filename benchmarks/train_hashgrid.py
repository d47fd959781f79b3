"""Time to PSNR of the hash-grid engine on procedural worlds and a real scene: the fused step beside the plain one, in one run.

    python -m benchmarks.train_hashgrid --scene ../shared/scenes/fox --device cuda --out runs/train

Three worlds of 200 training views and 8 held-out ones, 400 x 300. Rendering the held-out views is not counted. Writes
curves.csv and curves.png; prints a line a measurement. The plain step is PyTorch's autograd around the same kernels of the encoding.
"""

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation import held_out_psnr
from benchmarks.common import about_this_run, drained
from data.cameras import Cameras
from data.images import save_image
from data.points import with_points
from data.prepare import prepare
from data.readers import read_scene
from data.scene import Scene, SparsePoints
from data.worlds import layout as L
from data.worlds.bank import Bank, make_bank
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer

SEEDS = (20_000_000, 20_000_001, 20_000_002, 20_000_003, 20_000_004, 20_000_005)
"""Worlds nothing was trained on; the first three that can be photographed from so many places are taken."""
HELD_OUT, SIZE = 8, (400, 300)


def world_scene(bank: Bank, world: int, folder: Path) -> Scene:
    """A world of a bank as a data set on disk; points and depth ranges are the truth's, as structure from motion would find them."""
    rows, pictures, depths = bank.cameras[world].double().cpu().numpy(), bank.rgb[world].cpu().numpy(), bank.depth[world].float().cpu().numpy()
    folder.mkdir(parents=True)
    paths = [folder / f"{i:03d}.png" for i in range(len(rows))]
    for path, picture in zip(paths, pictures, strict=True):
        save_image(path, picture)
    k, poses = np.tile(np.eye(3), (len(rows), 1, 1)), np.tile(np.eye(4), (len(rows), 1, 1))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = rows[:, L.CAMERA_FX], rows[:, L.CAMERA_FY], rows[:, L.CAMERA_CX], rows[:, L.CAMERA_CY]
    poses[:, :3, :3], poses[:, :3, 3] = rows[:, :9].reshape(-1, 3, 3), rows[:, L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3]
    cameras = Cameras.pinhole(k, poses, np.tile(np.array(SIZE), (len(rows), 1)))
    random, xyz, rgb, ranges = np.random.default_rng(0), [], [], []
    for i in range(len(rows)):
        y, x = random.integers(0, SIZE[1], 60), random.integers(0, SIZE[0], 60)
        seen = depths[i, y, x] > 0
        pixels, ones = np.stack([x + 0.5, y + 0.5], -1)[seen], np.ones(int(seen.sum()))
        towards = cameras.unproject(i, pixels, ones) - cameras.centers[i]
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        xyz.append(cameras.centers[i] + towards * depths[i, y, x][seen, None])
        rgb.append(pictures[i, y, x][seen])
        known = depths[i][depths[i] > 0]
        ranges.append(np.percentile(known, [1, 99]) if len(known) else np.array([1.0, 10.0]))
    points = SparsePoints(np.concatenate(xyz), np.concatenate(rgb))
    splits = {"train": tuple(range(len(rows) - HELD_OUT)), "test": tuple(range(len(rows) - HELD_OUT, len(rows)))}
    return Scene(f"world {bank.seeds[world]}", folder, tuple(paths), cameras, points=points, near_far=np.stack(ranges), splits=splits)


def curve(scene: Scene, options: HashGridOptions, device: str, fused: bool, seconds: float) -> Iterator[dict[str, Any]]:
    """PSNR of the held-out views after ever more steps."""
    trainer = HashGridTrainer(scene.select(scene.splits["train"]), options, device)
    test = scene.select(scene.splits["test"])
    if not fused:
        trainer.fused, trainer.tiled = None, False
    spent, step, marks = 0.0, 0, iter([50, 100, 200, 400, 600, 800, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12_000])
    mark, steps = next(marks), trainer.train()
    while spent < seconds:
        started = time.perf_counter()
        ended = False
        while trainer.step < mark and time.perf_counter() - started + spent < seconds and not ended:
            ended = next(steps, None) is None
        if device == "cuda":
            torch.cuda.synchronize()
        spent += time.perf_counter() - started
        step = trainer.step
        yield {"step": step, "seconds": round(spent, 3), "psnr": round(held_out_psnr(trainer.radiance_field(), test, trainer.near, 1.0), 3)}
        if ended or step >= options.train.steps:
            return
        mark = next(marks, 10**9)


def scenes(arguments: argparse.Namespace, folder: Path) -> Iterator[Scene]:
    """The worlds, then the real scene."""
    count = 0
    for seed in SEEDS:
        if count == arguments.worlds:
            break
        try:
            bank = make_bank([seed], *SIZE, 200 + HELD_OUT, arguments.device)
        except Exception as error:
            print(json.dumps({"left out": seed, "why": str(error)}), flush=True)
            continue
        if len(bank) == 0:
            continue
        count += 1
        yield drained(prepare(world_scene(bank, 0, folder / str(seed)), folder / f"{seed}-work", max(SIZE)))
    if arguments.scene:
        scene = with_points(drained(prepare(read_scene(arguments.scene, folder / "unpacked"), folder / "work", 640)))
        yield scene.hold_out(8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=30.0, help="most seconds of training for a curve")
    parser.add_argument("--samples", type=int, default=18, help="base-2 logarithm of the samples of a step")
    parser.add_argument("--out", type=Path, default=Path("runs/train_hashgrid"))
    arguments = parser.parse_args()
    train = TrainOptions(steps=arguments.steps, samples_per_step=1 << arguments.samples, depth_weight=0.0, network_learning_rate=1e-2)
    options = HashGridOptions(FieldOptions(16, 2, 19, finest_resolution=2048), train)
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    warm = False
    with tempfile.TemporaryDirectory() as folder:
        for scene in scenes(arguments, Path(folder)):
            if not warm:  # compiled once a machine, not once a training
                short = replace(options, train=replace(train, steps=30))
                for fused in (True, False):
                    list(curve(scene, short, arguments.device, fused, 60.0))
                warm = True
            for way in ("fused", "plain"):
                for point in curve(scene, replace(options), arguments.device, way == "fused", arguments.seconds):
                    rows.append({"scene": scene.name, "step kind": way, **point})
                    print(json.dumps(rows[-1]), flush=True)
    with (arguments.out / "curves.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, arguments.out / "curves.png")
    print(json.dumps(about_this_run(), indent=1))


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """PSNR over seconds, a panel a scene."""
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(row["scene"] for row in rows))
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for axis, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for way in ("fused", "plain"):
            mine = [r for r in rows if r["scene"] == name and r["step kind"] == way]
            axis.semilogx([r["seconds"] for r in mine], [r["psnr"] for r in mine], marker=".", label=way)
        axis.set_title(name, fontsize=9)
        axis.set_xlabel("seconds of training")
        axis.grid(True, alpha=0.3)
    np.atleast_1d(figure.axes)[0].set_ylabel("held-out PSNR, dB")
    np.atleast_1d(figure.axes)[0].legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
