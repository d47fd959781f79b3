"""Unwrapping in a process of its own: `python -m recon.surface.unwrap_worker`, then a line `side TAB mesh.npz TAB atlas.npz` on its input.

xatlas can abort or never end on an unlucky mesh; here that ends this process alone. Its time grows faster than the mesh and its
threads share work by meshes, so that it is given compact patches: a sixth of the time for as many charts.
"""

import sys

import numpy as np

PATCH = 1000
"""Most faces of a patch."""


def patches(centers, most: int = PATCH) -> list:  # type: ignore[no-untyped-def, type-arg]  # no jaxtyping: it takes longer to import than to unwrap
    """Numbers of the faces of compact patches: halved at the median across the longest side of their box, until small enough.

    Args:
        centers: of the faces, [f, 3].
    """
    done, waiting = [], [np.arange(len(centers))]
    while waiting:
        part = waiting.pop()
        if len(part) <= most:
            done.append(part)
            continue
        axis = int(np.ptp(centers[part], axis=0).argmax())
        order = part[np.argsort(centers[part, axis], kind="stable")]
        waiting += [order[: len(order) // 2], order[len(order) // 2 :]]
    return done


def main(source: str, target: str, side: int) -> None:
    import xatlas

    with np.load(source, allow_pickle=False) as mesh:
        vertices, faces, normals = mesh["vertices"], mesh["faces"], mesh["normals"]
    atlas = xatlas.Atlas()
    parts = patches(vertices[faces].mean(1))
    for part in parts:
        used, corners = np.unique(faces[part], return_inverse=True)
        atlas.add_mesh(vertices[used], corners.reshape(-1, 3).astype(np.uint32), normals[used])
    charts, packing = xatlas.ChartOptions(), xatlas.PackOptions()
    charts.max_iterations = 1
    charts.max_cost = 4.0
    packing.resolution, packing.padding, packing.bilinear = side, 2, True
    packing.create_image = False
    packing.bruteForce = False
    atlas.generate(charts, packing)
    uv, out, start = [], np.zeros_like(faces), 0
    for i, part in enumerate(parts):
        _, corners, found = atlas[i]
        out[part] = corners + start
        start += len(found)
        uv.append(found)
    np.savez(target, uv=np.concatenate(uv), faces=out)


if __name__ == "__main__":
    import xatlas  # noqa: F401  # before there is a mesh

    order = sys.stdin.readline().rstrip("\n").split("\t")
    if len(order) == 3:
        main(order[1], order[2], int(order[0]))
