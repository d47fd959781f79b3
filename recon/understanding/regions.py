"""Regions: small patches of one thing each (superpixels) of all photos, what is known of each, and which touch or show the same place.

They are what everything else works on: a few hundred a photo instead of a hundred thousand pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from data.parallel import mapped
from kernels.regions import flood, grow, totals
from recon.depthviews import DepthViews, Links, link, nearest
from recon.understanding.small.networks import Understood

SCALE, LEAST = 1.0, 12
"""Of the regions of a photo, see `kernels.regions.grow`; pixels at half size."""
THREADS = 16
"""Photos at once, at most; a photo takes little memory here."""
RIDGE = 0.35
"""Mean chance of an outline from which on a region is but an outline."""


@dataclass(frozen=True)
class Regions:
    """R regions of N photos; their maps have one size."""

    maps: Int[ndarray, "n h w"]
    """The region of each pixel; numbers run on from photo to photo."""
    view: Int[ndarray, "r"]
    """Photo of each region."""
    pixels: Float[ndarray, "r"]
    """How many it has."""
    feature: Float[ndarray, "r c"]
    """Sum of unit features over its pixels."""
    normal: Float[ndarray, "r 3"]
    """Sum of unit normals, world axes (camera axes for photos without a scene)."""
    place: Float[ndarray, "r 3"]
    """Mean point, world coordinates; NaN where the depth is unknown."""
    thing: Float[ndarray, "r"]
    """Mean chance that its pixels show an object, not ground, wall or sky."""

    def __len__(self) -> int:
        return len(self.view)


@dataclass(frozen=True)
class Edges:
    """Pairs of regions; the lower number first, no pair twice."""

    a: Int[ndarray, "e"]
    b: Int[ndarray, "e"]
    border: Float[ndarray, "e"]
    """Pixels along which they touch; 0 for regions of different photos."""
    outline: Float[ndarray, "e"]
    """Sum over these of the chance that a thing ends there."""
    step: Float[ndarray, "e"]
    """Sum over these of how far the depth jumps, relative, at most 0.5."""
    shared: Float[ndarray, "e"]
    """Pixels of regions of different photos that show the same place."""
    share: Float[ndarray, "e"]
    """These pixels relative to the smaller of what the two could share."""


def regions_of(said: Understood, scale: float = SCALE, least: int = LEAST, views: DepthViews | None = None) -> Regions:
    """Regions of photos by the outlines and the features that the network finds.

    Args:
        views: the same photos with depth, at the size of the network's answers.
    """
    outline, f = torch.sigmoid(said.outline[:, 0]), said.instance
    across, down = 1 - (f[:, :, :, 1:] * f[:, :, :, :-1]).sum(1), 1 - (f[:, :, 1:] * f[:, :, :-1]).sum(1)
    right, below = torch.maximum(outline[:, :, 1:], outline[:, :, :-1]) + 0.5 * across, torch.maximum(outline[:, 1:], outline[:, :-1]) + 0.5 * down
    borders = [x.cpu().numpy() for x in (outline, across, down, right, below)]

    def one(view: int) -> Int[ndarray, "h w"]:
        o, across, down, right, below = (x[view] for x in borders)
        m = grow(right, below, scale, least)
        # Outlines are lines of pixels, which form regions of their own: they go to the side that they look like.
        pixels = np.bincount(m.reshape(-1))
        ridge = np.bincount(m.reshape(-1), o.reshape(-1)) / pixels > RIDGE
        if ridge.any() and not ridge.all():
            m = flood(np.where(ridge[m], -1, m).astype(np.int32), across, down)
            m = (np.cumsum(~ridge) - 1).astype(np.int32)[m]
        return m

    return measured(_run_on(mapped(one, range(len(outline)), THREADS)), said, views)


def photo_regions(photos: Sequence[UInt8[ndarray, "h w 3"]], scale: float = 150.0, least: int = LEAST) -> Int[ndarray, "n h w"]:
    """The classical way: regions by colour alone (differences of Lab colours), numbers run on from photo to photo."""
    def one(photo: UInt8[ndarray, "h w 3"]) -> Int[ndarray, "h w"]:
        lab = cv2.cvtColor(cv2.GaussianBlur(photo, (0, 0), 0.8), cv2.COLOR_RGB2LAB).astype(np.float32)
        right, down = (np.linalg.norm(d, axis=2) for d in (lab[:, 1:] - lab[:, :-1], lab[1:] - lab[:-1]))
        return grow(right, down, scale, least)

    return _run_on(mapped(one, photos, THREADS))


def _run_on(maps: Iterable[Int[ndarray, "h w"]]) -> Int[ndarray, "n h w"]:
    """The same maps, numbers run on from photo to photo."""
    out, start = [], 0
    for m in maps:
        out.append(m + start)
        start += int(m.max()) + 1
    return np.stack(out)


def measured(maps: Int[ndarray, "n h w"], said: Understood, views: DepthViews | None) -> Regions:
    """Means over given regions."""
    n, h, w = maps.shape
    count = int(maps.max()) + 1
    feature, thing = said.instance, torch.sigmoid(said.thing)
    turn = None if views is None else views.cameras.camera_to_world[:, :3, :3]

    def one(view: int) -> tuple[Int[ndarray, "k"], Float[ndarray, "k c"]]:
        # Regions of one photo are neighbours by number, so that each photo's sums are a piece of the whole.
        here = maps[view].reshape(-1)
        first = int(here.min())
        flat, some = here - first, int(here.max()) - first + 1
        seen = torch.cat([feature[view], said.normal[view], thing[view], torch.ones_like(thing[view])]).flatten(1)
        sums = [totals(flat, seen, some)]
        if views is not None:
            points = np.concatenate([points_of(views, view), np.ones((h, w, 1))], axis=2) * (views.depth[view].cpu().numpy() > 0)[..., None]
            sums.append(totals(flat, torch.from_numpy(np.ascontiguousarray(points.reshape(-1, 4).T)), some))
        return np.arange(first, first + some), np.concatenate(sums, axis=1)

    c = feature.shape[1]
    table, view = np.zeros((count, c + (9 if views is not None else 5))), np.zeros(count, np.int64)
    for k, (rows, sums) in enumerate(mapped(one, range(n), THREADS)):
        table[rows] += sums
        view[rows[sums[:, c + 4] > 0]] = k
    normal, pixels = table[:, c : c + 3], table[:, c + 4]
    place = np.full((count, 3), np.nan)
    if turn is not None:
        normal = np.einsum("rij,rj->ri", turn[view], normal)
        np.divide(table[:, -4:-1], table[:, -1:], out=place, where=table[:, -1:] > 0)
    return Regions(maps, view, pixels, table[:, :c], normal, place, table[:, c + 3] / np.maximum(pixels, 1))


def edges_of(regions: Regions, said: Understood, views: DepthViews | None = None, neighbours: int = 6, links: Links | None = None) -> Edges:
    """Which regions touch in a photo and, if the photos have depth, which show the same place in two.

    Args:
        neighbours: how many other photos each photo is compared with.
        links: where the photos show the same, if known already.
    """
    outline = torch.sigmoid(said.outline[:, 0]).cpu().numpy()
    depth = None if views is None else views.depth.cpu().numpy()
    rows = [_touching(regions.maps, outline, depth, axis) for axis in (1, 2)]
    if views is not None and len(views) > 1:
        rows.append(_overlapping(regions, links or link(views, nearest(views.cameras, min(neighbours, len(views) - 1)))))
    a, b = (np.concatenate([r[k] for r in rows]) for k in (0, 1))
    low, high = np.minimum(a, b), np.maximum(a, b)
    key, inverse = np.unique(low * len(regions) + high, return_inverse=True)
    border, line, step, shared, share = (np.bincount(inverse, np.concatenate([r[k] for r in rows]), len(key)) for k in range(2, 7))
    return Edges(key // len(regions), key % len(regions), border, line, step, shared, np.minimum(share, 1))


def _touching(maps: ndarray, outline: ndarray, depth: ndarray | None, axis: int) -> tuple[ndarray, ...]:
    here, there = (tuple(s if d == axis else slice(None) for d in range(3)) for s in (slice(None, -1), slice(1, None)))
    a, b = maps[here], maps[there]
    apart = a != b
    line = np.maximum(outline[here], outline[there])[apart]
    if depth is None:
        step = np.zeros_like(line)
    else:
        da, db = depth[here][apart], depth[there][apart]
        step = np.where((da > 0) & (db > 0), np.abs(da - db) / np.maximum(np.minimum(da, db), 1e-9), 0).clip(0, 0.5)
    nothing = np.zeros_like(line)
    return a[apart].astype(np.int64), b[apart].astype(np.int64), np.ones_like(line), line, step, nothing, nothing


def _overlapping(regions: Regions, links: Links) -> tuple[ndarray, ...]:
    sources, total = links.sources.cpu().numpy(), len(regions)
    maps = torch.from_numpy(regions.maps).to(links.grid.device).float()  # numbers up to 16 million are exact

    def one(i: int) -> list[tuple[ndarray, ...]]:
        there = maps[links.sources[i]][:, None]
        others = F.grid_sample(there, links.grid[i], mode="nearest", padding_mode="border", align_corners=False)[:, 0].int().cpu().numpy()
        same, out = links.same[i].cpu().numpy(), list[tuple[ndarray, ...]]()
        for other, good in zip(others, same):
            mine, theirs = regions.maps[i][good].astype(np.int64), other[good].astype(np.int64)
            key, count = np.unique(mine * total + theirs, return_counts=True)
            a, b = key // total, key % total
            seen_a, seen_b = np.bincount(mine, minlength=total), np.bincount(theirs, minlength=total)
            out.append((a, b, count.astype(np.float64), count / np.maximum(np.minimum(seen_a[a], seen_b[b]), 1)))
        return out

    out = [pair for pairs in mapped(one, range(len(sources)), THREADS) for pair in pairs]
    a, b, pixels, shares = (np.concatenate([o[k] for o in out]) for k in range(4))
    # A pair may be found from both sides; its pixels and its share are means then.
    both = np.minimum(a, b) * total + np.maximum(a, b)
    key, inverse, times = np.unique(both, return_inverse=True, return_counts=True)
    nothing = np.zeros(len(key))
    return key // total, key % total, nothing, nothing, nothing, np.bincount(inverse, pixels) / times, np.bincount(inverse, shares) / times


def points_of(views: DepthViews, view: int) -> Float[ndarray, "h w 3"]:
    """World points of the pixels of a view; the camera's own place where the depth is unknown."""
    depth = views.depth[view].cpu().numpy()
    h, w = depth.shape
    pixels = np.stack(np.meshgrid(np.arange(w) + 0.5, np.arange(h) + 0.5), axis=-1).reshape(-1, 2)
    return views.cameras.unproject(view, pixels, depth.reshape(-1).astype(np.float64)).reshape(h, w, 3)


def of_pixels(labels: Int[ndarray, "r"], regions: Regions) -> Int[ndarray, "n h w"]:
    """Label maps from labels of regions."""
    return labels[regions.maps]


def means_over(maps: Float[Tensor, "n c h w"], labels: Int[ndarray, "n h w"]) -> Float[ndarray, "l c"]:
    """Mean of maps over labels, which run from 0."""
    count = int(labels.max()) + 1
    sums = np.zeros((count, maps.shape[1]))
    for part in mapped(lambda i: totals(labels[i].reshape(-1), maps[i].flatten(1), count), range(len(maps)), THREADS):
        sums += part
    return sums / np.maximum(np.bincount(labels.reshape(-1)), 1)[:, None]  # type: ignore[no-any-return]


def unit(sums: Float[Tensor, "r c"] | ndarray) -> ndarray:
    """Directions of sums of unit vectors."""
    x = np.asarray(sums)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
