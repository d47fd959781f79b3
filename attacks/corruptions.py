"""What happens to photos without any attacker: the 15 corruptions of ImageNet-C (Hendrycks and Dietterich 2019) in 5 severities, JPEG
qualities, wrong poses and intrinsics, photos that are missing or in the wrong place.

Severities follow the published tables, with lengths in pixels of a 224-pixel photo scaled to the photo's size. Frost and snow are painted
from noise: the original's frost pictures are not ours to ship.
"""

import io
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator as Random

from attacks.case import Case
from data.cameras import Cameras
from data.errors import InputError
from recon.general.views import mean_distance

Picture = Float[ndarray, "h w 3"]


def _scale(x: Picture) -> float:
    return min(x.shape[:2]) / 224


def gaussian_noise(x: Picture, s: int, r: Random) -> Picture:
    return x + r.normal(0, (0.08, 0.12, 0.18, 0.26, 0.38)[s], x.shape)


def shot_noise(x: Picture, s: int, r: Random) -> Picture:
    photons = (60, 25, 12, 5, 3)[s]
    return np.asarray(r.poisson(np.clip(x, 0, 1) * photons) / photons)


def impulse_noise(x: Picture, s: int, r: Random) -> Picture:
    share, draw = (0.03, 0.06, 0.09, 0.17, 0.27)[s], r.random(x.shape)
    return np.where(draw < share / 2, 0.0, np.where(draw < share, 1.0, x))


def defocus_blur(x: Picture, s: int, r: Random) -> Picture:
    radius, soft = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[s]
    radius = max(round(radius * _scale(x)), 1)
    at = np.arange(-radius, radius + 1)
    disk = (at[:, None] ** 2 + at[None] ** 2 <= radius**2).astype(np.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), (3, 3), soft)
    return np.asarray(cv2.filter2D(x, -1, kernel, borderType=cv2.BORDER_REFLECT))


def glass_blur(x: Picture, s: int, r: Random) -> Picture:
    sigma, reach, rounds = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))[s]
    reach = max(round(reach * _scale(x)), 1)
    x = cv2.GaussianBlur(x, (0, 0), sigma)
    h, w = x.shape[:2]
    row, column = np.meshgrid(np.arange(h), np.arange(w), indexing="ij")
    for _ in range(rounds):
        dy, dx = r.integers(-reach, reach + 1, (2, h, w))
        x = x[np.clip(row + dy, 0, h - 1), np.clip(column + dx, 0, w - 1)]
    return np.asarray(cv2.GaussianBlur(x, (0, 0), sigma))


def motion_blur(x: Picture, s: int, r: Random) -> Picture:
    length = max(round((10, 15, 15, 15, 20)[s] * _scale(x)), 3)
    sigma, angle = (3, 5, 8, 12, 15)[s] * _scale(x), r.uniform(-45, 45)
    weights = np.exp(-0.5 * (np.arange(length) / sigma) ** 2)
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    for i, weight in enumerate(weights):
        kernel[length + round(i * np.sin(np.radians(angle))), length + round(i * np.cos(np.radians(angle)))] += weight
    return np.asarray(cv2.filter2D(x, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REFLECT))


def zoom_blur(x: Picture, s: int, r: Random) -> Picture:
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[s]
    h, w = x.shape[:2]
    total = x.copy()
    zooms = np.arange(1, end, step)
    for zoom in zooms:
        total = total + cv2.warpAffine(x, cv2.getRotationMatrix2D((w / 2, h / 2), 0, float(zoom)), (w, h), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(total / (len(zooms) + 1))


def snow(x: Picture, s: int, r: Random) -> Picture:
    mean, deviation, zoom, least, length, keep = (
        (0.1, 0.3, 3, 0.5, 10, 0.8), (0.2, 0.3, 2, 0.5, 12, 0.7), (0.55, 0.3, 4, 0.9, 12, 0.7), (0.55, 0.3, 4.5, 0.85, 12, 0.65), (0.55, 0.3, 2.5, 0.85, 12, 0.55),
    )[s]  # fmt: skip
    h, w = x.shape[:2]
    small = r.normal(mean, deviation, (int(h / zoom) + 1, int(w / zoom) + 1)).astype(np.float32)
    flakes = cv2.resize(small, (w, h), interpolation=cv2.INTER_LINEAR)
    flakes = np.where(flakes < least, 0, np.clip(flakes, 0, 1))[..., None].repeat(3, -1).astype(np.float32)
    kernel = np.zeros((2 * length + 1, 2 * length + 1), np.float32)
    angle = np.radians(r.uniform(45, 135))
    for i in range(length):
        kernel[length + round(i * np.sin(angle)), length + round(i * np.cos(angle))] = 1
    flakes = cv2.filter2D(flakes, -1, kernel / kernel.sum())
    grey = x.mean(-1, keepdims=True)
    whiter = keep * x + (1 - keep) * np.maximum(x, grey * 1.5 + 0.5)
    return np.asarray(whiter + flakes + flakes[::-1, ::-1])


def frost(x: Picture, s: int, r: Random) -> Picture:
    keep, ice = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[s]
    h, w = x.shape[:2]
    # Crystals: ridges of a fractal, thick at the border of the pane.
    ridges = 1 - np.abs(2 * plasma(h, w, r, 1.6) - 1)
    y, z = np.meshgrid(np.linspace(-1, 1, h), np.linspace(-1, 1, w), indexing="ij")
    pane = np.clip(ridges**3 * (0.4 + 0.6 * np.maximum(np.abs(y), np.abs(z))), 0, 1)[..., None] * np.array([0.9, 0.97, 1.0])
    return np.asarray(keep * x + ice * pane)


def fog(x: Picture, s: int, r: Random) -> Picture:
    strength, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[s]
    top = x.max()
    hazy = x + strength * plasma(x.shape[0], x.shape[1], r, decay)[..., None]
    return np.asarray(hazy * top / (top + strength))


def brightness(x: Picture, s: int, r: Random) -> Picture:
    hsv = cv2.cvtColor(np.clip(x, 0, 1).astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + (0.1, 0.2, 0.3, 0.4, 0.5)[s], 0, 1)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def contrast(x: Picture, s: int, r: Random) -> Picture:
    mean = x.mean((0, 1), keepdims=True)
    return np.asarray((x - mean) * (0.4, 0.3, 0.2, 0.1, 0.05)[s] + mean)


def elastic(x: Picture, s: int, r: Random) -> Picture:
    strength, sigma = ((488, 171), (488, 19.5), (12.2, 2.44), (17.1, 2.44), (29.3, 2.44))[s]
    k = _scale(x)
    h, w = x.shape[:2]
    sigma = min(sigma * k, min(h, w) / 3)
    dx, dy = (cv2.GaussianBlur(r.uniform(-1, 1, (h, w)).astype(np.float32), (0, 0), sigma) for _ in range(2))
    size = strength * k / 4
    y, z = np.meshgrid(np.arange(h, dtype=np.float32), np.arange(w, dtype=np.float32), indexing="ij")
    return np.asarray(cv2.remap(x, z + size * dx, y + size * dy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT))


def pixelate(x: Picture, s: int, r: Random) -> Picture:
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[s]
    h, w = x.shape[:2]
    small = cv2.resize(x, (max(int(w * share), 1), max(int(h * share), 1)), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (w, h), interpolation=cv2.INTER_NEAREST))


def jpeg(x: Picture, s: int, r: Random) -> Picture:
    return as_jpeg(x, (25, 18, 15, 10, 7)[s])


def as_jpeg(x: Picture, quality: int) -> Picture:
    """Written as JPEG and read again."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(_bytes(x)).save(file, "JPEG", quality=quality)
    with Image.open(file) as again:
        return np.asarray(again).astype(np.float32) / 255


def plasma(h: int, w: int, r: Random, decay: float) -> Float[ndarray, "h w"]:
    """Fractal noise from 0 to 1: octaves of half the size and ``1 / decay`` of the height."""
    out, height, cells = np.zeros((h, w), np.float32), 1.0, 2
    while cells < max(h, w):
        out += height * cv2.resize(r.random((cells + 1, cells + 1)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        height, cells = height / decay, cells * 2
    return np.asarray((out - out.min()) / max(float(out.max() - out.min()), 1e-9))


CORRUPTIONS: dict[str, Callable[[Picture, int, Random], Picture]] = {
    f.__name__: f
    for f in (
        gaussian_noise, shot_noise, impulse_noise, defocus_blur, glass_blur, motion_blur, zoom_blur, snow, frost, fog, brightness, contrast, elastic, pixelate, jpeg,
    )
}  # fmt: skip

QUALITIES = (90, 70, 50, 30, 10)
"""Of the JPEG sweep."""
ROTATIONS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Degrees of pose noise (standard deviation about each axis), with translations of 1/500 of the cameras' mean distance for each tenth of a degree."""
FOCALS = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Relative error of the focal length."""


def corrupted(photo: UInt8[ndarray, "h w 3"], name: str, severity: int, seed: int = 0) -> UInt8[ndarray, "h w 3"]:
    """A photo with one corruption.

    Args:
        severity: 1 to 5.

    Raises:
        InputError: no such corruption or severity.
    """
    if name not in CORRUPTIONS:
        raise InputError(f"There is no corruption '{name}'. Known: {', '.join(CORRUPTIONS)}.")
    if severity not in range(1, 6):
        raise InputError(f"Severity {severity} does not exist. Choose 1 to 5.")
    return _bytes(CORRUPTIONS[name](photo.astype(np.float32) / 255, severity - 1, np.random.default_rng(seed)))


@dataclass(frozen=True)
class Variant:
    """A case after something went wrong with it."""

    name: str
    severity: int
    case: Case


def variants(case: Case, seed: int = 0) -> Generator[Variant, None, None]:
    """Everything that the bench asks about a case, severity by severity."""
    for name in CORRUPTIONS:
        for severity in range(1, 6):
            yield Variant(name, severity, _mapped(case, partial(_one, name, severity, seed)))
    for severity, quality in enumerate(QUALITIES, 1):
        yield Variant(f"JPEG {', '.join(map(str, QUALITIES))}", severity, _mapped(case, partial(_pressed, quality)))
    for severity, degrees in enumerate(ROTATIONS, 1):
        yield Variant(f"poses off by {', '.join(map(str, ROTATIONS))} degrees", severity, replace(case, cameras=shaken(case.cameras, degrees, 0.02 * degrees, seed), looks={}))
    for severity, error in enumerate(FOCALS, 1):
        k = case.cameras.intrinsics.copy()
        k[:, [0, 1], [0, 1]] *= 1 + error
        yield Variant(f"focal length off by {', '.join(f'{100 * f:g}' for f in FOCALS)} %", severity, replace(case, cameras=replace(case.cameras, intrinsics=k), looks={}))
    for severity, count in enumerate(range(1, min(6, len(case) - 1)), 1):
        keep = case.order(case.targets[0])[count:]
        yield Variant("nearest photos missing: 1 to 5", severity, chosen(case, sorted(keep)))
    for severity, pairs in enumerate(range(1, min(4, len(case) // 2) + 1), 1):
        order = list(range(len(case)))
        for p in range(pairs):
            order[2 * p], order[2 * p + 1] = order[2 * p + 1], order[2 * p]
        yield Variant("pairs of photos swapped: 1 to 4", severity, replace(case, photos=case.photos[order], looks={}))


def shaken(cameras: Cameras, degrees: float, share: float, seed: int = 0) -> Cameras:
    """Poses with normal errors: rotation about each axis in degrees, translation as a share of the mean distance between cameras."""
    from scipy.spatial.transform import Rotation

    random = np.random.default_rng(seed)
    pose = cameras.camera_to_world.copy()
    turns = Rotation.from_rotvec(np.radians(degrees) * random.normal(size=(len(pose), 3))).as_matrix()
    pose[:, :3, :3] = pose[:, :3, :3] @ turns
    pose[:, :3, 3] += share * mean_distance(cameras) * random.normal(size=(len(pose), 3))
    return replace(cameras, camera_to_world=pose)


def chosen(case: Case, views: list[int]) -> Case:
    """A case with some of its source photos."""
    return replace(
        case, photos=case.photos[views], cameras=case.cameras.select(views), names=tuple(case.names[i] for i in views),
        masks=tuple(case.masks[i] for i in views) if case.masks else (), near_far=None if case.near_far is None else case.near_far[views],
        within=None if case.within is None else case.within[views], scene=None if case.scene is None else case.scene.select(views), looks={},
    )  # fmt: skip


def _one(name: str, severity: int, seed: int, photo: UInt8[ndarray, "h w 3"], view: int) -> UInt8[ndarray, "h w 3"]:
    return corrupted(photo, name, severity, seed + view)


def _pressed(quality: int, photo: UInt8[ndarray, "h w 3"], view: int) -> UInt8[ndarray, "h w 3"]:
    return _bytes(as_jpeg(photo.astype(np.float32) / 255, quality))


def _mapped(case: Case, change: Callable[[UInt8[ndarray, "h w 3"], int], UInt8[ndarray, "h w 3"]]) -> Case:
    photos = case.photos.clone()
    for i, piece in enumerate(case.pieces(case.photos)):
        out = change(_bytes(piece.permute(1, 2, 0).cpu().numpy()), i)
        photos[i, :, : piece.shape[1], : piece.shape[2]] = torch.from_numpy(out).permute(2, 0, 1).to(photos) / 255
    return replace(case, photos=photos, looks={})


def _bytes(x: Picture) -> UInt8[ndarray, "h w 3"]:
    return (np.clip(x, 0, 1) * 255).round().astype(np.uint8)
