"""A texture from the photos: baked with visibility, blended in two bands."""

from collections.abc import Generator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data.parallel import mapped
from data.progress import Progress
from data.scene import Scene
from kernels.texels import add_photo, facing, surface
from recon.surface.agreement import gains, shown, trust
from recon.surface.asset import Asset
from recon.surface.flattening import flattened
from recon.surface.raycast import Raycaster
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import Atlas, Unwrapper

NEAR_BY = 100_000
"""Texels with a colour, at least, of which the nearest give theirs to texels that no photo sees."""



@dataclass(frozen=True)
class _Photo:
    """What a photo gives to the texels that see it."""

    picture: UInt8[ndarray, "h w 3"]
    low: Float[ndarray, "h w 3"]
    """Its low band."""
    trust: Float[ndarray, "h w"]


def bake(
    mesh: Triangles, scene: Scene, side: int, unwrapper: Unwrapper | None = None, flatten: bool = False, atlas: Atlas | None = None,
) -> Generator[Progress, None, Asset]:
    """Texture a mesh from the photos of a scene (pinhole views).

    Photos are made as bright as each other first, and one that disagrees with most of those that see a place (something passed before
    it, a highlight) has little say there. A texel takes its fine detail from the views that see it best (frontal, near) and its overall colour from all views
    that see it, so that differences of exposure leave no seams. What no view sees takes the colour of the nearest
    surface that one does.

    Args:
        unwrapper: one that was started ahead; it is used up.
        atlas: texture coordinates that the mesh has already.
        flatten: take out the light as far as it goes with the surface's direction.
    """
    if atlas is None:
        yield Progress("texture", 0.0, "unwrapping")
        with unwrapper or Unwrapper() as child:
            atlas = yield from child.unwrap(mesh, side)
    texels = surface(mesh.vertices, mesh.vertex_normals, mesh.faces, atlas.uv, atlas.faces, side)
    cameras = scene.posed()
    projections = cameras.projections
    what = shown(mesh, scene, np.arange(len(mesh.vertices)))
    gain = gains(what)
    agreed = trust(what, gain)
    caster = Raycaster(mesh)
    margin = 2e-3 * float(np.linalg.norm(np.ptp(mesh.vertices, axis=0)))
    detail, base = np.zeros((2, len(texels.points), 4), np.float32)  # colours times weight, and weight
    for i, photo in enumerate(mapped(lambda view: _photo(scene, view, gain[view]), range(len(scene)))):
        yield Progress("texture", 0.15 + 0.8 * i / len(scene), f"photo {i + 1} of {len(scene)}")
        height, width = photo.trust.shape
        rows, seen = facing(texels, cameras.centers[i], projections[i], (width, height))
        clear = caster.visible(texels.points, cameras.centers[i], margin, rows)
        add_photo(photo.picture, photo.low, photo.trust, rows, seen, clear * agreed[texels.nearest[rows], i], detail, base)
    seen = base[:, 3] > 0
    colors = np.zeros((len(base), 3), np.float32)
    colors[seen] = base[seen, :3] / base[seen, 3:] + detail[seen, :3] / detail[seen, 3:]
    if seen.any() and not seen.all():
        from scipy.spatial import cKDTree

        some = np.flatnonzero(seen)[:: max(int(seen.sum()) // NEAR_BY, 1)]
        nearest = cKDTree(texels.points[some]).query(texels.points[~seen], k=min(4, len(some)), workers=-1)[1]
        colors[~seen] = colors[some[nearest.reshape(len(nearest), -1)]].mean(1)
    elif not seen.any():
        colors[:] = 127
    if flatten:
        colors = flattened(colors, texels.normals).astype(np.float32)
    texture = fill_gutters(texels.number, np.clip(np.round(colors), 0, 255).astype(np.uint8), side)
    return Asset(mesh, atlas.uv, atlas.faces, texture)


def _photo(scene: Scene, view: int, gain: Float[ndarray, "3"]) -> _Photo:
    """A photo made ready, as bright as the others; it is trusted less near the outline of its mask, over which colour bleeds."""
    picture, mask = scene.image(view), scene.mask(view)
    if np.abs(gain - 1).max() > 0.004:
        picture = np.clip(np.round(picture * gain.astype(np.float32)), 0, 255).astype(np.uint8)
    certain = np.ones(picture.shape[:2], np.float32)
    if mask is not None:
        inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3)
        certain = np.clip(inside / (0.01 * max(mask.shape)) - 0.3, 0, 1).astype(np.float32)
    return _Photo(picture, _blurred(picture, mask), certain)


def _blurred(picture: UInt8[ndarray, "h w 3"], mask: Bool[ndarray, "h w"] | None) -> Float[ndarray, "h w 3"]:
    """Low band of a photo; the background does not bleed into the subject."""
    sigma = 0.015 * max(picture.shape[:2])
    image = picture.astype(np.float32)
    if mask is None:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    weight = mask.astype(np.float32)
    total = cv2.GaussianBlur(weight, (0, 0), sigma)
    return cv2.GaussianBlur(image * weight[..., None], (0, 0), sigma) / np.maximum(total, 1e-3)[..., None]


def fill_gutters(texels: Int[ndarray, "p"], colors: UInt8[ndarray, "p 3"], side: int) -> UInt8[ndarray, "side side 3"]:
    """Texels between charts take the nearest chart's colour, so that filtering and mip-maps never meet black."""
    if len(texels) == 0:
        return np.zeros((side, side, 3), np.uint8)
    empty = np.ones(side * side, np.uint8)
    empty[texels] = 0
    _, labels = cv2.distanceTransformWithLabels(empty.reshape(side, side), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    of_label = np.zeros((labels.max() + 1, 3), np.uint8)
    of_label[labels.reshape(-1)[texels]] = colors
    return of_label[labels]
