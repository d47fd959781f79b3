"""How fast worlds are made and photographed, and what they look like.

    python -m benchmarks.worlds --worlds 300 --gallery docs/worlds.jpg
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from benchmarks.common import about_this_run
from data.worlds import layout as L
from data.worlds.bank import make_bank
from data.worlds.renderer import distances, render


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=300)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 192))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--gallery", type=Path, help="write a picture of 24 worlds")
    arguments = parser.parse_args()
    width, height = arguments.size

    def clock() -> float:
        if arguments.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    make_bank(range(8), 32, 16, 4, arguments.device)  # compiles
    start = clock()
    bank = make_bank(range(arguments.worlds), width, height, 12, arguments.device)
    built = clock()
    cameras = bank.cameras.reshape(-1, L.CAMERA)
    render(bank.worlds, cameras, width, height)
    drawn = clock()
    points = torch.randn(1_000_000, 3, device=bank.cameras.device)
    distances(bank.worlds, torch.randint(len(bank), (len(points),), device=points.device), points)
    measured = clock()
    if arguments.gallery:
        pictures = bank.rgb[:24, 0].cpu().numpy()
        rows = [np.concatenate(list(pictures[i : i + 6]), axis=1) for i in range(0, len(pictures) - 5, 6)]
        Image.fromarray(np.concatenate(rows)).resize((6 * 160, len(rows) * 120), Image.Resampling.LANCZOS).save(arguments.gallery, quality=88)
    print(json.dumps({
        "images_a_second": len(cameras) / (drawn - built), "banked_images_a_second": len(cameras) / (built - start),
        "kept_worlds": len(bank) / arguments.worlds, "million_distances_a_second": 1 / (measured - drawn), "size": [width, height],
        "rays_a_pixel": 5, **about_this_run(),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
