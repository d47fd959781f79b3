"""How much of a scene's photos an attacker can paint out: where a patch varies by no more than twice the budget, one even colour lies within reach.

    python -m benchmarks.contrast SCENES... --eps 8

What is left of such a patch for a model to find depth by is what the attacker leaves there.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from attacks.case import prepared
from benchmarks.common import about_this_run
from data.images import load_rgba
from data.readers import read_scene


def erasable(image: Float[Tensor, "3 h w"], eps: float, patch: int) -> Bool[Tensor, "h w"]:
    """Whether the patch around each pixel varies by at most ``2 * eps`` in every channel."""
    high = F.max_pool2d(image, patch, 1, patch // 2)
    low = -F.max_pool2d(-image, patch, 1, patch // 2)
    return ((high - low) <= 2 * eps + 1e-6).all(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="+")
    parser.add_argument("--eps", type=float, default=8, help="budget in units of 1/255")
    parser.add_argument("--patch", type=int, default=9, help="pixels; odd")
    parser.add_argument("--side", type=int, default=504)
    a = parser.parse_args()
    rows = {}
    for path in a.scenes:
        with tempfile.TemporaryDirectory() as work:
            scene = prepared(read_scene(path, path), a.side, Path(work))
            everywhere, on_object = [], []
            for i, photo in enumerate(scene.image_paths):
                image = torch.from_numpy(load_rgba(photo)[0].copy()).permute(2, 0, 1).float() / 255
                flat, mask = erasable(image, a.eps / 255, a.patch), scene.mask(i)
                everywhere.append(float(flat.float().mean()))
                if mask is not None:
                    on_object.append(float(flat[torch.from_numpy(mask) > 0].float().mean()))
        rows[path.name] = {"photos": len(everywhere), "percent": round(100 * sum(everywhere) / len(everywhere), 1)}
        if on_object:
            rows[path.name]["percent_on_object"] = round(100 * sum(on_object) / len(on_object), 1)
    print(json.dumps({**rows, **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
