"""What single settings of the hash-grid engine do to held-out photos: one preparation, then one training a variant.

    python -m benchmarks.ablation ../shared/scenes/fox --steps 800 --vary distortion_weight=2e-3 --vary learning_rate=0.1,depth_weight=0.1

Held-out views are rendered at 0.4 of their size, so figures compare with each other, not with `evaluate`.
"""

import argparse
import json
import tempfile
import time
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.common import about_this_run
from data.images import resize
from data.points import with_points
from data.prepare import prepare
from data.progress import drained
from data.readers import read_scene
from data.scene import Scene
from recon.fields import RadianceField
from recon.hashgrid.options import HashGridOptions
from recon.hashgrid.training import HashGridTrainer
from recon.metrics import psnr
from recon.options import ReconstructOptions
from recon.pictures import render_picture
from recon.surface.depth import consistent
from recon.surface.stereo import sweep_depths, sweep_ranges


def varied(options: HashGridOptions, changes: str) -> HashGridOptions:
    """``options`` with ``name=value,name=value`` of its field or training settings."""
    for change in filter(None, changes.split(",")):
        name, value = change.split("=")
        part = next((p for p in ("field", "train") if name in {f.name for f in fields(getattr(options, p))}), None)
        if part is None:
            raise SystemExit(f"The hash-grid engine has no setting '{name}'.")
        kind = type(getattr(getattr(options, part), name))
        options = replace(options, **{part: replace(getattr(options, part), **{name: kind(value if kind is str else json.loads(value))})})
    return options


def held_out_psnr(field: RadianceField, scene: Scene, near: float, scale: float = 0.4) -> float:
    """Mean PSNR over the views of ``scene``, shrunk by ``scale``."""
    small = scene.posed().resized(np.maximum(np.round(scene.posed().sizes * scale), 1).astype(np.int64))
    truths = [resize(_photo(scene, i, field.empty_background), *(int(v) for v in small.sizes[i])).astype(np.float32) / 255 for i in range(len(scene))]
    return float(np.mean([psnr(render_picture(field, small, i, near).rgb.numpy(), truths[i]) for i in range(len(scene))]))


def _photo(scene: Scene, view: int, background: tuple[float, float, float] | None) -> np.ndarray:
    """A photo; of an object cut out by masks, on the background that the field renders."""
    photo, mask = scene.image(view), scene.mask(view)
    if mask is None or background is None:
        return photo
    return np.where(mask[..., None], photo, np.round(255 * np.array(background)).astype(np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--vary", action="append", default=[], metavar="NAME=VALUE,...")
    arguments = parser.parse_args()
    options = ReconstructOptions(quality=arguments.quality, steps=arguments.steps).resolved()
    with tempfile.TemporaryDirectory() as folder:
        working = with_points(drained(prepare(read_scene(arguments.scene, Path(folder) / "unpacked"), Path(folder), options.max_side or 960)))
        halves = working.hold_out(8)
        train, test = halves.select(halves.splits["train"]), halves.select(halves.splits["test"])
        maps = consistent(drained(sweep_depths(train, options.surface.depth_side, sweep_ranges(train))))
        for changes in ["", *arguments.vary]:
            started = time.perf_counter()
            trainer = HashGridTrainer(train, varied(options.hashgrid, changes), torch.device(arguments.device), maps)
            for _ in trainer.train():
                pass
            seconds = time.perf_counter() - started
            score = held_out_psnr(trainer.radiance_field(), test, trainer.near)
            print(json.dumps({"variant": changes or "as shipped", "psnr": round(score, 2), "training_seconds": round(seconds)}), flush=True)
    print(json.dumps(about_this_run(), indent=1))


if __name__ == "__main__":
    main()
