"""What a choice of the hash grid does to quality: held-out PSNR at equal steps, over several seeds.

    python -m benchmarks.hashes --scene ../shared/scenes/fox --device cuda --sizes 19 22 24 --steps 1000
    python -m benchmarks.hashes --device cuda --hashes coherent_prime --own-color 0 17   density and colour in one grid, and in two

Every training of a scene sees the same photos and takes the same number of steps; the mean and the deviation over the seeds are printed.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.ablation import held_out_psnr
from benchmarks.common import about_this_run
from benchmarks.train_scenes import scenes
from kernels.hashgrid.layout import HASHES
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scene", type=Path)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[19])
    parser.add_argument("--hashes", nargs="+", default=list(HASHES), choices=HASHES)
    parser.add_argument("--own-color", type=int, nargs="+", default=[0], help="base-2 logarithms of the size of colour's own grid; 0: none")
    parser.add_argument("--color-every", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=18, help="base-2 logarithm of the samples of a step")
    arguments = parser.parse_args()
    train = TrainOptions(steps=arguments.steps, samples_per_step=1 << arguments.samples, depth_weight=0.0, network_learning_rate=1e-2)
    with tempfile.TemporaryDirectory() as folder:
        for scene in scenes(arguments.worlds, arguments.scene, arguments.device, Path(folder)):
            photos, test = scene.select(scene.splits["train"]), scene.select(scene.splits["test"])
            for size, hash, color in itertools.product(arguments.sizes, arguments.hashes, arguments.own_color):
                field = FieldOptions(16, 2, size, finest_resolution=2048, hash=hash, color_log2_table_size=color)
                scores, times = [], []
                for seed in range(arguments.seeds):
                    options = HashGridOptions(field, replace(train, seed=seed, color_every=arguments.color_every))
                    trainer = HashGridTrainer(photos, options, arguments.device)
                    progress = trainer.train()
                    next(progress)  # compiles
                    started, first = time.perf_counter(), trainer.step
                    for _ in progress:
                        pass
                    times.append(1000 * (time.perf_counter() - started) / max(trainer.step - first, 1))
                    scores.append(held_out_psnr(trainer.radiance_field(), test, trainer.near, 1.0))
                print(json.dumps({
                    "scene": scene.name, "log2_table_size": size, "hash": hash, "own_color": color, "psnr": round(statistics.mean(scores), 3),
                    "deviation": round(statistics.stdev(scores), 3) if len(scores) > 1 else None, "seeds": [round(s, 2) for s in scores],
                    "ms_a_step": round(statistics.median(times), 3),
                }), flush=True)  # fmt: skip
    print(json.dumps(about_this_run(), indent=1))


if __name__ == "__main__":
    main()
