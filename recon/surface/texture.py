"""A texture from the photos: baked with visibility, blended in two bands."""

from collections.abc import Generator

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data.parallel import WORKERS, mapped
from data.progress import Progress
from data.scene import Scene
from recon.surface.asset import Asset
from recon.surface.raycast import Raycaster
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import Atlas, unwrap

TEXELS_AT_ONCE = 3_000_000
"""Each takes some 150 bytes while a photo is looked at; photos beyond that wait."""


def bake(mesh: Triangles, scene: Scene, side: int) -> Generator[Progress, None, Asset]:
    """Texture a mesh from the photos of a scene (pinhole views).

    A texel takes its fine detail from the views that see it best (frontal, near) and its overall colour from all views
    that see it, so that differences of exposure leave no seams. What no view sees takes the colour of the nearest
    surface that one does.
    """
    yield Progress("texture", 0.0, "unwrapping")
    atlas = yield from unwrap(mesh, side)
    texels, points, normals = _texel_surface(mesh, atlas, side)
    caster = Raycaster(mesh)
    margin = 2e-3 * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    detail, base = np.zeros((2, len(points), 4), np.float32)  # colours times weight, and weight
    most = max(min(WORKERS, TEXELS_AT_ONCE // max(len(points), 1)), 1)
    views = mapped(lambda view: _see(scene, view, points, normals, caster, margin), range(len(scene)), most)
    for i, (rows, color, low, weight) in enumerate(views):
        yield Progress("texture", 0.15 + 0.8 * i / len(scene), f"photo {i + 1} of {len(scene)}")
        # The best views count, smoothly. Weights of a part in ten thousand are still far from single precision's end.
        detail[rows] += _weighted(color - low, weight**4)
        base[rows] += _weighted(low, weight)
    seen = base[:, 3] > 0
    colors = np.zeros((len(points), 3), np.float32)
    colors[seen] = base[seen, :3] / base[seen, 3:] + detail[seen, :3] / detail[seen, 3:]
    if seen.any() and not seen.all():
        from scipy.spatial import cKDTree

        nearest = cKDTree(points[seen]).query(points[~seen], k=4)[1]
        colors[~seen] = colors[seen][nearest].mean(1)
    elif not seen.any():
        colors[:] = 127
    texture = _fill_gutters(texels, np.clip(np.round(colors), 0, 255).astype(np.uint8), side)
    return Asset(mesh, atlas.uv, atlas.faces, texture)


def _weighted(colors: Float[ndarray, "k 3"], weight: Float[ndarray, "k"]) -> Float[ndarray, "k 4"]:
    return np.concatenate([colors * weight[:, None], weight[:, None]], axis=1).astype(np.float32)


def _texel_surface(mesh: Triangles, atlas: Atlas, side: int) -> tuple[Int[ndarray, "p"], Float[ndarray, "p 3"], Float[ndarray, "p 3"]]:
    """Flat texel numbers inside charts, and the surface points and normals they stand for: the atlas seen from above."""
    flat = Triangles(np.concatenate([atlas.uv, np.zeros((len(atlas.uv), 1))], axis=1), atlas.faces)
    centers = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(centers, 1 - centers)  # the picture's first row is the top, v = 1
    origins = np.stack([u.reshape(-1), v.reshape(-1), np.ones(side * side)], axis=1)
    hits = Raycaster(flat).cast(origins, np.broadcast_to([0.0, 0.0, -1.0], origins.shape))
    texels = np.flatnonzero(hits.face >= 0)
    face, weights = hits.face[texels], hits.barycentric[texels]
    corners = mesh.faces[face]
    points = (mesh.vertices[corners] * weights[..., None]).sum(1)
    normals = (mesh.vertex_normals[corners] * weights[..., None]).sum(1)
    return texels, points, (normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)).astype(np.float32)


def _see(
    scene: Scene, view: int, points: Float[ndarray, "p 3"], normals: Float[ndarray, "p 3"], caster: Raycaster, margin: float
) -> tuple[Int[ndarray, "k"], Float[ndarray, "k 3"], Float[ndarray, "k 3"], Float[ndarray, "k"]]:
    """Which points a photo sees, their colour, their blurred colour, and how much that view is worth."""
    cameras = scene.posed()
    picture, mask = scene.image(view), scene.mask(view)
    height, width = picture.shape[:2]
    to_eye = (cameras.centers[view] - points).astype(np.float32)
    distance = np.sqrt(np.einsum("ij,ij->i", to_eye, to_eye))
    cosine = np.einsum("ij,ij->i", normals, to_eye) / np.maximum(distance, np.float32(1e-12))
    rows = np.flatnonzero(cosine > 0.15)
    pixels, depth = cameras.project(view, points[rows])
    (x, y), border = pixels.T, 2.0
    inside = (depth > 0) & (x > border) & (x < width - border) & (y > border) & (y < height - border)
    rows, pixels = rows[inside], pixels[inside]
    clear = caster.visible(points[rows], cameras.centers[view], margin)
    rows, pixels = rows[clear], pixels[clear]
    trust = np.ones((height, width), np.float32)
    if mask is not None:
        # Colour bleeds over silhouettes: stay a little inside, and fade there.
        trust = np.clip(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) / (0.01 * max(height, width)) - 0.3, 0, 1)
    x, y = pixels.T
    edge = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    fade = np.clip(edge / (0.05 * max(height, width)), 0.02, 1)
    value = _lookup(np.dstack([picture.astype(np.float32), _blurred(picture, mask), trust]), pixels)
    resolution = (np.median(distance[rows]) / distance[rows]) if len(rows) else np.empty(0)
    weight = cosine[rows] ** 2 * resolution**2 * fade * value[:, 6]
    good = weight > 1e-4
    return rows[good], value[good, :3], value[good, 3:6], weight[good].astype(np.float32)


def _blurred(picture: UInt8[ndarray, "h w 3"], mask: Bool[ndarray, "h w"] | None) -> Float[ndarray, "h w 3"]:
    """Low band of a photo; the background does not bleed into the subject."""
    sigma = 0.015 * max(picture.shape[:2])
    image = picture.astype(np.float32)
    if mask is None:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    weight = mask.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    return cv2.GaussianBlur(image * weight[..., None], (0, 0), sigma) / np.maximum(total, 1e-3)[..., None]


def _lookup(stack: Float[ndarray, "h w c"], pixels: Float[ndarray, "k 2"]) -> Float[ndarray, "k c"]:
    """Bilinear values of a stack of channels at pixel positions."""
    n, wide = len(pixels), 4096
    if n == 0:
        return np.zeros((0, stack.shape[2]), np.float32)
    rows = -(-n // wide)
    x, y = (np.pad(pixels[:, k] - 0.5, (0, rows * wide - n)).reshape(rows, wide).astype(np.float32) for k in (0, 1))
    parts = [cv2.remap(np.ascontiguousarray(stack[..., c : c + 4]), x, y, cv2.INTER_LINEAR) for c in range(0, stack.shape[2], 4)]
    return np.concatenate([p.reshape(rows * wide, -1)[:n] for p in parts], axis=1)


def _fill_gutters(texels: Int[ndarray, "p"], colors: UInt8[ndarray, "p 3"], side: int) -> UInt8[ndarray, "side side 3"]:
    """Texels between charts take the nearest chart's colour, so that filtering and mip-maps never meet black."""
    from scipy.ndimage import distance_transform_edt

    texture = np.zeros((side * side, 3), np.uint8)
    texture[texels] = colors
    empty = np.ones(side * side, bool)
    empty[texels] = False
    nearest = distance_transform_edt(empty.reshape(side, side), return_distances=False, return_indices=True)
    return texture.reshape(side, side, 3)[nearest[0], nearest[1]]
