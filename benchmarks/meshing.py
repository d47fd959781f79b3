"""From a raw mesh of 300 000 faces to one of 50 000 with a texture: `python -m benchmarks.meshing OUT`, a result folder with its photos.

The raw mesh is the result's own, subdivided and roughened; then it is made sound, holes are closed, small pieces dropped, it is
smoothed, decimated, unwrapped and painted.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import trimesh

from benchmarks.common import about_this_run
from data.progress import drained
from data.readers.nerfstudio import read as read_transforms
from recon.surface.asset import load_asset
from recon.surface.cleaning import decimated, smoothed, without_small_pieces
from recon.surface.repair import holes_closed, sound
from recon.surface.texture import bake
from recon.surface.triangles import Triangles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", type=Path)
    parser.add_argument("--faces", type=int, default=300_000)
    parser.add_argument("--few", type=int, default=50_000)
    parser.add_argument("--texture", type=int, default=2048)
    arguments = parser.parse_args()
    mesh = load_asset(arguments.result / "mesh.glb").mesh
    vertices, faces = mesh.vertices, mesh.faces
    while len(faces) < arguments.faces:
        vertices, faces = trimesh.remesh.subdivide(vertices, faces)
    size = float(np.linalg.norm(np.ptp(vertices, axis=0)))
    raw = decimated(Triangles(vertices + np.random.default_rng(0).normal(scale=2e-4 * size, size=vertices.shape), faces), arguments.faces)
    scene, seconds, started = read_transforms(arguments.result), {}, time.perf_counter()

    def lap(name: str) -> None:
        seconds[name] = round(time.perf_counter() - started - sum(seconds.values()), 2)

    clean = smoothed(holes_closed(without_small_pieces(sound(raw), 0.03), 0.1 * size))
    lap("clean")
    few = sound(decimated(clean, arguments.few))
    lap("decimate")
    asset = drained(bake(few, scene, arguments.texture))
    lap("unwrap and bake")
    print(json.dumps({"raw": len(raw.faces), **asset.statistics, "photos": len(scene), "seconds": seconds, "total": round(sum(seconds.values()), 1), **about_this_run()}, indent=1))


if __name__ == "__main__":
    main()
