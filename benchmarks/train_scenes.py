"""Scenes that the hash-grid engine is timed on: procedural worlds of 200 training views and 8 held-out ones, and a real one."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from data.cameras import Cameras
from data.images import save_image
from data.points import with_points
from data.prepare import prepare
from data.progress import drained
from data.readers import read_scene
from data.scene import Scene, SparsePoints
from data.worlds import layout as L
from data.worlds.bank import Bank, make_bank

SEEDS = (20_000_000, 20_000_001, 20_000_002, 20_000_003, 20_000_004, 20_000_005)
"""Worlds nothing was trained on; the first ones that can be photographed from so many places are taken."""
HELD_OUT, SIZE = 8, (400, 300)


def scenes(worlds: int, real: Path | None, device: str, folder: Path, views: int = 200, first: int = 0) -> Iterator[Scene]:
    """The worlds from the ``first`` of the seeds on, then the real scene, each with its splits ``train`` and ``test``."""
    count = 0
    for seed in SEEDS[first:]:
        if count == worlds:
            break
        try:
            bank = make_bank([seed], *SIZE, views + HELD_OUT, device)
        except Exception as error:
            print(json.dumps({"left out": seed, "why": str(error)}), flush=True)
            continue
        if len(bank) == 0:
            continue
        count += 1
        yield drained(prepare(_world(bank, 0, folder / str(seed)), folder / f"{seed}-work", max(SIZE)))
    if real is not None:
        scene = with_points(drained(prepare(read_scene(real, folder / "unpacked"), folder / "work", 640)))
        yield scene.hold_out(8)


def _world(bank: Bank, world: int, folder: Path) -> Scene:
    """A world of a bank as a data set on disk; points and depth ranges are the truth's, as structure from motion would find them."""
    rows, pictures, depths = bank.cameras[world].double().cpu().numpy(), bank.rgb[world].cpu().numpy(), bank.depth[world].float().cpu().numpy()
    folder.mkdir(parents=True)
    paths = [folder / f"{i:03d}.png" for i in range(len(rows))]
    for path, picture in zip(paths, pictures, strict=True):
        save_image(path, picture)
    k, poses = np.tile(np.eye(3), (len(rows), 1, 1)), np.tile(np.eye(4), (len(rows), 1, 1))
    k[:, 0, 0], k[:, 1, 1], k[:, 0, 2], k[:, 1, 2] = rows[:, L.CAMERA_FX], rows[:, L.CAMERA_FY], rows[:, L.CAMERA_CX], rows[:, L.CAMERA_CY]
    poses[:, :3, :3], poses[:, :3, 3] = rows[:, :9].reshape(-1, 3, 3), rows[:, L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3]
    cameras = Cameras.pinhole(k, poses, np.tile(np.array(SIZE), (len(rows), 1)))
    random, xyz, rgb, ranges = np.random.default_rng(0), [], [], []
    for i in range(len(rows)):
        y, x = random.integers(0, SIZE[1], 60), random.integers(0, SIZE[0], 60)
        seen = depths[i, y, x] > 0
        pixels, ones = np.stack([x + 0.5, y + 0.5], -1)[seen], np.ones(int(seen.sum()))
        towards = cameras.unproject(i, pixels, ones) - cameras.centers[i]
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        xyz.append(cameras.centers[i] + towards * depths[i, y, x][seen, None])
        rgb.append(pictures[i, y, x][seen])
        known = depths[i][depths[i] > 0]
        ranges.append(np.percentile(known, [1, 99]) if len(known) else np.array([1.0, 10.0]))
    points = SparsePoints(np.concatenate(xyz), np.concatenate(rgb))
    splits = {"train": tuple(range(len(rows) - HELD_OUT)), "test": tuple(range(len(rows) - HELD_OUT, len(rows)))}
    return Scene(f"world {bank.seeds[world]}", folder, tuple(paths), cameras, points=points, near_far=np.stack(ranges), splits=splits)
