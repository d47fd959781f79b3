"""Predictors without a network."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray

from recon.understanding.prediction import Predictions
from recon.understanding.regions import photo_regions


@dataclass(frozen=True)
class ClassicalEdges:
    """Gradients of colour at two scales, thinned across the edge and put relative to the picture's strongest (after Canny 1986)."""

    name: str = "classical"

    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """Heat, 0 to 1."""
        return Predictions("heat", tuple(torch.from_numpy(_edges(p))[None] for p in photos), ("edge",))


@dataclass(frozen=True)
class Corners:
    """Key points: the smaller eigenvalue of the structure tensor (Shi & Tomasi 1994), relative to the picture's strongest."""

    name: str = "classical"

    def predict(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> Predictions:
        """Heat, 0 to 1."""
        maps = []
        for photo in photos:
            gray = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
            strength = cv2.cornerMinEigenVal(gray, 5)
            maps.append(torch.from_numpy(np.sqrt(np.clip(strength / max(float(np.quantile(strength, 0.999)), 1e-9), 0, 1)))[None])
        return Predictions("heat", tuple(maps), ("keypoint",))


@dataclass(frozen=True)
class ColorRegions:
    """Superpixels by colour (Felzenszwalb & Huttenlocher 2004)."""

    name: str = "classical"

    def segment(self, photos: Sequence[UInt8[ndarray, "h w 3"]]) -> list[ndarray]:
        """See `protocol.Segmenter`."""
        return [photo_regions([p])[0] for p in photos]


def _edges(photo: UInt8[ndarray, "h w 3"]) -> ndarray:
    best = np.zeros(photo.shape[:2], np.float32)
    for sigma in (1.0, 2.0):
        soft = cv2.GaussianBlur(photo.astype(np.float32) / 255, (0, 0), sigma)
        gx, gy = cv2.Sobel(soft, cv2.CV_32F, 1, 0) / 8, cv2.Sobel(soft, cv2.CV_32F, 0, 1) / 8
        strongest = (gx**2 + gy**2).argmax(2)[..., None]
        gx, gy = np.take_along_axis(gx, strongest, 2)[..., 0], np.take_along_axis(gy, strongest, 2)[..., 0]
        size = np.hypot(gx, gy)
        # An edge is a crest: not weaker than one pixel further along the gradient and one back.
        y, x = np.indices(size.shape).astype(np.float32)
        dx, dy = (g / np.maximum(size, 1e-6) for g in (gx, gy))
        ahead, behind = (cv2.remap(size, x + s * dx, y + s * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for s in (1, -1))
        crest = size * (size >= 0.98 * np.maximum(ahead, behind))
        best = np.maximum(best, crest * sigma)
    return np.clip(best / max(float(np.quantile(best[best > 0], 0.98)) if (best > 0).any() else 1.0, 1e-6), 0, 1).astype(np.float32)
