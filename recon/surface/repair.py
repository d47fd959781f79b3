"""A mesh made sound: no broken faces, small holes closed."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from recon.surface.triangles import Triangles, paired


def sound(mesh: Triangles) -> Triangles:
    """Without faces that have no area, that occur twice, or that meet an edge which two larger ones share already.

    Quadric decimation leaves some of them; unwrapping and many editors stumble over them.
    """
    areas = mesh.face_areas
    size = float(np.ptp(mesh.vertices, axis=0).max()) if len(mesh.vertices) else 0.0
    mesh = mesh.kept(areas > 1e-12 * size**2)
    low, middle, high = np.sort(mesh.faces, axis=1).T
    mesh = mesh.kept(np.sort(np.unique(paired(paired(low, middle), high), return_index=True)[1]))
    return mesh.kept(~_beyond_two(mesh))


def _beyond_two(mesh: Triangles) -> Bool[ndarray, "f"]:
    """Faces that are the third or later, by area, at one of their edges."""
    edges, owner = _undirected_edges(mesh.faces)
    ordered = np.sort(edges)
    if not (ordered[2:] == ordered[:-2]).any():
        return np.zeros(len(mesh.faces), bool)
    order = np.lexsort([-mesh.face_areas[owner], edges])
    ranked, faces = edges[order], owner[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    rank = np.arange(len(ranked)) - np.repeat(starts, np.diff(np.r_[starts, len(ranked)]))
    extra = np.zeros(len(mesh.faces), bool)
    extra[faces[rank >= 2]] = True
    return extra


def _undirected_edges(faces: Int[ndarray, "f 3"]) -> tuple[Int[ndarray, "e"], Int[ndarray, "e"]]:
    """One number for each edge of each face, equal where edges are, and the face."""
    ends = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    return paired(*ends.T), np.tile(np.arange(len(faces)), 3)


def holes_closed(mesh: Triangles, perimeter: float, scraps: bool = False) -> Triangles:
    """Close holes whose rim is no longer than ``perimeter`` (scene units) with a fan around the rim's centre.

    A rim is left open where it touches itself, and where it is the outline of a scrap rather than a hole in a surface
    (the connected piece has less area than a square on that rim's length), unless ``scraps`` are to be closed as well.
    """
    from recon.surface.cleaning import face_components

    rims = boundary_loops(mesh)
    if not rims:
        return mesh
    labels = face_components(mesh)
    piece_area = np.bincount(labels, weights=mesh.face_areas)
    piece_of_vertex = np.zeros(len(mesh.vertices), np.int64)
    piece_of_vertex[mesh.faces.reshape(-1)] = np.repeat(labels, 3)
    vertices: list[ndarray] = []
    faces: list[ndarray] = []
    for rim in rims:
        corners = mesh.vertices[rim]
        length = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum())
        if length > perimeter or (not scraps and piece_area[piece_of_vertex[rim[0]]] < length**2):
            continue
        if len(rim) == 3:
            faces.append(rim[None, ::-1])
            continue
        centre = np.full(len(rim), len(mesh.vertices) + len(vertices))
        vertices.append(corners.mean(0))
        faces.append(np.stack([np.roll(rim, -1), rim, centre], axis=1))
    if not faces:
        return mesh
    return Triangles(np.concatenate([mesh.vertices, np.array(vertices).reshape(-1, 3)]), np.concatenate([mesh.faces, *faces]))


def open_rims(mesh: Triangles, most: int = 20) -> list[dict[str, Any]]:
    """The longest open rims: their length and centre in scene units; a surface's outer edge is one as well as a hole's."""
    rims = []
    for rim in boundary_loops(mesh):
        corners = mesh.vertices[rim]
        length = float(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1).sum())
        rims.append({"length": length, "centre": corners.mean(0).tolist(), "vertices": len(rim)})
    return sorted(rims, key=lambda rim: -rim["length"])[:most]


def boundary_loops(mesh: Triangles) -> list[Int[ndarray, "_"]]:
    """Vertices along each closed boundary, in the direction of the faces beside it; rims that touch themselves left out."""
    if len(mesh.faces) == 0:
        return []
    edges, _ = _undirected_edges(mesh.faces)
    ends = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    order = np.argsort(edges, kind="stable")
    changes = np.r_[True, edges[order[1:]] != edges[order[:-1]], True]
    border = ends[np.sort(order[changes[1:] & changes[:-1]])]
    count = len(mesh.vertices)
    plain = (np.bincount(border[:, 0], minlength=count) == 1) & (np.bincount(border[:, 1], minlength=count) == 1)
    following = np.full(count, -1)
    following[border[:, 0]] = border[:, 1]
    loops, visited = [], ~plain
    for start in border[:, 0]:
        loop = []
        vertex = start
        while not visited[vertex]:
            visited[vertex] = True
            loop.append(vertex)
            vertex = following[vertex]
        if len(loop) >= 3 and vertex == start:
            loops.append(np.array(loop))
    return loops
