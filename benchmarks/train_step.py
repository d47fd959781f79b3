"""One training step of the hash-grid engine on a CPU, three ways in one run: tiled, autograd around our kernels, and PyTorch alone.

    OMP_WAIT_POLICY=PASSIVE python -m benchmarks.train_step ../shared/scenes/fox --quality draft

The ways take turns, each on its own trainer; the time is the median of their steps.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import torch

from benchmarks.common import about_this_run
from data.allocator import keep_freed_memory
from data.points import with_points
from data.prepare import prepare
from data.progress import drained
from data.readers import read_scene
from kernels.compositing import render_weights_reference
from kernels.hashgrid.adam import adam_touched_reference
from kernels.hashgrid.reference import encode_reference
from kernels.sampling import sample_rays_reference
from recon.hashgrid import field, training
from recon.hashgrid.training import HashGridTrainer
from recon.options import ReconstructOptions


@contextmanager
def pytorch_alone() -> Iterator[None]:
    """Every kernel of ours replaced by its twin."""
    with ExitStack() as stack:
        stack.enter_context(patch.object(field, "encode", lambda points, table, layout, grad_buffer=None: encode_reference(points, table, layout)))
        stack.enter_context(patch.object(training, "sample_rays", lambda *arguments: sample_rays_reference(*arguments[:7])))
        stack.enter_context(patch.object(training, "render_weights", render_weights_reference))
        stack.enter_context(patch.object(training, "adam_touched", adam_touched_reference))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--quality", default="draft")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    keep_freed_memory()
    options = ReconstructOptions(quality=arguments.quality, engine="hashgrid").resolved()
    with tempfile.TemporaryDirectory() as folder:
        scene = with_points(drained(prepare(read_scene(arguments.scene, Path(folder) / "unpacked"), Path(folder), options.max_side or 960)))
        trainers = {way: HashGridTrainer(scene, options.hashgrid) for way in ("tiled", "autograd", "PyTorch")}
    for way in ("autograd", "PyTorch"):
        trainers[way].tiled = False
    trainers["PyTorch"].field.grad_buffer = None
    times: dict[str, list[float]] = {way: [] for way in trainers}
    for number in range(arguments.rounds + 2):
        for way, trainer in trainers.items():
            with pytorch_alone() if way == "PyTorch" else ExitStack():
                for _ in range(1 if way == "PyTorch" else 5):
                    started = time.perf_counter()
                    trainer.train_step()
                    if number > 1:  # compilation and caches
                        times[way].append(1000 * (time.perf_counter() - started))
    medians = {way: statistics.median(values) for way, values in times.items()}
    ratios = {f"{way} to tiled": round(medians[way] / medians["tiled"], 2) for way in ("autograd", "PyTorch")}
    train = options.hashgrid.train
    print(json.dumps({
        "ms": {k: round(v, 1) for k, v in medians.items()}, **ratios, "samples": train.samples_per_step, "samples_per_ray": train.samples_per_ray,
        "threads": torch.get_num_threads(), **about_this_run(),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
