"""Edits in 3D without a model: recolour, replace the background, remove, crop."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from data.errors import InputError
from data.images import load_rgba
from data.scene import Scene
from data.worlds.edits.words import COLORS, SYNONYMS
from recon.depthviews import DepthViews, link, nearest, resized, small_photos
from recon.editing.regions import in_box, soft
from recon.surface.realtime.baked import Baked
from recon.surface.triangles import Triangles


def parse_color(text: str) -> Float[ndarray, "3"]:
    """sRGB, 0 to 1, of a name or ``#rrggbb``.

    Raises:
        InputError: it is no colour.
    """
    word = text.strip().lower()
    word = SYNONYMS.get(word, word)
    if word in COLORS:
        return np.array(COLORS[word])
    if re.fullmatch(r"#[0-9a-f]{6}", word):
        return np.array([int(word[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    raise InputError(f"'{text}' is no colour. Give --color a name ({', '.join(COLORS)}) or #rrggbb.")


def recolored(photos: Sequence[UInt8[ndarray, "_ _ 3"]], masks: Sequence[Bool[ndarray, "_ _"]], color: Float[ndarray, "3"]) -> list[UInt8[ndarray, "_ _ 3"]]:
    """What the masks show in another colour, its shading kept; brightness is judged over all photos, so that they agree."""
    weights = np.array([0.299, 0.587, 0.114])
    light = [(photo / 255) @ weights for photo in photos]
    inside = np.concatenate([y[m] for y, m in zip(light, masks)])
    middle = max(float(np.mean(inside)), 0.05)
    out = []
    for photo, y, mask in zip(photos, light, masks):
        shade = np.clip(y / middle, 0, 2.5)[..., None]
        new = np.clip(color * (0.2 + 0.8 * shade) + 0.3 * np.maximum(shade - 1.4, 0), 0, 1)
        weight = soft(mask)[..., None]
        out.append(np.clip(np.round(photo * (1 - weight) + 255 * new * weight), 0, 255).astype(np.uint8))
    return out


def with_background(photos: Sequence[UInt8[ndarray, "_ _ 3"]], masks: Sequence[Bool[ndarray, "_ _"]], what: str) -> list[UInt8[ndarray, "_ _ 3"]]:
    """Photos with a colour or a picture behind what the masks show.

    Raises:
        InputError: ``what`` is neither.
    """
    path = Path(what)
    picture = load_rgba(path)[0] if path.suffix and path.exists() else None
    color = None if picture is not None else parse_color(what)
    out = []
    for photo, mask in zip(photos, masks):
        height, width = mask.shape
        behind = np.tile(255 * np.asarray(color), (height, width, 1)) if picture is None else _covering(picture, width, height)
        weight = soft(~mask)[..., None]
        out.append(np.clip(np.round(photo * (1 - weight) + behind * weight), 0, 255).astype(np.uint8))
    return out


def _covering(picture: UInt8[ndarray, "_ _ 3"], width: int, height: int) -> Float[ndarray, "h w 3"]:
    """A picture enlarged until it covers, its middle cut out."""
    scale = max(width / picture.shape[1], height / picture.shape[0])
    big = cv2.resize(picture, (max(round(picture.shape[1] * scale), width), max(round(picture.shape[0] * scale), height)), interpolation=cv2.INTER_AREA)
    top, left = (big.shape[0] - height) // 2, (big.shape[1] - width) // 2
    return big[top : top + height, left : left + width].astype(np.float64)


@dataclass(frozen=True)
class Removed:
    """Photos without a thing."""

    photos: list[UInt8[ndarray, "_ _ 3"]]
    from_others: float
    """Share of what it hid that other photos show; the rest was continued from around it."""


def kept_faces(mesh: Triangles, scene: Scene, masks: Sequence[Bool[ndarray, "_ _"]], box: Float[ndarray, "2 3"] | None, inside: bool) -> ndarray:
    """Numbers of a mesh's faces that lie inside a region, or outside of it.

    Args:
        box: the region, if it is a box; else a face lies in it if most of the photos whose picture it falls into say so.
    """
    centres = mesh.vertices[mesh.faces].mean(1)
    if box is not None:
        within = in_box(centres, box)
    else:
        votes, seen = np.zeros(len(centres)), np.zeros(len(centres))
        cameras = scene.posed()
        for i, mask in enumerate(masks):
            pixels, z = cameras.project(i, centres)
            there = (z > 0) & (pixels >= 0).all(1) & (pixels[:, 0] < mask.shape[1]) & (pixels[:, 1] < mask.shape[0])
            column, row = (np.where(there, pixels[:, d], 0).astype(int) for d in (0, 1))
            votes += there & mask[row, column]
            seen += there
        within = votes > 0.5 * np.maximum(seen, 1)
    return np.flatnonzero(within == inside)


def removed(scene: Scene, baked: Baked, without: Baked, masks: Sequence[Bool[ndarray, "_ _"]]) -> Removed:
    """Fill what a thing hides with what other photos show behind it, and what none shows with what is around.

    Args:
        without: the scene's mesh and backdrops with the thing taken out.
    """
    from recon.depthviews import depths

    cameras = scene.posed()
    typical = tuple(int(v) for v in np.median(cameras.sizes, axis=0))
    size: tuple[int, int] = (typical[0], typical[1])
    common = resized(cameras, size)
    grown = [cv2.dilate(cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST), np.ones((7, 7), np.uint8)) > 0 for m in masks]
    there = depths(baked, common).numpy()
    # The other photos do not see a place behind the thing through it: their pixels of the thing show nothing of use.
    usable = np.where(np.stack(grown), 0, there).astype(np.float32)
    views = DepthViews(small_photos(scene, size), torch.from_numpy(usable), common)
    behind = DepthViews(views.photos, depths(without, common), common)
    links = link(views, nearest(common, min(8, len(scene) - 1)), behind)
    blend, total = links.blended(views.photos)
    out, hidden, shown = [], 0, 0
    for i, mask in enumerate(grown):
        known = total[i, 0].numpy() > 0.02
        hidden, shown = hidden + int(mask.sum()), shown + int((mask & known).sum())
        fill = (255 * blend[i].permute(1, 2, 0).numpy()).round().astype(np.uint8)
        photo = (255 * views.photos[i].permute(1, 2, 0).numpy()).round().astype(np.uint8)
        whole = np.where((mask & known)[..., None], fill, photo)
        guess = (mask & ~known).astype(np.uint8)
        if guess.any():
            whole = cv2.inpaint(np.ascontiguousarray(whole), guess, 5, cv2.INPAINT_TELEA)
        width, height = (int(v) for v in cameras.sizes[i])
        original = scene.image(i)
        full = cv2.resize(whole, (width, height), interpolation=cv2.INTER_CUBIC) if (width, height) != size else whole
        weight = cv2.GaussianBlur(cv2.resize(mask.astype(np.float32), (width, height)), (0, 0), 1.0)[..., None]
        inside = cv2.resize(masks[i].astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)[..., None] > 0
        weight = np.where(inside, 1.0, weight)
        out.append(np.clip(np.round(original * (1 - weight) + full * weight), 0, 255).astype(np.uint8))
    return Removed(out, shown / max(hidden, 1))
