"""Time to PSNR of the hash-grid engine on procedural worlds and a real scene, beside the plain step and beside nerfacc, in one run.

    python -m benchmarks.train_hashgrid --scene ../shared/scenes/fox --device cuda --out runs/train

Rendering the held-out views is not counted. Writes curves.csv and curves.png; prints a line a measurement. The plain step is PyTorch's
autograd around the same kernels of the encoding; nerfacc's loop is that of `benchmarks.nerfacc_loop`, if nerfacc can be imported.
"""

import argparse
import csv
import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.ablation import held_out_psnr
from benchmarks.common import about_this_run
from benchmarks.train_scenes import scenes
from data.scene import Scene
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer

MARKS = (50, 100, 200, 400, 600, 800, 1000, 1500, 2000, 3000, 4000, 6000, 8000, 12_000)
"""Steps after which the held-out views are rendered."""
Contestant = tuple[Callable[[int], bool], Callable[[], int], Callable[[], float]]
"""Train up to a step at most (False at the end); the step reached; the held-out PSNR."""


def ours(scene: Scene, options: HashGridOptions, device: str, fused: bool) -> Contestant:
    """The engine; without ``fused``, by its plain step."""
    trainer = HashGridTrainer(scene.select(scene.splits["train"]), options, device)
    test, steps = scene.select(scene.splits["test"]), trainer.train()
    if not fused:
        trainer.fused, trainer.tiled = None, False
    return (
        lambda mark: trainer.step >= mark or next(steps, None) is not None,
        lambda: trainer.step,
        lambda: held_out_psnr(trainer.radiance_field(), test, trainer.near, 1.0),
    )


def peer(scene: Scene, options: HashGridOptions, device: str) -> tuple[str, Contestant]:
    """nerfacc's loop, and what it is called."""
    from benchmarks.nerfacc_loop import NerfaccTrainer

    trainer, test = NerfaccTrainer(scene.select(scene.splits["train"]), options.field, options.train.steps, device), scene.select(scene.splits["test"])

    def train(_mark: int) -> bool:
        trainer.advance()
        return trainer.step < options.train.steps

    return trainer.field.name, (train, lambda: trainer.step, lambda: trainer.psnr(test))


def curve(contestant: Contestant, device: str, seconds: float, wanted: Sequence[int] = MARKS) -> Iterator[dict[str, Any]]:
    """PSNR of the held-out views after ever more steps."""
    train, step, psnr = contestant
    spent, marks, going = 0.0, iter(wanted), True
    while spent < seconds and going:
        mark, started = next(marks, 10**9), time.perf_counter()
        while going and step() < mark and time.perf_counter() - started + spent < seconds:
            going = train(mark)
        if device == "cuda":
            torch.cuda.synchronize()
        spent += time.perf_counter() - started
        yield {"step": step(), "seconds": round(spent, 3), "psnr": round(psnr(), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--worlds", type=int, default=3)
    parser.add_argument("--first", type=int, default=0, help="worlds to leave out before the first")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=30.0, help="most seconds of training for a curve")
    parser.add_argument("--samples", type=int, default=18, help="base-2 logarithm of the samples of a step")
    parser.add_argument("--marks", type=int, nargs="+", default=list(MARKS), help="steps after which the held-out views are rendered")
    parser.add_argument("--against", nargs="*", default=["plain", "nerfacc"], choices=["plain", "nerfacc"])
    parser.add_argument("--out", type=Path, default=Path("runs/train_hashgrid"))
    arguments = parser.parse_args()
    train = TrainOptions(steps=arguments.steps, samples_per_step=1 << arguments.samples, depth_weight=0.0, network_learning_rate=1e-2)
    options = HashGridOptions(FieldOptions(16, 2, 19, finest_resolution=2048), train)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with_peer = "nerfacc" in arguments.against and arguments.device == "cuda" and importlib.util.find_spec("nerfacc") is not None
    rows: list[dict[str, Any]] = []

    def contestants(scene: Scene, options: HashGridOptions) -> Iterator[tuple[str, Contestant]]:
        for way in ("fused", *(["plain"] if "plain" in arguments.against else [])):
            yield way, ours(scene, options, arguments.device, way == "fused")
        if with_peer:
            yield peer(scene, options, arguments.device)

    with tempfile.TemporaryDirectory() as folder:
        for scene in scenes(arguments.worlds, arguments.scene, arguments.device, Path(folder), first=arguments.first):
            if not rows:  # compiled once a machine, not once a training
                for _, contestant in contestants(scene, replace(options, train=replace(train, steps=30))):
                    list(curve(contestant, arguments.device, 60.0, ()))
            for way, contestant in contestants(scene, options):
                for point in curve(contestant, arguments.device, arguments.seconds, arguments.marks):
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

    names, ways = list(dict.fromkeys(row["scene"] for row in rows)), list(dict.fromkeys(row["step kind"] for row in rows))
    figure = Figure(figsize=(4 * len(names), 3.2), layout="constrained")
    for axis, name in zip(np.atleast_1d(figure.subplots(1, len(names))), names, strict=True):
        for way in ways:
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
