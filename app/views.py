"""One picture of a result: from where somebody stands, or from where a photo was taken, beside that photo."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from app.rendering import RenderTask, pictures_of
from data.cameras import Cameras, intrinsic_matrix
from data.errors import InputError
from data.images import resize, save_image
from data.progress import Progress
from data.readers.nerfstudio import read as read_transforms


@dataclass(frozen=True)
class ViewTask:
    """Which picture."""

    result: Path
    out: Path
    """A PNG; where a photo is compared, the photo is written beside it as `STEM_photo.png`."""
    photo: str = ""
    """Name of the photo to stand at; a camera is given otherwise."""
    camera_to_world: tuple[tuple[float, ...], ...] = ()
    """4 x 4, OpenCV axes."""
    fov: float = 50.0
    """Vertical, degrees."""
    what: Literal["mesh", "realtime", "field"] = "field"
    show: Literal["color", "depth", "normals"] = "color"
    side: int = 640
    """Longest side, pixels."""
    aspect: float = 4 / 3
    device: Literal["auto", "cpu", "cuda"] = "auto"


def view(task: ViewTask) -> Generator[Progress, None, dict[str, Any]]:
    """Draw it; the value names the files.

    Raises:
        InputError: the result, the photo or the camera cannot be used.
    """
    if not (task.result / "mesh.glb").exists():
        raise InputError("There is no finished result to look at. Reconstruct first.")
    scene = read_transforms(task.result)
    yield Progress("view", 0.1, "opening the scene")
    task.out.parent.mkdir(parents=True, exist_ok=True)
    files = [str(task.out)]
    if task.photo:
        names = [Path(name).name for name in scene.names]
        if Path(task.photo).name not in names:
            raise InputError(f"'{task.photo}' is not among the photos of this result. Choose another.")
        at = names.index(Path(task.photo).name)
        cameras = scene.posed().select([at])
        share = min(1.0, task.side / float(cameras.sizes.max()))
        cameras = cameras.resized(np.maximum(np.round(cameras.sizes * share), 1).astype(np.int64))
        beside = task.out.with_name(f"{task.out.stem}_photo.png")
        save_image(beside, resize(scene.image(at), *(int(v) for v in cameras.sizes[0])))
        files.append(str(beside))
    else:
        cameras = _camera(task)
    request = RenderTask(task.result, what=task.what, show=task.show, device=task.device)
    picture = next(iter(pictures_of(request, cameras)))
    save_image(task.out, picture)
    return {"files": files}


def _camera(task: ViewTask) -> Cameras:
    try:
        pose = np.array(task.camera_to_world, dtype=np.float64)
    except (TypeError, ValueError):
        pose = np.empty(0)
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError("The camera is not a matrix of 4 x 4 finite numbers. Move the view and try again.")
    if not (1 < task.fov < 170 and 0.1 < task.aspect < 10 and 16 <= task.side <= 4096):
        raise InputError("The camera's field of view, shape or size cannot be. Give 1 to 170 degrees, and a side of 16 to 4096 pixels.")
    width, height = (task.side, round(task.side / task.aspect)) if task.aspect >= 1 else (round(task.side * task.aspect), task.side)
    width, height = max(width // 2 * 2, 2), max(height // 2 * 2, 2)
    focal = 0.5 * height / np.tan(np.radians(task.fov) / 2)
    return Cameras.pinhole(intrinsic_matrix(focal, focal, width / 2, height / 2)[None], pose[None], np.array([[width, height]])).checked(["view"], "the camera")
