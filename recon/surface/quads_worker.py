"""Quads in a process of its own: `python -m recon.surface.quads_worker mesh.npz quads.npz faces`.

Instant Meshes can abort on an unlucky mesh, and writes of its progress; here that ends, or fills, this process alone.
"""

import sys

import numpy as np


def main(source: str, target: str, count: int) -> None:
    from pynanoinstantmeshes import remesh

    with np.load(source, allow_pickle=False) as mesh:
        vertices, faces = mesh["vertices"], mesh["faces"]
    # It makes a mesh of mostly quads and cuts every side of it in half, so that quads alone remain: four times as many.
    found, corners = remesh(vertices, faces, vertex_count=max(count // 4, 20), align_to_boundaries=True, smooth_iter=2, deterministic=True)
    np.savez(target, vertices=np.array(found), quads=np.array(corners))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
