"""Depth pictures from a field, and which of their pixels the other views agree with."""

from collections.abc import Callable, Generator

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from data.cameras import Cameras
from data.progress import Progress
from data.scene import Scene
from kernels.reprojection import lift, vote
from recon.depthmaps import DepthMaps
from recon.fields import RadianceField, image_rays, ray_to_z
from recon.frame import inside_hull

UNCONFIRMED = 0.05
"""Weight of a depth that no other view confirms or contradicts: enough to close what only one view shows."""
BESIDE = 0.6
"""Share of the weight of a pixel beside an outline."""


def render_depths(field: RadianceField, scene: Scene, side: int, near: Float[ndarray, "n"], bounded: bool = True) -> Generator[Progress, None, DepthMaps]:
    """Median depth of every view, shrunk to ``side`` pixels, inside the silhouettes if there are any.

    Args:
        near: distance at which each view's rays start, scene units.
        bounded: only of what lies in the field's bounds.
    """
    cameras = scene.posed()
    scale = np.minimum(1.0, side / cameras.sizes.max(1, keepdims=True))
    cameras = cameras.resized(np.maximum(np.round(cameras.sizes * scale), 1).astype(np.int64))
    low, high = field.bounds
    maps = []
    for i in range(len(cameras)):
        yield Progress("depth", i / len(cameras), f"view {i + 1} of {len(cameras)}")
        width, height = (int(v) for v in cameras.sizes[i])
        wanted = _inside_silhouette(scene, i, (height, width))
        depth = np.zeros(height * width, np.float32)
        if wanted.any():
            rays = image_rays(cameras, i, near=float(near[i]))[torch.from_numpy(np.flatnonzero(wanted))]
            depth[wanted.reshape(-1)] = field.render(rays, color=False).depth.numpy()
        depth = depth.reshape(height, width) * ray_to_z(cameras, i).numpy()
        pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1).reshape(-1, 2)
        world = cameras.unproject(i, pixels, depth.reshape(-1).astype(np.float64)).reshape(height, width, 3)
        kept = (depth > 0) & (((world >= low) & (world <= high)).all(-1) | (not bounded))
        maps.append(np.where(kept, depth, 0).astype(np.float32))
    return DepthMaps(cameras, maps)


def consistent(maps: DepthMaps, tolerance: float = 0.01, neighbours: int = 6, least: int = 1) -> DepthMaps:
    """Keep a pixel if another view confirms its depth, and no more views see through it than confirm it.

    Args:
        tolerance: relative difference in depth that still agrees.
        neighbours: views asked about each view, the nearest ones in angle.
        least: views that must confirm; 0 where so few photos exist that most surfaces are seen once.
    """
    cameras = maps.cameras
    nearest = _nearest_views(cameras, neighbours)
    inverses = np.linalg.inv(cameras.intrinsics)
    filtered = []
    for i, depth in enumerate(maps.depth):
        rows, columns, world = lift(depth, inverses[i], cameras.camera_to_world[i])
        agree, violate = votes(maps, nearest[i], world, tolerance)
        good = (agree >= least) & (agree >= violate)
        out = np.zeros_like(depth)
        out[rows[good], columns[good]] = depth[rows[good], columns[good]]
        filtered.append(_without_specks(out))
    return DepthMaps(cameras, filtered)


def trusted(maps: DepthMaps, tolerance: float = 0.01, neighbours: int = 6, unconfirmed: float = UNCONFIRMED) -> list[Float[ndarray, "_ _"]]:
    """Weights for fusion: 1 where another view confirms a depth, ``unconfirmed`` where none does, 0 where more views see through it.

    Beside an outline a pixel that shows what is behind may show a mixture, and would wear the outline away; it counts less.
    """
    cameras = maps.cameras
    nearest = _nearest_views(cameras, neighbours)
    inverses = np.linalg.inv(cameras.intrinsics)
    weights = []
    for i, depth in enumerate(maps.depth):
        rows, columns, world = lift(depth, inverses[i], cameras.camera_to_world[i])
        agree, violate = votes(maps, nearest[i], world, tolerance)
        weight = np.zeros_like(depth)
        weight[rows, columns] = np.where(violate > agree, 0, np.where(agree > 0, 1, unconfirmed))
        before = cv2.erode(np.where(depth > 0, depth, np.inf).astype(np.float32), np.ones((3, 3), np.uint8))
        weights.append(np.where(depth - before > 3 * tolerance * depth, BESIDE * weight, weight).astype(np.float32))
    return weights


def elected(first: DepthMaps, second: DepthMaps, tolerance: float = 0.01, neighbours: int = 6) -> DepthMaps:
    """Of two estimates of the same views, at every pixel the one that more of the other views agree with.

    Stereo is exact on texture and wrong on gloss; a field is smooth everywhere and wrong where it never settled. Neither
    knows; the other views do: those that confirm a depth less those that see through it, asked of both estimates.

    Args:
        first: wins where both have as many votes.
        second: is resized to ``first``.
    """
    pictures = [cv2.resize(b, a.shape[::-1], interpolation=cv2.INTER_NEAREST) for a, b in zip(first.depth, second.depth, strict=True)]
    second = DepthMaps(first.cameras, pictures)
    nearest = _nearest_views(first.cameras, neighbours)
    chosen = []
    for i, (a, b) in enumerate(zip(first.depth, second.depth, strict=True)):
        # Where they are practically equal there is nothing to ask.
        asked = (b > 0) & (np.abs(a - b) > 0.1 * tolerance * b)
        rivals = asked & (a > 0)
        ballots = [_ballot((first, second), i, depth, rivals, nearest[i], tolerance) for depth in (a, b)]
        taken = asked & (a == 0)
        taken[rivals] = ballots[1] > ballots[0]
        chosen.append(np.where(taken, b, a))
    return DepthMaps(first.cameras, chosen)


def _ballot(
    pools: tuple[DepthMaps, ...], view: int, depth: Float[ndarray, "h w"], where: Bool[ndarray, "h w"], others: Int[ndarray, "k"],
    tolerance: float,
) -> Int[ndarray, "p"]:  # fmt: skip
    """Votes for less votes against the depths of one view at some pixels."""
    cameras = pools[0].cameras
    rows, _, world = lift(np.where(where, depth, 0), np.linalg.inv(cameras.intrinsics[view]), cameras.camera_to_world[view])
    total = np.zeros(len(rows), np.int64)
    for pool in pools:
        agree, violate = votes(pool, others, world, tolerance)
        total += agree - violate
    return total


def _nearest_views(cameras: Cameras, count: int) -> list[Int[ndarray, "k"]]:
    """For each view the others, nearest in angle first."""
    angle = np.arccos(np.clip(cameras.forwards @ cameras.forwards.T, -1, 1))
    np.fill_diagonal(angle, np.inf)
    return [row[: min(count, len(cameras) - 1)] for row in np.argsort(angle, axis=1)]


def inside_box(maps: DepthMaps, box: Float[ndarray, "2 3"]) -> DepthMaps:
    """Only the depths whose points lie in a box of the world."""
    return _where(maps, lambda world: ((world >= box[0]) & (world <= box[1])).all(1))


def inside_silhouettes(maps: DepthMaps, scene: Scene, slack: float) -> DepthMaps:
    """Only the depths whose points lie in every view's silhouette that could see them: in the visual hull.

    Args:
        slack: how far beside a silhouette still counts, scene units.
    """
    cameras, masks = scene.posed(), [scene.mask(i) for i in range(len(scene))]
    return _where(maps, lambda world: inside_hull(cameras, masks, world, slack))


def _where(maps: DepthMaps, good: Callable[[Float[ndarray, "p 3"]], Bool[ndarray, "p"]]) -> DepthMaps:
    """Only the depths whose points in the world are good."""
    kept = []
    for i, depth in enumerate(maps.depth):
        rows, columns, world = lift(depth, np.linalg.inv(maps.cameras.intrinsics[i]), maps.cameras.camera_to_world[i])
        keep = good(world)
        out = np.zeros_like(depth)
        out[rows[keep], columns[keep]] = depth[rows[keep], columns[keep]]
        kept.append(out)
    return DepthMaps(maps.cameras, kept)


def masked(maps: DepthMaps, scene: Scene) -> DepthMaps:
    """Only the depths inside the scene's silhouettes, where it has any."""
    kept = []
    for i, depth in enumerate(maps.depth):
        kept.append(np.where(_inside_silhouette(scene, i, depth.shape), depth, 0).astype(np.float32))
    return DepthMaps(maps.cameras, kept)


def _inside_silhouette(scene: Scene, view: int, shape: tuple[int, ...]) -> Bool[ndarray, "h w"]:
    """A view's mask at another size; everywhere if it has none."""
    mask = scene.mask(view)
    if mask is None:
        return np.ones(shape, dtype=bool)
    return np.asarray(cv2.resize(mask.astype(np.uint8), shape[::-1], interpolation=cv2.INTER_AREA) > 0)


def eroded(maps: DepthMaps) -> DepthMaps:
    """At every pixel the nearest depth of its 3 x 3 neighbours, unknown if one of them is: what is seen through for certain.

    At the outline of a thin thing the pixel that a point falls on may well show what is behind.
    """
    return DepthMaps(maps.cameras, [cv2.erode(depth, np.ones((3, 3), np.uint8)) for depth in maps.depth])


def votes(
    maps: DepthMaps, views: Int[ndarray, "k"], points: Float[ndarray, "p 3"], tolerance: float
) -> tuple[Int[ndarray, "p"], Int[ndarray, "p"]]:
    """How many of ``views`` see a surface at each point, and how many see through it to something behind."""
    agree = np.zeros(len(points), dtype=np.int64)
    violate = np.zeros(len(points), dtype=np.int64)
    projections = maps.cameras.projections
    for j in views:
        vote(points, projections[j], maps.depth[j], tolerance, agree, violate)
    return agree, violate


def _without_specks(depth: Float[ndarray, "h w"], smallest: int = 40) -> Float[ndarray, "h w"]:
    """Islands of a few pixels are noise."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((depth > 0).astype(np.uint8), connectivity=8)
    small = np.flatnonzero(stats[:count, cv2.CC_STAT_AREA] < smallest)
    return np.where(np.isin(labels, small), 0, depth)
