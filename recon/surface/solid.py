"""A closed solid from an open surface, for printing: screened Poisson reconstruction (Kazhdan & Hoppe 2013), by Open3D."""

import numpy as np

from data.errors import InputError
from recon.surface.cleaning import decimated, face_components
from recon.surface.repair import holes_closed, sound
from recon.surface.triangles import Triangles


def solid(mesh: Triangles, faces: int, depth: int = 8) -> Triangles:
    """One watertight piece that encloses a volume (`is_volume` of trimesh), close to the mesh where there is one.

    Args:
        faces: budget.
        depth: of the octree; 2^depth cells along the longest side.

    Raises:
        InputError: no closed piece comes out.
    """
    import open3d as o3d

    kept = _largest(sound(mesh))
    if len(kept.faces) == 0:
        raise InputError("The mesh has no faces, so that nothing can be closed. Reconstruct it again.")
    # What was never seen, such as the side that it stands on, is closed flat; Poisson's surface would leave it open, or bulge.
    kept = holes_closed(kept, np.inf, scraps=True)
    origin, size = kept.vertices.mean(0), float(np.ptp(kept.vertices, axis=0).max())
    source = o3d.geometry.TriangleMesh(
        o3d.utility.Vector3dVector((kept.vertices - origin) / size), o3d.utility.Vector3iVector(kept.faces.astype(np.int32))
    )
    source.compute_vertex_normals()
    cloud = source.sample_points_uniformly(min(max(4 * len(kept.faces), 50_000), 400_000), use_triangle_normal=False)
    closed, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, linear_fit=True)
    whole = Triangles(np.asarray(closed.vertices, dtype=np.float64) * size + origin, np.asarray(closed.triangles, dtype=np.int64))
    for budget in (faces, 4 * faces, len(whole.faces)):
        piece = holes_closed(_largest(sound(decimated(whole, budget))), np.inf, scraps=True)
        if is_volume(piece):
            return piece
    raise InputError("No closed solid comes out of this mesh. Photograph the thing from more sides, or export it as it is.")


def is_volume(mesh: Triangles) -> bool:
    """Watertight, consistently wound, with its outside outside: what a slicer can fill."""
    import trimesh

    return bool(len(mesh.faces)) and bool(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_volume)


def _largest(mesh: Triangles) -> Triangles:
    labels = face_components(mesh)
    return mesh.kept(labels == np.bincount(labels, weights=mesh.face_areas).argmax()) if len(mesh.faces) else mesh
