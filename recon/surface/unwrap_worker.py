"""Unwrapping in a process of its own: `python -m recon.surface.unwrap_worker mesh.npz atlas.npz side`.

xatlas can abort or never end on an unlucky mesh; here that ends this process alone.
"""

import sys

import numpy as np


def main(source: str, target: str, side: int) -> None:
    import xatlas

    with np.load(source, allow_pickle=False) as mesh:
        vertices, faces, normals = mesh["vertices"], mesh["faces"], mesh["normals"]
    atlas = xatlas.Atlas()
    atlas.add_mesh(vertices, faces, normals)
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    charts.max_cost = 4.0
    # Growing a chart takes longer the larger it is: fifty at least take a third of the time, and as many charts come out.
    corners = vertices[faces]
    charts.max_chart_area = float(np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum()) / 2 / 50
    packing.resolution, packing.padding, packing.bilinear = side, 2, True
    packing.create_image = False
    packing.bruteForce = False
    atlas.generate(charts, packing)
    _, corners, uv = atlas[0]
    np.savez(target, uv=uv, faces=corners)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
