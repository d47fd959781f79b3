"""How well `data.foreground` cuts things out: intersection over union with the masks that data sets come with.

    python -m benchmarks.foreground FOLDER [FOLDER ...]
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from data.foreground import cut_out
from data.images import load_mask
from data.progress import drained
from data.readers import read_scene


def main(folders: list[Path]) -> None:
    for folder in folders:
        scene = read_scene(folder)
        with tempfile.TemporaryDirectory() as place:
            started = time.perf_counter()
            drained(cut_out(replace(scene, mask_paths=()), Path(place)))
            seconds = time.perf_counter() - started
            scores = []
            for i, path in enumerate(scene.image_paths):
                truth, found = scene.mask(i), load_mask(Path(place) / f"{path.stem}.png")
                if truth is None:
                    continue
                if truth.shape != found.shape:
                    truth = cv2.resize(truth.astype(np.uint8), found.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
                scores.append((truth & found).sum() / max((truth | found).sum(), 1))
        told = f"IoU mean {np.mean(scores):.3f}, least {np.min(scores):.3f}" if scores else "no masks to compare with"
        print(f"{folder.name:34s} {len(scene):3d} photos  {told}  {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main([Path(a) for a in sys.argv[1:]])
