"""How a training step's time and memory grow with the table, the samples and the photos: one of the three is varied at a time.

    python -m benchmarks.growth --device cuda
    python -m benchmarks.growth --device cpu --samples 15 --vary-sizes 14 17 19 --vary-samples 13 15 17 --vary-views 25 100

Memory is the most that was allocated on a GPU, or the process's peak resident size on a CPU, from building the trainer on.
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.common import about_this_run
from benchmarks.train_scenes import scenes
from data.scene import Scene
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer


def peak_bytes(cuda: bool) -> int:
    """Most memory since `forget_peak`."""
    if cuda:
        return int(torch.cuda.max_memory_allocated())
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def forget_peak(cuda: bool) -> None:
    """Begin to watch memory."""
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def measure(scene: Scene, options: HashGridOptions, device: str) -> dict[str, Any]:
    """Median milliseconds a step once the field has formed, and memory."""
    cuda = device == "cuda"
    forget_peak(cuda)
    trainer = HashGridTrainer(scene, options, device)
    times, steps, started, before = [], trainer.train(), time.perf_counter(), 0
    for _ in steps:
        if cuda:
            torch.cuda.synchronize()
        now = time.perf_counter()
        if trainer.step > options.train.steps // 2:
            times.append(1000 * (now - started) / (trainer.step - before))
        started, before = now, trainer.step
    return {"ms_a_step": round(statistics.median(times), 3), "peak_mb": round(peak_bytes(cuda) / 1e6)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--size", type=int, default=19, help="base-2 logarithm of the table, where it is not what varies")
    parser.add_argument("--samples", type=int, default=18, help="base-2 logarithm of the samples of a step, likewise")
    parser.add_argument("--views", type=int, default=200, help="photos, likewise")
    parser.add_argument("--vary-sizes", type=int, nargs="+", default=[14, 16, 18, 19, 20, 22, 24])
    parser.add_argument("--vary-samples", type=int, nargs="+", default=[14, 15, 16, 17, 18, 19, 20])
    parser.add_argument("--vary-views", type=int, nargs="+", default=[10, 25, 50, 100, 200])
    parser.add_argument("--steps", type=int, default=400)
    arguments = parser.parse_args()
    base = HashGridOptions(
        FieldOptions(16, 2, arguments.size, finest_resolution=2048),
        TrainOptions(steps=arguments.steps, samples_per_step=1 << arguments.samples, depth_weight=0.0, network_learning_rate=1e-2),
    )
    with tempfile.TemporaryDirectory() as folder:
        whole = next(scenes(1, None, arguments.device, Path(folder), max(arguments.views, *arguments.vary_views)))
        every = whole.splits["train"]
        scene = whole.select(every[: arguments.views])
        for size in arguments.vary_sizes:
            print(json.dumps({"log2_table_size": size, **measure(scene, replace(base, field=replace(base.field, log2_table_size=size)), arguments.device)}), flush=True)
        for samples in arguments.vary_samples:
            print(json.dumps({"log2_samples": samples, **measure(scene, replace(base, train=replace(base.train, samples_per_step=1 << samples)), arguments.device)}), flush=True)
        for views in arguments.vary_views:
            print(json.dumps({"views": views, **measure(whole.select(every[:views]), base, arguments.device)}), flush=True)
    print(json.dumps(about_this_run(), indent=1))


if __name__ == "__main__":
    main()
