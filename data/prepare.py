"""The working copy of a scene: undistorted, at most so large, in a folder of its own, poses in input coordinates."""

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from data import images
from data.cameras import Cameras
from data.masks import masks_mean
from data.parallel import mapped
from data.progress import Progress
from data.scene import Scene


def prepare(scene: Scene, folder: Path, max_side: int) -> Generator[Progress, None, Scene]:
    """Write `images/` (JPEG) and `masks/` (PNG) below ``folder`` and return the scene made of them, all pinhole.

    Focal length and principal point stay as they were (scaled); pixels that the lens did not see are masked out.
    """
    cameras = scene.posed()
    (folder / "images").mkdir(parents=True, exist_ok=True)
    meaning = masks_mean(scene)
    taken: set[str] = set()
    names = [_unique(path.stem, taken) for path in scene.image_paths]
    paths = [folder / "images" / f"{name}.jpg" for name in names]
    masks: list[Path | None] = []
    sizes = []

    def write(i: int) -> tuple[tuple[int, int], Path | None]:
        """Size of a photo's working copy, and its mask."""
        picture, mask = scene.image(i), scene.mask(i)
        if mask is not None and mask.shape != picture.shape[:2]:
            mask = cv2.resize(mask.astype(np.uint8), picture.shape[1::-1], interpolation=cv2.INTER_NEAREST) > 0
        picture, mask = undistort(picture, mask, cameras, i)
        height, width = picture.shape[:2]
        scale = min(1.0, max_side / max(width, height))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        images.save_image(paths[i], images.resize(picture, *size), quality=95)
        if mask is None:
            return size, None
        (folder / "masks").mkdir(exist_ok=True)
        shrunk = images.resize(mask.astype(np.uint8) * 255, *size)
        target = folder / "masks" / f"{names[i]}.png"
        images.save_image(target, (shrunk > 127).astype(np.uint8) * 255)
        return size, target

    for i, (size, mask_path) in enumerate(mapped(write, range(len(scene)))):
        yield Progress("prepare", i / len(scene), scene.names[i])
        sizes.append(size)
        masks.append(mask_path)
    straight = Cameras.pinhole(cameras.intrinsics, cameras.camera_to_world, cameras.sizes).resized(np.array(sizes))
    return replace(
        scene,
        root=folder,
        image_paths=tuple(paths),
        cameras=straight,
        mask_paths=tuple(masks) if any(masks) else (),
        mask_meaning=meaning if any(masks) else None,
        depth_paths=(),
    )


def undistort(
    picture: UInt8[ndarray, "h w 3"], mask: Bool[ndarray, "h w"] | None, cameras: Cameras, index: int
) -> tuple[UInt8[ndarray, "h w 3"], Bool[ndarray, "h w"] | None]:
    """What a pinhole camera with the same camera matrix would have seen."""
    lens, k = cameras.lenses[index], cameras.intrinsics[index].copy()
    if lens == "pinhole" or not np.any(cameras.distortion[index]) and lens == "opencv":
        return picture, mask
    k[:2, 2] -= 0.5  # OpenCV puts the first pixel's centre at (0, 0)
    size = picture.shape[1::-1]
    if lens == "fisheye":
        maps = cv2.fisheye.initUndistortRectifyMap(k, cameras.distortion[index, :4], np.eye(3), k, size, cv2.CV_32FC1)
    else:
        maps = cv2.initUndistortRectifyMap(k, cameras.distortion[index], np.eye(3), k, size, cv2.CV_32FC1)
    straight = cv2.remap(picture, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    seen = _inside(maps, size)
    if mask is not None:
        return straight, (cv2.remap(mask.astype(np.uint8), *maps, cv2.INTER_NEAREST) > 0) & seen
    return straight, (None if seen.mean() > 0.995 else seen)


def _inside(maps: tuple[Float[ndarray, "h w"], Float[ndarray, "h w"]], size: tuple[int, ...]) -> Bool[ndarray, "h w"]:
    x, y = maps
    return (x >= -0.5) & (y >= -0.5) & (x <= size[0] - 0.5) & (y <= size[1] - 0.5)


def _unique(stem: str, taken: set[str]) -> str:
    """A name not used yet: photos from two folders may share theirs."""
    name, number = stem, 1
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name
