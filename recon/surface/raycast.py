"""Rays against a mesh, on any CPU, by Open3D's Embree."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data.cameras import Cameras
from kernels.reprojection import rays_toward
from recon.surface.asset import Asset
from recon.surface.triangles import Triangles


@dataclass(frozen=True)
class Hits:
    """First meeting of each ray with the mesh, or the place nearest to each point."""

    distance: Float[ndarray, "r"]
    """Infinity where nothing was met."""
    face: Int[ndarray, "r"]
    """-1 where nothing was met."""
    barycentric: Float[ndarray, "r 3"]


class Raycaster:
    """A mesh prepared for ray queries, moved to the origin because Embree works in single precision; threads may share it."""

    def __init__(self, mesh: Triangles) -> None:
        import open3d as o3d

        self.mesh = mesh
        self._origin = mesh.vertices.mean(0)
        self._scene = o3d.t.geometry.RaycastingScene()
        vertices = (mesh.vertices - self._origin).astype(np.float32)
        self._scene.add_triangles(o3d.core.Tensor(vertices), o3d.core.Tensor(mesh.faces.astype(np.uint32)))

    def cast(self, origins: Float[ndarray, "r 3"], directions: Float[ndarray, "r 3"]) -> Hits:
        """First hits; distances in units of the directions' lengths."""
        import open3d as o3d

        rays = np.concatenate([origins - self._origin, directions], axis=1).astype(np.float32)
        answer = self._scene.cast_rays(o3d.core.Tensor(rays))
        face = answer["primitive_ids"].numpy().astype(np.int64)
        distance = answer["t_hit"].numpy()
        uv = answer["primitive_uvs"].numpy()
        face[~np.isfinite(distance)] = -1
        return Hits(distance, face, np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], axis=1))

    def look(self, cameras: Cameras, view: int) -> tuple[Hits, Float[ndarray, "p 3"]]:
        """First hits of the rays through a pinhole picture's pixels, row by row, and the rays; lengths are depths along the axis."""
        width, height = (int(v) for v in cameras.sizes[view])
        pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
        rays = cameras.unproject(view, pixels, np.ones(len(pixels))) - cameras.centers[view]
        return self.cast(np.broadcast_to(cameras.centers[view], rays.shape), rays), rays

    def nearest(self, points: Float[ndarray, "p 3"]) -> Hits:
        """The surface's nearest points."""
        import open3d as o3d

        answer = self._scene.compute_closest_points(o3d.core.Tensor((points - self._origin).astype(np.float32)))
        uv = answer["primitive_uvs"].numpy()
        distance = np.linalg.norm(answer["points"].numpy() - (points - self._origin), axis=1).astype(np.float32)
        return Hits(distance, answer["primitive_ids"].numpy().astype(np.int64), np.stack([1 - uv.sum(1), uv[:, 0], uv[:, 1]], axis=1))

    def distance(self, points: Float[ndarray, "p 3"]) -> Float[ndarray, "p"]:
        """Unsigned distance from points to the surface."""
        import open3d as o3d

        query = o3d.core.Tensor((points - self._origin).astype(np.float32))
        return self._scene.compute_distance(query).numpy()

    def visible(
        self, points: Float[ndarray, "p 3"], eye: Float[ndarray, "3"], margin: float, rows: Int[ndarray, "k"] | None = None
    ) -> Bool[ndarray, "k"]:
        """Whether nothing lies between points and an eye; the last ``margin`` scene units before a point do not count.

        Args:
            rows: which points are asked about; all if not given.
        """
        import open3d as o3d

        rays = rays_toward(points, np.arange(len(points)) if rows is None else rows, eye, self._origin, margin)
        blocked = self._scene.test_occlusions(o3d.core.Tensor(rays), tnear=0.0, tfar=float("inf"))
        return ~blocked.numpy()


def render_mesh(
    asset: Asset, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), caster: Raycaster | None = None
) -> UInt8[ndarray, "h w 3"]:
    """Picture of a textured mesh from a pinhole camera, unlit: the texture holds the photos' light."""
    import cv2

    caster = caster or Raycaster(asset.mesh)
    width, height = (int(v) for v in cameras.sizes[view])
    hits, _ = caster.look(cameras, view)
    met = hits.face >= 0
    uv = (asset.uv[asset.uv_faces[hits.face[met]]] * hits.barycentric[met][..., None]).sum(1)
    side_y, side_x = asset.texture.shape[:2]
    x = (uv[:, 0] * side_x - 0.5).astype(np.float32)
    y = ((1 - uv[:, 1]) * side_y - 0.5).astype(np.float32)
    picture = np.tile(np.array(background, np.uint8), (width * height, 1))
    if met.any():
        n = int(met.sum())
        rows = -(-n // 4096)
        pad = rows * 4096 - n  # cv2.remap takes no side over 32767
        x, y = (np.pad(v, (0, pad)).reshape(rows, 4096) for v in (x, y))
        picture[met] = cv2.remap(asset.texture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE).reshape(-1, 3)[:n]
    return picture.reshape(height, width, 3)
