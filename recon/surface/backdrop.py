"""What stands behind a mesh where it has holes: shown only where the mesh itself shows nothing.

For an object cut out by masks it is the visual hull (Laurentini 1994): right at every outline, filled where a hollow is. For a
scene it is a shell around the cameras, as far away as what the mesh leaves unexplained.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from data.cameras import Cameras, mean_up
from data.scene import Scene
from kernels.tsdf import SIDE, carve
from recon.depthmaps import DepthMaps
from recon.frame import hull_box, inside_hull
from recon.pictures import continued
from recon.surface.blocks import surface_in
from recon.surface.cleaning import decimated, without_small_pieces
from recon.surface.depth import inside_box, trusted
from recon.surface.fusion import fuse, seen_box
from recon.surface.triangles import Triangles

CELL = 0.02
"""Angle between neighbouring vertices of a shell, radians."""


def backdrops(mesh: Triangles, scene: Scene, maps: DepthMaps) -> list[Triangles]:
    """The backdrops of a mesh, each to be shown where the mesh and those before it show nothing.

    Args:
        maps: depths of the scene's photos, also of what is too far to be meshed.
    """
    far = distance_fused(maps)
    if scene.mask_meaning == "object":
        return [far, hull(scene)]
    points = points_of(maps) if scene.points is None else np.concatenate([points_of(maps), scene.points.xyz])
    both = Triangles(np.concatenate([mesh.vertices, far.vertices]), np.concatenate([mesh.faces, far.faces + len(mesh.vertices)]))
    return [far, shell(both, scene.posed(), points)]


def distance_fused(maps: DepthMaps, resolution: int = 200, faces: int = 15_000) -> Triangles:
    """Everything that the photos show, coarse: the voxels' number along the longest side is given, not their size."""
    low, high = seen_box(maps, np.array([[-np.inf] * 3, [np.inf] * 3]))
    voxel = float((high - low).max()) / resolution
    mesh = fuse(inside_box(maps, np.stack([low, high])), voxel, trusted(maps, tolerance=0.03))
    return decimated(without_small_pieces(mesh, 0.001), faces)


def points_of(maps: DepthMaps, most: int = 3000) -> Float[ndarray, "p 3"]:
    """Some points of every depth picture, in the world."""
    points = [np.zeros((0, 3))]
    for i, depth in enumerate(maps.depth):
        rows, columns = np.nonzero(depth)
        pick = slice(None, None, max(len(rows) // most, 1))
        pixels = np.stack([columns[pick], rows[pick]], axis=-1) + 0.5
        points.append(maps.cameras.unproject(i, pixels, depth[rows[pick], columns[pick]].astype(np.float64)))
    return np.concatenate(points)


def hull(scene: Scene, resolution: int = 160, faces: int = 6_000) -> Triangles:
    """The visual hull's surface: all that no silhouette excludes."""
    cameras, masks = scene.posed(), [scene.mask(i) for i in range(len(scene))]
    low, high = hull_box(scene)
    origin, voxel = (low + high) / 2, float((high - low).max()) / resolution
    count = np.ceil((high - low) / 2 / (SIDE * voxel)).astype(int) + 1
    axes = [np.arange(-n, n) for n in count]
    blocks = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    # Blocks that the surface may cross: not quite outside.
    centres = (blocks + 0.5) * SIDE * voxel + origin
    blocks = blocks[inside_hull(cameras, masks, centres, slack=0.9 * SIDE * voxel)]
    if len(blocks) == 0:
        return Triangles(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    reach = 4 * voxel
    distance = np.full((len(blocks), SIDE, SIDE, SIDE), -1, np.float32)
    seen = np.zeros(distance.shape, np.int32)
    projections = cameras.projections.copy()
    projections[:, :, 3] += projections[:, :, :3] @ origin
    for i, mask in enumerate(masks):
        if mask is None:
            continue
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5) - cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 5)
        inside = inside - np.where(mask, 0.5, -0.5)
        whole = not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        carve(blocks, distance, seen, inside.astype(np.float32), projections[i], float(cameras.intrinsics[i, 0, 0]), voxel, reach, whole)
    distance[seen < 2] = 1
    mesh = surface_in(blocks, distance, np.ones_like(distance), voxel, 0.5)
    if len(mesh.faces) == 0:
        return mesh
    return decimated(Triangles(mesh.vertices + origin, mesh.faces), faces)


def shell(mesh: Triangles, cameras: Cameras, points: Float[ndarray, "p 3"]) -> Triangles:
    """A surface around the cameras wherever they look, at the distance of the points that the mesh does not show."""
    from recon.surface.raycast import Raycaster

    center = cameras.centers.mean(0)
    size = float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    away = Raycaster(mesh).distance(points) > 0.01 * size if len(points) else np.zeros(0, bool)
    if away.sum() < 50:
        away[:] = True
    axes = _axes(cameras)
    height, width = int(np.pi / CELL), int(2 * np.pi / CELL)
    local = (points[away] - center) @ axes
    distance = np.linalg.norm(local, axis=1)
    row, column = _cells(local / np.maximum(distance, 1e-12)[:, None], height, width)
    total, count = np.zeros((height, width)), np.zeros((height, width))
    np.add.at(total, (row, column), 1 / np.maximum(distance, 1e-9))
    np.add.at(count, (row, column), 1)
    known = torch.from_numpy((count > 0).astype(np.float32))
    mean = torch.from_numpy((total / np.maximum(count, 1)).astype(np.float32))
    inverse = continued(mean[..., None].expand(-1, -1, 3).contiguous(), known)[..., 0].numpy()
    inverse = cv2.GaussianBlur(inverse, (0, 0), 1.2)
    yaw, pitch = np.meshgrid((np.arange(width) + 0.5) * CELL - np.pi, np.pi / 2 - (np.arange(height) + 0.5) * CELL)
    directions = np.stack([np.cos(pitch) * np.cos(yaw), np.cos(pitch) * np.sin(yaw), np.sin(pitch)], axis=-1) @ axes.T
    vertices = (center + directions / np.maximum(inverse, 1e-9)[..., None]).reshape(-1, 3)
    seen = _in_a_picture(cameras, vertices)
    number = np.arange(height * width).reshape(height, width)
    a, b, c, d = number[:-1], np.roll(number, -1, axis=1)[:-1], number[1:], np.roll(number, -1, axis=1)[1:]
    faces = np.concatenate([np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, c), (b, d, c))])  # seen from within
    return Triangles(vertices, faces).kept(seen[faces].any(1))


def _axes(cameras: Cameras) -> Float[ndarray, "3 3"]:
    """Columns: forward, left, up; the cameras' common up is the shell's axis."""
    up = mean_up(cameras)
    forward = cameras.forwards.mean(0)
    forward = forward - (forward @ up) * up
    if np.linalg.norm(forward) < 1e-6:
        forward = np.cross(up, [1.0, 0.0, 0.0]) if abs(up[0]) < 0.9 else np.cross(up, [0.0, 1.0, 0.0])
    forward = forward / np.linalg.norm(forward)
    return np.stack([forward, np.cross(up, forward), up], axis=1)


def _cells(directions: Float[ndarray, "p 3"], height: int, width: int) -> tuple[Int[ndarray, "p"], Int[ndarray, "p"]]:
    yaw, pitch = np.arctan2(directions[:, 1], directions[:, 0]), np.arcsin(np.clip(directions[:, 2], -1, 1))
    return (
        np.clip(((np.pi / 2 - pitch) / CELL).astype(int), 0, height - 1), np.clip(((yaw + np.pi) / CELL).astype(int), 0, width - 1),
    )  # fmt: skip


def _in_a_picture(cameras: Cameras, points: Float[ndarray, "p 3"]) -> Bool[ndarray, "p"]:
    """Whether some camera has a point in its picture, or a little beside it."""
    seen = np.zeros(len(points), bool)
    for i in range(len(cameras)):
        pixels, depth = cameras.project(i, points)
        margin = 0.1 * cameras.sizes[i]
        seen |= (depth > 0) & (pixels > -margin).all(1) & (pixels < cameras.sizes[i] + margin).all(1)
    return seen
