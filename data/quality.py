"""What is wrong with these photos, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from data.images import resize
from data.scene import Scene


@dataclass(frozen=True)
class Finding:
    """One problem: which photos have it, and the remedy."""

    kind: Literal["few", "blur", "dark", "bright", "duplicate", "sizes", "overlap", "registration", "reprojection"]
    severity: Literal["note", "warning", "serious"]
    photos: tuple[str, ...]
    message: str
    advice: str

    def __str__(self) -> str:
        return f"{self.message} {self.advice}"


def sharpness(grey: UInt8[ndarray, "h w"]) -> float:
    """Variance of the Laplacian (Pech-Pacheco et al. 2000) at a standard size, divided by the contrast."""
    scale = 512 / max(grey.shape)
    small = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    laplacian = cv2.Laplacian(small, cv2.CV_32F)
    return float(laplacian.var() / (float(small.var()) + 1e-3))


def check_photos(scene: Scene) -> list[Finding]:
    """Blur, exposure, duplicates, number and sizes; needs no poses."""
    names = scene.names
    grey = [cv2.cvtColor(_thumbnail(scene.image(i)), cv2.COLOR_RGB2GRAY) for i in range(len(scene))]
    findings = []
    if len(scene) < 8:
        findings.append(Finding("few", "serious" if len(scene) < 4 else "warning", (), f"There are only {len(scene)} photos.",
                                "Take 20 to 60, moving a little between them."))  # fmt: skip
    scores = np.array([sharpness(g) for g in grey])
    blurred = [names[i] for i in np.flatnonzero(scores < 0.3 * np.median(scores))]
    if blurred:
        findings.append(_finding("blur", blurred, "blurred beside the others", "Take them again with a steadier hand or more light, or leave them out."))
    dark = [names[i] for i, g in enumerate(grey) if (g < 12).mean() > 0.6 and g.mean() < 30]
    if dark and len(dark) < 0.7 * len(scene):
        findings.append(_finding("dark", dark, "mostly black", "Use more light or a longer exposure."))
    bright = [names[i] for i, g in enumerate(grey) if (g > 250).mean() > 0.5]
    if bright and len(bright) < 0.7 * len(scene):
        findings.append(_finding("bright", bright, "mostly white", "Lower the exposure."))
    twins = _duplicates(grey)
    if twins:
        findings.append(_finding("duplicate", [names[i] for i in twins], "the same as the photo before", "Move between photos; duplicates add nothing."))
    if len({tuple(size) for size in scene.sizes()}) > 1:
        findings.append(Finding("sizes", "note", (), "The photos have several sizes.", "This works; one camera with one zoom setting works best."))
    return findings


def check_registration(registered: int, given: int, dropped: Sequence[str], reprojection_error_px: float) -> list[Finding]:
    """Too few connected photos, or cameras that fit badly."""
    findings = []
    if registered < given:
        share = registered / given
        findings.append(Finding(
            "registration", "serious" if share < 0.5 else "warning", tuple(dropped),
            f"{registered} of {given} photos could be connected.",
            "Add photos between the ones left out and the rest: neighbours should overlap by two thirds.",
        ))  # fmt: skip
    if reprojection_error_px > 1.5:
        findings.append(Finding("reprojection", "warning", (), f"The cameras fit to {reprojection_error_px:.1f} pixels only.",
                                "Things may have moved, or the zoom changed; keep both still."))  # fmt: skip
    return findings


def _finding(kind: Literal["blur", "dark", "bright", "duplicate"], photos: list[str], what: str, advice: str) -> Finding:
    listed = ", ".join(photos[:4]) + (f" and {len(photos) - 4} more" if len(photos) > 4 else "")
    verb = "is" if len(photos) == 1 else "are"
    return Finding(kind, "warning", tuple(photos), f"{listed} {verb} {what}.", advice)


def _thumbnail(image: UInt8[ndarray, "h w 3"]) -> UInt8[ndarray, "h2 w2 3"]:
    scale = min(1.0, 512 / max(image.shape[:2]))
    return resize(image, max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))


def _duplicates(grey: list[UInt8[ndarray, "_ _"]]) -> list[int]:
    """Photos whose 32 x 32 thumbnail differs from an earlier one by less than sensor noise."""
    small = np.stack([cv2.resize(g, (32, 32), interpolation=cv2.INTER_AREA) for g in grey]).astype(np.float32)
    flat = small.reshape(len(small), -1)
    return [i for i in range(1, len(flat)) if np.abs(flat[:i] - flat[i]).mean(1).min() < 0.8]
