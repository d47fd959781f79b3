"""Geometry of reconstructed objects against their true meshes: precision, recall, F-score at 1 % of the diagonal, chamfer.

    python -m benchmarks.objects ../shared/scenes/objects_gt --quality standard --out /tmp/objects
    python -m benchmarks.objects ../shared/scenes/objects_gt --engine general --split sparse_arc   four neighbouring photos
"""

import argparse
import json
import shutil
from pathlib import Path

import numpy as np
import trimesh

from benchmarks.common import about_this_run, run_task
from data.files import write_json
from recon.metrics import surface_scores
from recon.options import ReconstructOptions, Task
from recon.surface.asset import load_asset
from recon.surface.raycast import Raycaster
from recon.surface.triangles import Triangles


def split_scene(scene: Path, split: str, folder: Path) -> Path:
    """The scene with the photos of one of its splits alone."""
    content = json.loads((scene / "transforms.json").read_text())
    names = set(content["split"][split] if split in content["split"] else content[f"{split}_filenames"])
    content["frames"] = [f for f in content["frames"] if f["file_path"] in names]
    for key in [k for k in content if k.endswith("_filenames")]:
        del content[key]
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("images", "masks", "depth"):
        shutil.copytree(scene / name, folder / name, dirs_exist_ok=True)
    write_json(folder / "transforms.json", content)
    return folder


def score(mesh_file: Path, truth: Path, seen_by: str = "n_train_views", samples: int = 30_000) -> dict[str, float]:
    """Scores of a mesh in the truth's coordinates; recall counts only points that at least two of the views see."""
    asset = load_asset(mesh_file)
    predicted = trimesh.sample.sample_surface(trimesh.Trimesh(asset.mesh.vertices, asset.mesh.faces, process=False), samples, seed=0)[0]
    true_mesh = trimesh.load(truth / "mesh.ply", process=False)
    with np.load(truth / "gt_points.npz", allow_pickle=False) as stored:
        seen = stored["points"][stored[seen_by] >= 2].astype(np.float64)
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
    parser.add_argument("--split", help="photos of this split alone (train, sparse_arc, ...) and none held out")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    rows = {}
    for scene in sorted(p for p in arguments.folder.iterdir() if (p / "gt_points.npz").exists() and arguments.only in p.name):
        options = ReconstructOptions(engine=arguments.engine, quality=arguments.quality, steps=arguments.steps, turntable=False)
        out = arguments.out / scene.name
        photos = split_scene(scene, arguments.split, arguments.out / f"{scene.name}.input") if arguments.split else scene
        report = run_task(Task(photos, out, options, hold_out=0 if arguments.split else 8, overwrite=True))
        seen_by = f"n_{arguments.split}_views" if arguments.split else "n_train_views"
        rows[scene.name] = {
            **score(out / "mesh.glb", scene, seen_by), "psnr_subject": report["quality"].get("psnr_subject"),
            "psnr": report["quality"]["psnr"], "seconds": report["seconds"]["total"], "peak_memory_mb": report["peak_memory_mb"],
        }  # fmt: skip
        print(scene.name, json.dumps(rows[scene.name]), flush=True)
    mean = {key: float(np.mean([row[key] for row in rows.values()])) for key in ("precision", "recall", "f_score", "chamfer")}
    print(json.dumps({"mean": mean, **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
