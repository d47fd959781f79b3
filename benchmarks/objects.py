"""Geometry of reconstructed objects against their true meshes: precision, recall, F-score at 1 % of the diagonal, chamfer.

    python -m benchmarks.objects ../shared/scenes/objects_gt --quality standard --out /tmp/objects
"""

import argparse
import json
from pathlib import Path

import numpy as np
import trimesh

from benchmarks.common import about_this_run, run_task
from recon.metrics import surface_scores
from recon.options import ReconstructOptions, Task
from recon.surface.asset import load_asset
from recon.surface.raycast import Raycaster
from recon.surface.triangles import Triangles


def score(mesh_file: Path, truth: Path, samples: int = 30_000) -> dict[str, float]:
    """Scores of a mesh in the truth's coordinates; recall counts only points that at least two training views see."""
    asset = load_asset(mesh_file)
    predicted = trimesh.sample.sample_surface(trimesh.Trimesh(asset.mesh.vertices, asset.mesh.faces, process=False), samples, seed=0)[0]
    true_mesh = trimesh.load(truth / "mesh.ply", process=False)
    with np.load(truth / "gt_points.npz", allow_pickle=False) as stored:
        seen = stored["points"][stored["n_train_views"] >= 2].astype(np.float64)
    diagonal = float(np.linalg.norm(true_mesh.extents))
    caster = Raycaster(Triangles(np.asarray(true_mesh.vertices), np.asarray(true_mesh.faces)))
    return surface_scores(predicted / diagonal, seen / diagonal, caster.distance(predicted) / diagonal, 0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--engine", default="hashgrid")
    parser.add_argument("--out", type=Path, default=Path("/tmp/lumigraph-objects"))
    parser.add_argument("--steps", type=int)
    arguments = parser.parse_args()
    rows = {}
    for scene in sorted(p for p in arguments.folder.iterdir() if (p / "gt_points.npz").exists()):
        options = ReconstructOptions(engine=arguments.engine, quality=arguments.quality, steps=arguments.steps, turntable=False)
        report = run_task(Task(scene, arguments.out / scene.name, options, hold_out=8, overwrite=True))
        rows[scene.name] = {
            **score(arguments.out / scene.name / "mesh.glb", scene), "psnr_subject": report["quality"].get("psnr_subject"),
            "psnr": report["quality"]["psnr"], "seconds": report["seconds"]["total"], "peak_memory_mb": report["peak_memory_mb"],
        }  # fmt: skip
        print(scene.name, json.dumps(rows[scene.name]), flush=True)
    mean = {key: float(np.mean([row[key] for row in rows.values()])) for key in ("precision", "recall", "f_score", "chamfer")}
    print(json.dumps({"mean": mean, **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
