"""Floaters out, small holes closed, faces few."""

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from data.errors import InputError
from recon.depthmaps import DepthMaps
from recon.surface.depth import eroded, votes
from recon.surface.options import SurfaceOptions
from recon.surface.repair import holes_closed, sound
from recon.surface.triangles import Triangles

CERTAIN = 2
"""Views that confirm a vertex, at least, for a small piece around it to be a thing and no floater."""
SPECK = 0.003
"""Share of the smallest allowed area that a confirmed piece must have."""


def clean(mesh: Triangles, maps: DepthMaps, options: SurfaceOptions) -> Triangles:
    """Drop faces that views see through and pieces too small, close small holes, smooth lightly, decimate to the budget.

    Raises:
        InputError: nothing is left.
    """
    if len(mesh.faces) == 0:
        raise InputError("The depth pictures do not meet in a surface. Take photos that overlap more, or use a higher --quality.")
    views = np.arange(len(maps))
    agree, _ = votes(maps, views, mesh.vertices, tolerance=0.015)
    _, violate = votes(eroded(maps), views, mesh.vertices, tolerance=0.015)
    floating = violate > np.maximum(agree, 1)
    kept = ~floating[mesh.faces].any(1)
    mesh, agree, violate = mesh.kept(kept), *(v[mesh.used(kept)] for v in (agree, violate))
    mesh = without_small_pieces(mesh, options.min_component, (agree >= CERTAIN) & (2 * violate <= agree))
    if len(mesh.faces) == 0:
        raise InputError("Only floating fragments were reconstructed. Take photos that overlap more, or use a higher --quality.")
    rim = options.hole * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    mesh = smoothed(holes_closed(sound(mesh), rim))
    # Decimation may open holes again; what closes them must fit in the budget too.
    few = sound(decimated(mesh, round(0.98 * options.faces)))
    whole = holes_closed(few, rim)
    return whole if len(whole.faces) <= options.faces else few


def without_small_pieces(mesh: Triangles, share: float, certain: Bool[ndarray, "v"] | None = None) -> Triangles:
    """Drop connected pieces whose area is less than ``share`` of the largest one's.

    Args:
        certain: vertices that many views confirm; pieces made mostly of them may be `SPECK` of the share.
    """
    if len(mesh.faces) == 0:
        return mesh
    labels = face_components(mesh)
    areas = np.bincount(labels, weights=mesh.face_areas)
    least = np.full(len(areas), share)
    if certain is not None:
        sure = np.bincount(labels, weights=mesh.face_areas * certain[mesh.faces].all(1))
        least[sure > 0.5 * areas] *= SPECK
    return mesh.kept((areas >= least * areas.max())[labels])


def face_components(mesh: Triangles) -> Int[ndarray, "f"]:
    """Number of the connected piece that each face belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]]])
    graph = coo_matrix((np.ones(len(edges)), edges.T), shape=(len(mesh.vertices),) * 2)
    return connected_components(graph, directed=False)[1][mesh.faces[:, 0]]  # type: ignore[no-any-return]


def smoothed(mesh: Triangles, rounds: int = 3) -> Triangles:
    """Taubin smoothing (1995), which does not shrink."""
    legacy = _to_open3d(mesh).filter_smooth_taubin(number_of_iterations=rounds)
    return _from_open3d(legacy)


def decimated(mesh: Triangles, faces: int, keep_rims: bool = False) -> Triangles:
    """Quadric decimation (Garland & Heckbert 1997) to at most ``faces`` faces.

    Args:
        keep_rims: leave open borders as they are, so that parts still fit together; the budget may then be missed.
    """
    if len(mesh.faces) <= faces:
        return mesh
    # They work in single precision, around the origin here; a seventh of the time that Open3D takes, and as close to the surface.
    origin = mesh.vertices.mean(0)
    if keep_rims:
        from pyfqmr import Simplify

        work = Simplify()
        work.setMesh(mesh.vertices - origin, mesh.faces.astype(np.int32))
        work.simplify_mesh(target_count=faces, preserve_border=True, verbose=False)
        vertices, kept, _ = work.getMesh()
    else:
        from fast_simplification import simplify

        vertices, kept = simplify((mesh.vertices - origin).astype(np.float32), mesh.faces.astype(np.int32), target_count=faces)
    return Triangles(vertices.astype(np.float64) + origin, kept.astype(np.int64))


def _to_open3d(mesh: Triangles):  # type: ignore[no-untyped-def]  # Open3D has no types
    import open3d as o3d

    return o3d.geometry.TriangleMesh(o3d.utility.Vector3dVector(mesh.vertices), o3d.utility.Vector3iVector(mesh.faces.astype(np.int32)))


def _from_open3d(mesh) -> Triangles:  # type: ignore[no-untyped-def]
    return Triangles(np.asarray(mesh.vertices, dtype=np.float64), np.asarray(mesh.triangles, dtype=np.int64))
