"""`Baked`: a textured mesh with some of the photos it was made from, and how far each is trusted at each vertex."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from data.cameras import Cameras
from data.scene import Scene
from kernels.realtime import Blend, Surroundings, rasterize
from recon.general.views import mean_distance, unlikeness
from recon.surface.agreement import shown
from recon.surface.asset import Asset
from recon.surface.cleaning import decimated
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.lining import lining_colors
from recon.surface.repair import sound
from recon.surface.triangles import Triangles

SAMPLES = 6000
"""Vertices that choose the photos."""


@dataclass(frozen=True)
class Baked:
    """All that real-time renderers need. Lengths are the world's, counted from ``origin``, so that single precision suffices."""

    asset: Asset
    origin: Float[ndarray, "3"]
    names: tuple[str, ...]
    """Files of the photos."""
    cameras: Cameras
    """Of the photos, at the size that they have here, in the world."""
    around: Surroundings
    how: Blend

    def corners(self, cameras: Cameras, view: int) -> Float[ndarray, "v 3"]:
        """The vertices as `kernels.realtime.rasterize` takes them."""
        return _corners(self.around.vertices, self.origin, cameras, view)

    def chosen(self, cameras: Cameras, view: int, without: Sequence[int] = ()) -> tuple[Int[ndarray, "k"], Float[ndarray, "k"]]:
        """The photos that a picture is blended from, and how important each is.

        A photo's importance fades to nothing before another takes its place, so that nothing jumps when the camera moves.

        Args:
            without: photos that must not be used.
        """
        unlike = unlikeness(self.cameras.centers, self.cameras.forwards, cameras.centers[view], cameras.forwards[view], mean_distance(self.cameras))
        unlike[list(without)] = np.inf
        order = np.argsort(unlike, kind="stable")
        usable = int(np.isfinite(unlike).sum())
        count = min(self.how.photos, usable)
        least, last = unlike[order[0]], unlike[order[count]] if usable > count else 2 * unlike[order[count - 1]] + 1e-9
        importance = np.sqrt((last - unlike[order[:count]]) / max(last - least, 1e-12))
        return order[:count], importance.astype(np.float32)

    def backdrops(self) -> list[Triangles]:
        """What stands behind the mesh, in the world."""
        around, parts = self.around, []
        vertices = around.vertices.astype(np.float64) + self.origin
        for start, end in pairwise((*around.layers, len(around.faces))):
            parts.append(Triangles(vertices, around.faces.astype(np.int64)).kept(np.arange(start, end)))
        return parts

    def vertex_layers(self) -> Int[ndarray, "v"]:
        """The layer that each vertex belongs to."""
        layer = np.zeros(len(self.around.vertices), np.int64)
        layer[self.around.faces] = np.searchsorted(self.around.layers, np.arange(len(self.around.faces)), side="right")[:, None]
        return layer


def lighter(baked: Baked, faces: int) -> Baked:
    """The same with at most about so many faces, each layer its share; colours and trust are those of the nearest vertices."""
    from scipy.spatial import cKDTree

    around = baked.around
    if len(around.faces) <= faces:
        return baked
    parts, rows = [], []
    for start, end in pairwise((0, *around.layers, len(around.faces))):
        used, corners = np.unique(around.faces[start:end], return_inverse=True)
        whole = Triangles(around.vertices[used].astype(np.float64), corners.reshape(-1, 3).astype(np.int64))
        part = sound(decimated(whole, max(round((end - start) * faces / len(around.faces)), 4)))
        parts.append(part)
        rows.append(used[cKDTree(whole.vertices).query(part.vertices)[1]])
    mesh, layers = _joined(parts)
    at = np.concatenate(rows)
    vertices, face = mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32)
    size = (int(around.photos.shape[2]), int(around.photos.shape[1]))
    depths = np.stack([rasterize(vertices @ p[:, :3].T + p[:, 3], face, size, layers).depth for p in around.projections])
    return replace(baked, around=replace(
        around, vertices=vertices, normals=mesh.vertex_normals.astype(np.float32), faces=face, layers=layers, colors=around.colors[at],
        trust=around.trust[at], depths=depths,
    ))  # fmt: skip


def _joined(parts: Sequence[Triangles]) -> tuple[Triangles, tuple[int, ...]]:
    """Layers as one mesh, and where the faces of all but the last end."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    faces = np.concatenate([p.faces + s for p, s in zip(parts, starts, strict=False)])
    return Triangles(np.concatenate([p.vertices for p in parts]), faces), tuple(int(n) for n in np.cumsum([len(p.faces) for p in parts])[:-1])


def bake_realtime(asset: Asset, scene: Scene, options: RealtimeOptions, behind: Sequence[Triangles] = ()) -> Baked:
    """Choose photos that show the surface well from many sides, and see what each of them shows of it.

    Args:
        behind: backdrops; each is shown where the mesh and those before it show nothing.
    """
    few = np.linspace(0, len(asset.mesh.vertices) - 1, min(SAMPLES, len(asset.mesh.vertices))).astype(np.int64)
    quality = _quality(asset.mesh, scene, few)
    views = covering(quality, options.photos)
    return assemble(asset, scene, views, options, behind)


def covering(quality: Float[ndarray, "p n"], most: int) -> list[int]:
    """Photos that together show many points well, the most useful first: a point gains less from each further photo.

    Args:
        quality: how well each photo shows each point.
    """
    chosen: list[int] = []
    have = np.zeros(len(quality))
    while len(chosen) < min(most, quality.shape[1]):
        gain = (np.log1p(4 * (have[:, None] + quality)) - np.log1p(4 * have[:, None])).sum(0)
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))
        have += quality[:, chosen[-1]]
    return sorted(chosen)


def assemble(asset: Asset, scene: Scene, views: Sequence[int], options: RealtimeOptions, behind: Sequence[Triangles] = ()) -> Baked:
    """Photos of one size, the mesh's depth as each of them sees it, and how far each is trusted."""
    cameras = scene.posed().select(list(views))
    scale = min(1.0, options.photo_side / int(cameras.sizes.max()))
    width, height = (max(int(round(s * scale)), 2) for s in cameras.sizes.max(0))
    photos = np.full((len(views), height, width, 4), 255, np.uint8)
    for k, view in enumerate(views):
        photos[k, :, :, :3] = cv2.resize(scene.image(view), (width, height), interpolation=cv2.INTER_AREA)
    cameras = cameras.resized(np.tile(np.array([width, height]), (len(views), 1)))
    mesh, layers = _joined([asset.mesh, *(part for part in behind if len(part.faces))])
    front = len(asset.mesh.vertices)
    colors = np.full((len(mesh.vertices), 3), 127, np.uint8)
    colors[:front] = asset.vertex_colors()
    origin = asset.mesh.vertices.mean(0)
    vertices, faces = (mesh.vertices - origin).astype(np.float32), mesh.faces.astype(np.int32)
    depths = np.stack([
        rasterize(_corners(vertices, origin, cameras, k), faces, (width, height), layers).depth for k in range(len(views))
    ])  # fmt: skip
    projections = cameras.projections.copy()
    projections[:, :, 3] += projections[:, :, :3] @ origin
    around = Surroundings(
        vertices, mesh.vertex_normals.astype(np.float32), faces, layers, colors, photos, depths, projections,
        cameras.centers - origin, _trust(mesh.vertices, scene, views),
    )  # fmt: skip
    if len(mesh.vertices) > front:
        colors[front:] = lining_colors(around, front)
    return Baked(asset, origin, tuple(scene.image_paths[v].name for v in views), cameras, around, options.blend)


def _corners(vertices: Float[ndarray, "v 3"], origin: Float[ndarray, "3"], cameras: Cameras, view: int) -> Float[ndarray, "v 3"]:
    projection = cameras.projections[view]
    return vertices @ projection[:, :3].T + (projection[:, :3] @ origin + projection[:, 3])


def _quality(mesh: Triangles, scene: Scene, rows: Int[ndarray, "p"]) -> Float[ndarray, "p n"]:
    """How well photos show vertices: 1 where one looks straight at the surface from the median distance, 0 where it does not see it."""
    what = shown(mesh, scene, rows, colors=False)
    typical = np.array([np.median(d[s]) if s.any() else 1.0 for d, s in zip(what.distance.T, what.seen.T, strict=True)])
    return what.cosine * np.minimum((typical / what.distance) ** 2, 4)


def _trust(vertices: Float[ndarray, "v 3"], scene: Scene, views: Sequence[int]) -> UInt8[ndarray, "v m"]:
    """Full trust where a photo's mask shows the object, fading towards the outline; photos without masks are trusted everywhere."""
    cameras = scene.posed()
    out = np.full((len(vertices), len(views)), 255, np.uint8)
    for k, view in enumerate(views):
        mask = scene.mask(view)
        if mask is None:
            continue
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) / (0.005 * max(mask.shape))
        pixels, depth = cameras.project(view, vertices)
        column, row = (np.clip(pixels[:, d].astype(int), 0, mask.shape[1 - d] - 1) for d in (0, 1))
        out[:, k] = np.where(depth > 0, np.clip(inside[row, column], 0, 1) * 255, 0)
    return out
