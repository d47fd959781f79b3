"""Speed of an attack: 100 steps of PGD, 8 source photos of 504 x 378, 512 rays a step; and what the block coordinate steps of a CPU cost in damage.

    python -m benchmarks.robustness SCENES/llff_fern                    on a GPU: all depth volumes anew in each step
    python -m benchmarks.robustness SCENES/llff_fern --refreshed 1      on a CPU: one in turn
"""

import argparse
import json
import time
from pathlib import Path

import torch

from attacks.case import prepared, read_cases
from attacks.controls import RandomSign
from attacks.gradient import PGD
from attacks.scores import score_view
from attacks.victims.general import GeneralVictim
from attacks.victims.protocol import clean_look
from benchmarks.common import about_this_run
from data.allocator import keep_freed_memory
from data.readers import read_scene


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--refreshed", type=int)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--alpha", type=float, default=2, help="step in units of 1/255")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    a = parser.parse_args()
    keep_freed_memory()
    case = read_cases(prepared(read_scene(a.scene, a.scene), 504), 8, 8, 1)[0].to(a.device)
    exact = GeneralVictim.load(None, a.device, 504)
    victim = GeneralVictim(exact.model, refreshed=a.refreshed)
    PGD(victim, steps=2, rays=512)(case)  # compiles what is compiled at first use
    started = time.perf_counter()
    result = PGD(victim, steps=a.steps, alpha=a.alpha / 255, rays=512)(case)
    if a.device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    target = case.targets[0]
    clean = clean_look(exact, case).picture(target)

    def damage(images: torch.Tensor) -> dict[str, float]:
        with torch.no_grad():
            score = score_view(target, exact.look(case, images).picture(target), clean)
        return {"psnr": round(score.psnr, 2), "psnr_clean": round(score.psnr_clean, 2), "depth": round(score.depth, 4)}

    width, height = (int(v) for v in case.cameras.sizes[0])
    print(json.dumps({
        "seconds": round(seconds, 1), "steps": a.steps, "photos": len(case), "size": [width, height], "refreshed": a.refreshed,
        "clean": round(score_view(target, clean, clean).psnr, 2), "attacked": damage(result.images), "random_sign": damage(RandomSign(victim)(case).images),
        **about_this_run(),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
