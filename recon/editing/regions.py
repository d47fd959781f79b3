"""Where an edit applies: a box, the subject, what was found in the scene, or a mask of one photo, as a soft mask of every photo."""

from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from data.cameras import Cameras
from data.errors import InputError
from data.images import load_mask
from data.scene import Scene
from recon.depthviews import TOLERANCE, depths
from recon.surface.realtime.baked import Baked
from recon.understanding.answered import is_region, region_in_photos

SOFT = 3.0
"""Pixels from the outline inwards over which an edit fades in; outside of the outline nothing changes."""
LABELS = ("subject", "background")


def region_masks(region: str, scene: Scene, baked: Baked) -> list[Bool[ndarray, "_ _"]] | None:
    """The region in every photo; None: everywhere.

    Raises:
        InputError: it is none of the kinds, its file cannot be used, or no view sees it.
    """
    if not region.strip():
        return None
    box = as_box(region)
    if region in LABELS:
        masks = _labelled(region, scene)
    elif box is not None:
        masks = [in_box(points_of_photo(depth, scene.posed(), i), box) for i, depth in enumerate(_full_depths(scene, baked))]
    elif is_region(region):
        masks = region_in_photos(scene.root, region, [path.stem for path in scene.image_paths])
    elif region.lower().endswith(".png"):
        masks = _carried(Path(region), scene, baked)
    else:
        raise InputError(f"The region '{region}' is unknown. Give a box (x y z x y z), 'subject' or 'background', what `lumigraph understand` found (select, instances:NAME), or the PNG of a mask named like its photo.")
    if not any(mask.any() for mask in masks):
        raise InputError(f"No view sees the region '{region}'. Check it against the scene's coordinates (report.html shows them), or leave it out.")
    return masks


def as_box(region: str) -> Float[ndarray, "2 3"] | None:
    """Six numbers as a box; None if they are something else.

    Raises:
        InputError: six numbers that are no box.
    """
    words = region.replace(",", " ").split()
    try:
        values = np.array([float(w) for w in words])
    except ValueError:
        return None
    if values.shape != (6,) or not np.isfinite(values).all() or not (values[3:] > values[:3]).all():
        raise InputError(f"The region '{region}' is no box. Give its lower corner, then its upper one: x y z x y z.")
    return values.reshape(2, 3)


def soft(mask: Bool[ndarray, "h w"]) -> Float[ndarray, "h w"]:
    """1 well inside, falling to 0 at the outline; along the picture's border it does not fall."""
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    inside = cv2.distanceTransform(cv2.copyMakeBorder(padded, 8, 8, 8, 8, cv2.BORDER_REPLICATE), cv2.DIST_L2, 3)[9:-9, 9:-9]
    return np.clip(inside / SOFT, 0, 1)


def points_of_photo(depth: Float[ndarray, "h w"], cameras: Cameras, view: int) -> Float[ndarray, "h w 3"]:
    """The world point of every pixel; infinity where the depth is unknown."""
    height, width = depth.shape
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
    points = cameras.unproject(view, pixels, depth.reshape(-1).astype(np.float64)).reshape(height, width, 3)
    return np.where((depth > 0)[..., None], points, np.inf)


def in_box(points: Float[ndarray, "*n 3"], box: Float[ndarray, "2 3"]) -> Bool[ndarray, "*n"]:
    """Which points lie in a box."""
    return ((points >= box[0]) & (points <= box[1])).all(-1)


def _full_depths(scene: Scene, baked: Baked) -> list[Float[ndarray, "_ _"]]:
    cameras = scene.posed()
    return [depths(baked, cameras.select([i])).numpy()[0] for i in range(len(scene))]


def _labelled(label: str, scene: Scene) -> list[Bool[ndarray, "_ _"]]:
    masks = [scene.mask(i) for i in range(len(scene))]
    if any(mask is None for mask in masks):
        raise InputError(f"The result has no masks, so that nothing says what '{label}' is. Give a box (--region 'x y z x y z') or the mask of one photo, or reconstruct photos with masks.")
    return [np.asarray(mask) if label == "subject" else ~np.asarray(mask) for mask in masks]


def _carried(path: Path, scene: Scene, baked: Baked) -> list[Bool[ndarray, "_ _"]]:
    """A mask of one photo in all photos: a pixel belongs to it if its place in that photo does, and is seen there."""
    names = [p.stem for p in scene.image_paths]
    if path.stem not in names:
        raise InputError(f"'{path.name}' is not named like a photo of the result. Rename it to one of them, such as '{names[0]}.png'.")
    if not path.exists():
        raise InputError(f"The mask '{path}' does not exist. Check its name.")
    given, cameras = names.index(path.stem), scene.posed()
    mask = load_mask(path)
    width, height = (int(v) for v in cameras.sizes[given])
    if mask.shape != (height, width):
        if abs(mask.shape[1] / mask.shape[0] - width / height) > 0.02 * width / height:
            raise InputError(f"The mask '{path.name}' has {mask.shape[1]} x {mask.shape[0]} pixels, its photo {width} x {height}. Draw it on the photo in '{scene.root}'.")
        mask = cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    every, out = _full_depths(scene, baked), []
    for i, depth in enumerate(every):
        if i == given:
            out.append(mask)
            continue
        points = points_of_photo(depth, cameras, i).reshape(-1, 3)
        known = np.isfinite(points).all(1)
        pixels, z = cameras.project(given, np.where(known[:, None], points, 0))
        inside = known & (z > 0) & (pixels >= 0).all(1) & (pixels[:, 0] < width) & (pixels[:, 1] < height)
        column, row = (np.where(inside, pixels[:, d], 0).astype(int) for d in (0, 1))
        seen = inside & (np.abs(every[given][row, column] - z) < 2 * TOLERANCE * np.abs(z))
        picture = (seen & mask[row, column]).reshape(depth.shape).astype(np.uint8)
        out.append(cv2.morphologyEx(picture, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8)) > 0)
    return out
