"""A closed solid from an open surface, for printing: screened Poisson reconstruction (Kazhdan & Hoppe 2013), by Open3D."""

import numpy as np

from data.errors import InputError
from kernels.tsdf import SIDE
from recon.surface.blocks import surface_in
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
    o3d.utility.random.seed(0)  # the same solid every time
    cloud = source.sample_points_uniformly(min(max(4 * len(kept.faces), 50_000), 400_000), use_triangle_normal=False)
    closed, _ = o3d.geometry.TriangleMesh.create_from_point_cloud_poisson(cloud, depth=depth, linear_fit=True)
    whole = Triangles(np.asarray(closed.vertices, dtype=np.float64) * size + origin, np.asarray(closed.triangles, dtype=np.int64))
    for again in (False, True):
        surface = remeshed(whole, 1 << (depth - 1)) if again else whole  # slow, and seldom needed
        for budget in (faces, len(surface.faces)):
            piece = welded(holes_closed(_largest(sound(welded(decimated(surface, budget)))), np.inf, scraps=True))
            if is_volume(piece):
                return piece
    raise InputError("No closed solid comes out of this mesh. Photograph the thing from more sides, or export it as it is.")


def welded(mesh: Triangles) -> Triangles:
    """Vertices on a grid of a millionth of the mesh's size, each place once.

    STL keeps float32 corners and no indices: whoever reads it joins what is near, and two vertices closer than that would
    leave a face without area, and so a hole, in a solid that was closed when it was written.
    """
    size = float(np.ptp(mesh.vertices, axis=0).max())
    step = max(1e-6 * size, 4 * float(np.finfo(np.float32).eps) * float(np.abs(mesh.vertices).max()))
    cells, place = np.unique(np.round(mesh.vertices / step).astype(np.int64), axis=0, return_inverse=True)
    faces = place.reshape(-1)[mesh.faces]
    distinct = (faces != np.roll(faces, 1, axis=1)).all(1)
    return Triangles(cells * step, faces[distinct])


def remeshed(mesh: Triangles, resolution: int) -> Triangles:
    """The boundary of what is inside, on a grid of voxels: no hole, and no face that crosses another.

    What is inside is asked of rays in several directions, most of which agree even where the mesh has holes.
    """
    import open3d as o3d

    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    origin, voxel = (low + high) / 2, float((high - low).max()) / resolution
    count = np.ceil(((high - low) / 2 + 2 * voxel) / (SIDE * voxel)).astype(int)
    blocks = np.stack(np.meshgrid(*[np.arange(-n, n) for n in count], indexing="ij"), axis=-1).reshape(-1, 3)
    scene = o3d.t.geometry.RaycastingScene()
    scene.add_triangles(o3d.core.Tensor((mesh.vertices - origin).astype(np.float32)), o3d.core.Tensor(mesh.faces.astype(np.uint32)))
    z, y, x = np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij")
    points = (voxel * (SIDE * blocks[:, None, None, None] + np.stack([x, y, z], axis=-1))).astype(np.float32)
    distance = np.empty(points.shape[:-1], np.float32)
    for i, part in enumerate(points):
        query = o3d.core.Tensor(part)
        inside = scene.compute_occupancy(query, nsamples=5).numpy() > 0.5
        distance[i] = np.clip(scene.compute_distance(query).numpy() / (4 * voxel), 0.01, 1) * np.where(inside, -1, 1)
    found = surface_in(blocks, distance, np.ones_like(distance), voxel, 0.5)
    return Triangles(found.vertices + origin, found.faces)


def is_volume(mesh: Triangles) -> bool:
    """Watertight, consistently wound, with its outside outside: what a slicer can fill."""
    import trimesh

    return bool(len(mesh.faces)) and bool(trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).is_volume)


def _largest(mesh: Triangles) -> Triangles:
    labels = face_components(mesh)
    return mesh.kept(labels == np.bincount(labels, weights=mesh.face_areas).argmax()) if len(mesh.faces) else mesh
