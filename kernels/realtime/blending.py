"""The colour of every pixel of a mesh, blended from the photos that see it: the product's real-time blending.

For a pixel whose surface point p a few photos k see, at z-depth z_k, with angle a_k between the ray to p and the photo's own ray,

    w_k = importance_k * trust_k(p) * visible_k(p) * border_k(p) * cosine_k(p) * exp(-sharpness * (1 - cos a_k))

where `importance` is of the whole photo for this picture, `trust` is stored at the vertices, `visible` compares z_k with the
photo's own picture of the mesh's depth, `border` fades a photo out towards its edges, and `cosine` is between the normal and the
photo's ray. The colour is the mean of the photos' colours and, with the small weight `floor`, of the vertices' own. On a backdrop
a photo has at least the weight `floor`, with its border continued: what no photo sees is guessed from those that look that way.
The programs of the OpenGL and WebGL renderers (`recon/surface/realtime/blending.frag`) say the same.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from kernels.realtime.rasterizing import Raster

TOLERANCE = 0.02
"""Relative difference of depth up to which a photo sees a point; at twice that it surely does not."""
BORDER = 0.03
"""Share of a photo's longer side over which it fades out towards its edges."""
LEAST_COSINE = 0.05
"""Surfaces seen at a flatter angle count as if seen at this one."""


@dataclass(frozen=True)
class Blend:
    """How photos are weighed."""

    sharpness: float = 15.0
    """How fast a photo loses weight with the angle between its ray and the picture's."""
    floor: float = 2e-3
    """Weight of the vertices' colours beside the photos."""
    photos: int = 6
    """Photos that a picture is blended from."""


@dataclass(frozen=True)
class Surroundings:
    """Everything that the pixels of a picture are blended from; m photos, of one size."""

    vertices: Float[ndarray, "v 3"]
    normals: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]
    layers: tuple[int, ...]
    """Where the mesh's faces end, and those of each backdrop but the last: each is shown only where those before show nothing."""
    colors: UInt8[ndarray, "v 3"]
    """Shown where no photo shows anything."""
    photos: UInt8[ndarray, "m h w 4"]
    """Red, green, blue, and 255: renderers fetch four numbers as fast as three."""
    depths: Float[ndarray, "m h w"]
    """The mesh as the photos' cameras see it; infinity where they see nothing."""
    projections: Float[ndarray, "m 3 4"]
    """World to pixels times z-depth."""
    centers: Float[ndarray, "m 3"]
    trust: UInt8[ndarray, "v m"]
    """Of each photo at each vertex, 255 for full."""

    @cached_property
    def doubted(self) -> Bool[ndarray, "m"]:
        """Photos that are not fully trusted everywhere."""
        return np.asarray((self.trust < 255).any(0))


def blend(
    around: Surroundings, raster: Raster, corners: Float[ndarray, "v 3"], eye: Float[ndarray, "3"], chosen: Int[ndarray, "k"],
    importance: Float[ndarray, "k"], how: Blend, background: tuple[int, int, int] = (255, 255, 255),
) -> UInt8[ndarray, "h w 3"]:  # fmt: skip
    """The picture of a rasterized mesh.

    Args:
        corners: the vertices as `rasterize` took them.
        eye: the picture's centre of projection.
        chosen: photos to blend.
        importance: of these, 0 to 1.
    """
    from kernels.realtime import cpu

    picture = np.empty((*raster.face.shape, 3), np.uint8)
    texels = around.photos.reshape(len(around.photos), -1, 4)
    cpu.blend(
        around.vertices, around.normals, around.faces, (*around.layers, len(around.faces))[0], around.colors, texels,
        around.depths, around.projections, around.centers, around.trust, around.doubted, raster.face, np.ascontiguousarray(corners, np.float64), np.ascontiguousarray(eye, np.float64),
        np.ascontiguousarray(chosen, np.int64), np.ascontiguousarray(importance, np.float32), np.float32(how.sharpness),
        np.float32(how.floor), np.float32(TOLERANCE), np.float32(BORDER), np.float32(LEAST_COSINE), np.array(background, np.uint8), picture,
    )  # fmt: skip
    return picture


def blend_reference(
    around: Surroundings, raster: Raster, corners: Float[ndarray, "v 3"], eye: Float[ndarray, "3"], chosen: Int[ndarray, "k"],
    importance: Float[ndarray, "k"], how: Blend, background: tuple[int, int, int] = (255, 255, 255),
) -> UInt8[ndarray, "h w 3"]:  # fmt: skip
    """The twin of `blend` in plain NumPy."""
    rows, columns = np.nonzero(raster.face >= 0)
    number = raster.face[rows, columns]
    corner = np.asarray(corners, np.float64)[around.faces[number]]
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]
    pixel = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=1)
    w = np.stack([(pixel * np.cross(b, c)).sum(1), (pixel * np.cross(c, a)).sum(1), (pixel * np.cross(a, b)).sum(1)], axis=1)
    w /= w.sum(1, keepdims=True)
    at = around.faces[number]
    point = (around.vertices[at] * w[..., None]).sum(1)
    normal = (around.normals[at] * w[..., None]).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)
    ray = point - eye
    ray /= np.maximum(np.linalg.norm(ray, axis=1, keepdims=True), 1e-12)
    height, width = around.photos.shape[1:3]
    lining = number >= (*around.layers, len(around.faces))[0]
    total = np.full(len(number), how.floor)
    color = total[:, None] * (around.colors[at] * w[..., None]).sum(1)
    for k, important in zip(chosen, importance, strict=True):
        local = point @ around.projections[k, :, :3].T + around.projections[k, :, 3]
        z = local[:, 2]
        x, y = (local[:, :2] / np.where(z > 0, z, 1)[:, None]).T
        inside = (x > 0) & (x < width) & (y > 0) & (y < height)
        x, y = np.clip(x, 0, width - 0.5), np.clip(y, 0, height - 0.5)
        behind = z / around.depths[k, y.astype(int), x.astype(int)] - 1
        visible = np.clip((2 * TOLERANCE - behind) / TOLERANCE, 0, 1)
        edge = np.clip(np.minimum(np.minimum(x, width - x), np.minimum(y, height - y)) / (BORDER * max(height, width)), 0, 1)
        trusted = (around.trust[at, k] * w).sum(1) / 255
        weight = np.where(inside, trusted * visible * edge, 0)
        weight = np.where(z > 0, np.where(lining, np.maximum(weight, how.floor), weight), 0)
        toward = around.centers[k] - point
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
        cosine = np.clip((normal * toward).sum(1), LEAST_COSINE, 1)
        weight = important * weight * cosine * np.exp(-how.sharpness * (1 + (toward * ray).sum(1)))
        color += weight[:, None] * _bilinear(around.photos[k, :, :, :3], x, y)
        total = total + weight
    picture = np.tile(np.array(background, np.uint8), (*raster.face.shape, 1))
    picture[rows, columns] = np.clip(np.floor(color / total[:, None] + 0.5), 0, 255)
    return picture


def _bilinear(picture: UInt8[ndarray, "h w 3"], x: Float[ndarray, "p"], y: Float[ndarray, "p"]) -> Float[ndarray, "p 3"]:
    """Colours between pixels, the first of which has its centre at (0.5, 0.5); beyond the border the border's."""
    height, width = picture.shape[:2]
    x, y = np.clip(x - 0.5, 0, width - 1), np.clip(y - 0.5, 0, height - 1)
    j, i = np.minimum(x.astype(int), width - 2), np.minimum(y.astype(int), height - 2)
    a, b = (x - j)[:, None], (y - i)[:, None]
    return (1 - b) * ((1 - a) * picture[i, j] + a * picture[i, j + 1]) + b * ((1 - a) * picture[i + 1, j] + a * picture[i + 1, j + 1])
