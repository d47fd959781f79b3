"""A painted texture made to fit the photos, ray by ray.

Each pixel of a photo that shows the surface squarely is a mean of four texels. Their colours solve a robust least-squares problem
with the painted texture as its prior, which steps of the gradient over a bound of its slope approach (as SIRT does in tomography:
Gilbert 1972). What no pixel asks about stays as it was painted.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from data.progress import Progress
from data.scene import Scene
from kernels.texels import compare
from recon.surface.agreement import gains, shown
from recon.surface.asset import Asset
from recon.surface.raycast import Raycaster

PIXELS = 8_000_000
"""Of all photos together, at most: 19 bytes each."""
LEAST_COSINE = 0.05
EDGE = 0.03
"""Relative jump of distance within five pixels: there a pixel may show two surfaces."""


@dataclass(frozen=True)
class FitOptions:
    """How a texture is fitted to its photos."""

    seconds: float = 15.0
    sweeps: int = 6
    """Through all pixels, at most; more change little."""
    prior: float = 2.0
    """Pixels that the painted colour counts for."""
    spread: float = 25.0
    """Difference of colour, of 255, at which a pixel counts half."""
    seed: int = 0


@dataclass(frozen=True)
class _Pixels:
    """Pixels of a photo, as `kernels.texels.compare` takes them."""

    at: Int[ndarray, "r"]
    across: Float[ndarray, "r"]
    down: Float[ndarray, "r"]
    colors: UInt8[ndarray, "r 3"]
    weight: Float[ndarray, "r"]


def fit_texture(asset: Asset, scene: Scene, options: FitOptions) -> Generator[Progress, None, Asset]:
    """The asset with a texture that looks more like the photos (pinhole views) from where they were taken."""
    begun = time.monotonic()
    gain = gains(shown(asset.mesh, scene, np.arange(len(asset.mesh.vertices))))
    caster, random = Raycaster(asset.mesh), np.random.default_rng(options.seed)
    photos = []
    for view in range(len(scene)):
        yield Progress("refine", 0.5 * view / len(scene), f"texture: photo {view + 1} of {len(scene)}")
        photos.append(_pixels(asset, scene, view, caster, gain[view], PIXELS // len(scene), random))
    painted = asset.texture.reshape(-1, 3).astype(np.float32)
    texture = painted.copy()
    count = max(sum(len(p.at) for p in photos), 1)
    for sweep in range(options.sweeps):
        if sweep and time.monotonic() - begun > options.seconds:
            break
        num, den, error = np.zeros_like(texture), np.zeros(len(texture), np.float32), 0.0
        for p in photos:
            error += compare(texture, p.at, p.across, p.down, p.colors, p.weight, options.spread, num, den)
        texture += (num + options.prior * (painted - texture)) / (den + options.prior)[:, None]
        yield Progress("refine", 0.5 + 0.5 * (sweep + 1) / options.sweeps, f"texture: sweep {sweep + 1}", {"error": error / (3 * count * 255**2)})
    return replace(asset, texture=np.clip(np.round(texture), 0, 255).astype(np.uint8).reshape(asset.texture.shape))


def _pixels(
    asset: Asset, scene: Scene, view: int, caster: Raycaster, gain: Float[ndarray, "3"], most: int, random: np.random.Generator
) -> _Pixels:
    """Pixels that show one surface, some of them if they are many."""
    cameras = scene.posed()
    width, height = (int(v) for v in cameras.sizes[view])
    hits, rays = caster.look(cameras, view)
    distance = np.where(hits.face >= 0, hits.distance, 1e9).reshape(height, width).astype(np.float32)
    around = np.ones((5, 5), np.uint8)
    good = (hits.face >= 0) & (cv2.dilate(distance, around) < (1 + EDGE) * cv2.erode(distance, around)).reshape(-1)
    mask = scene.mask(view)
    if mask is not None:
        good &= (cv2.erode(mask.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0).reshape(-1)
    pick = np.flatnonzero(good)
    if len(pick) > most:
        pick = np.sort(random.choice(pick, most, replace=False))
    face, share = hits.face[pick], hits.barycentric[pick][..., None]
    side = asset.texture.shape[0]
    uv = (asset.uv[asset.uv_faces[face]] * share).sum(1)
    x, y = np.clip(np.stack([uv[:, 0], 1 - uv[:, 1]]) * side - 0.5, 0, side - 1.001)
    normal = (asset.mesh.vertex_normals[asset.mesh.faces[face]] * share).sum(1)
    lengths = np.linalg.norm(normal, axis=1) * np.linalg.norm(rays[pick], axis=1)
    cosine = np.clip(-(normal * rays[pick]).sum(1) / np.maximum(lengths, 1e-12), LEAST_COSINE, 1)
    colors = scene.image(view).reshape(-1, 3)[pick]
    if np.abs(gain - 1).max() > 0.004:
        colors = np.clip(np.round(colors * gain.astype(np.float32)), 0, 255).astype(np.uint8)
    left, top = x.astype(np.int64), y.astype(np.int64)
    return _Pixels((top * side + left).astype(np.int32), (x - left).astype(np.float32), (y - top).astype(np.float32), colors, cosine.astype(np.float32))
