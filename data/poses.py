"""Camera poses from photos alone: structure from motion by COLMAP, watched from outside."""

import json
import os
import selectors
import subprocess
import time
from collections import defaultdict
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags

from data import images
from data.cameras import focus_point, mean_up
from data.child import command, environment
from data.errors import InputError
from data.options import PoseOptions
from data.progress import Progress
from data.readers.colmap import read_model
from data.scene import Dropped, Scene


@dataclass(frozen=True)
class PoseResult:
    """A scene of the registered photos, and how well they fit."""

    scene: Scene
    reprojection_error_px: float
    registered: int
    given: int


def estimate_poses(scene: Scene, work: Path, options: PoseOptions | None = None) -> Generator[Progress, None, PoseResult]:
    """Estimate intrinsics, lens distortion and poses of every photo that can be connected.

    Closing the generator ends the child process.

    Args:
        scene: photos; known cameras are ignored.
        work: folder for the database and the working copies.

    Raises:
        InputError: no two photos could be connected.
    """
    options = options or PoseOptions()
    work.mkdir(parents=True, exist_ok=True)
    yield Progress("poses", 0.0, "preparing photos")
    originals, groups = _working_copies(scene, work / "photos", options.max_side)
    sequential = scene.report.format == "video" or len(scene) > 150
    matching = options.matching if options.matching != "auto" else ("sequential" if sequential else "exhaustive")
    task = {
        "images": str(work / "photos"), "work": str(work), "groups": groups, "features": options.features,
        "affine": False, "matching": matching, "memory_mb": _memory_limit(options),
    }  # fmt: skip
    (work / "task.json").write_text(json.dumps(task))
    result = yield from _watch(work / "task.json", options.timeout)
    posed = read_model(Path(result["model"]), work / "photos", scene.name)
    registered = [originals[name] for name in posed.names]
    cameras = posed.posed().resized(scene.select(registered).sizes())
    lost = [Dropped(name, "it could not be connected to the other photos") for i, name in enumerate(scene.names) if i not in registered]
    kept = replace(scene.select(registered), cameras=cameras, points=posed.points, near_far=posed.near_far)
    return PoseResult(
        replace(kept, report=scene.report.extended(lost)), float(result["reprojection_error_px"]), len(registered), len(scene)
    )


_WEIGHTS = {"features": (0.05, 0.35), "matching": (0.40, 0.40), "mapping": (0.80, 0.20)}


def _watch(task: Path, timeout: float) -> Generator[Progress, None, dict[str, Any]]:
    """Run the worker; yield its progress, return its result."""
    log = task.with_name("sfm.log").open("wb")
    child = subprocess.Popen(
        command("data.sfm_worker", str(task)), stdout=subprocess.PIPE, stderr=log, env=environment(), text=True
    )
    started, error, result = time.monotonic(), "structure from motion ended without a result", None
    assert child.stdout is not None
    try:
        selector = selectors.DefaultSelector()
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() - started > timeout:
                error = f"structure from motion took more than {timeout:.0f} s"
                break
            if not selector.select(timeout=0.5):
                yield Progress("poses", -1.0)
                continue
            line = child.stdout.readline()
            if not line:
                break
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "stage" in event:
                start, share = _WEIGHTS[event["stage"]]
                yield Progress("poses", start + share * event["fraction"], event.get("message", event["stage"]))
            error = event.get("error", error)
            result = event.get("result", result)
    finally:
        child.kill()
        child.wait()
        log.close()
    if result is None:
        raise InputError(
            f"The camera poses could not be found: {error}. Take photos that overlap by two thirds, from many places, "
            "of something with visible texture."
        )
    return result


def _working_copies(scene: Scene, folder: Path, max_side: int) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Upright, shrunken copies; and which of them share a camera (same device, lens setting and size)."""
    folder.mkdir(parents=True, exist_ok=True)
    originals: dict[str, int] = {}
    devices: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for i, path in enumerate(scene.image_paths):
        picture = scene.image(i)
        height, width = picture.shape[:2]
        scale = min(1.0, max_side / max(width, height))
        size = (round(width * scale), round(height * scale))
        name = f"{i:05d}.jpg"
        images.save_image(folder / name, images.resize(picture, *size))
        originals[name] = i
        devices[(*size, *_device(path))].append(name)
    groups = []
    for key, names in devices.items():
        width, height, focal35 = key[0], key[1], key[-1]
        model = "OPENCV" if len(names) >= 15 else "SIMPLE_RADIAL"
        params = ""
        if focal35:
            focal = focal35 / 36.0 * max(width, height)
            params = f"{focal},{focal},{width / 2},{height / 2},0,0,0,0" if model == "OPENCV" else f"{focal},{width / 2},{height / 2},0"
        groups.append({"names": names, "camera_model": model, "params": params})
    return originals, groups


def _device(path: Path) -> tuple[str, str, float]:
    """Maker, model and 35-mm focal length from EXIF; blanks and 0 where unknown."""
    try:
        with images.open_image(path) as picture:
            exif = picture.getexif()
            detail = exif.get_ifd(ExifTags.IFD.Exif)
            focal = float(detail.get(ExifTags.Base.FocalLengthIn35mmFilm, 0) or 0)
            return str(exif.get(ExifTags.Base.Make, "")), str(exif.get(ExifTags.Base.Model, "")), focal if np.isfinite(focal) else 0.0
    except (InputError, ValueError, TypeError, OSError):
        return "", "", 0.0


def _memory_limit(options: PoseOptions) -> int:
    """Megabytes that structure from motion may take, so that too many photos end it and not the machine; 0: no limit."""
    if options.memory_mb is not None:
        return options.memory_mb
    try:
        return int(0.8 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**20)
    except (OSError, ValueError, AttributeError):  # not every system tells
        return 0


def upright(scene: Scene) -> Scene:
    """A scene whose frame structure from motion chose at random, turned so that up is +z and the subject is at the origin.

    The scale is free too: the cameras' median distance from the subject becomes 1. Only for estimated poses; a world
    that somebody gave is never moved.
    """
    cameras = scene.posed()
    up, focus = mean_up(cameras), focus_point(cameras)
    if not (((focus - cameras.centers) * cameras.forwards).sum(1) > 0).all() and scene.points is not None:
        focus = np.median(scene.points.xyz, axis=0)
    side = np.cross(up, cameras.forwards.mean(0))
    side = side / np.linalg.norm(side) if np.linalg.norm(side) > 1e-3 else np.linalg.svd(up[None])[2][1]
    rotation = np.stack([side, np.cross(up, side), up])
    scale = 1.0 / max(float(np.median(np.linalg.norm(cameras.centers - focus, axis=1))), 1e-9)
    similarity = np.eye(4)
    similarity[:3, :3] = scale * rotation
    similarity[:3, 3] = -scale * rotation @ focus
    points = scene.points
    if points is not None:
        points = replace(points, xyz=points.xyz @ similarity[:3, :3].T + similarity[:3, 3])
    near_far = None if scene.near_far is None else scene.near_far * scale
    return replace(scene, cameras=cameras.moved(similarity), points=points, near_far=near_far)
