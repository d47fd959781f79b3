"""Videos and stills of a finished result."""

import json
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from data.cameras import Cameras
from data.errors import InputError
from data.images import save_image
from data.progress import Progress
from data.readers.nerfstudio import read as read_transforms
from recon.paths import surrounds, swing, through
from recon.previews import depth_picture, mesh_normals, normal_picture, turntable_cameras, write_video


@dataclass(frozen=True)
class RenderTask:
    """See `lumigraph render --help`."""

    result: Path
    path: str = "orbit"
    out: Path | None = None
    what: Literal["mesh", "realtime", "field"] = "mesh"
    show: Literal["color", "depth", "normals"] = "color"
    frames: int = 90
    width: int = 640
    height: int = 480
    device: Literal["auto", "cpu", "cuda"] = "auto"


def render(task: RenderTask) -> Generator[Progress, None, dict[str, Any]]:
    """Render along a path; the value names the files written.

    Raises:
        InputError: the folder holds no result, or the path is not known.
    """
    if not (task.result / "mesh.glb").exists() or not (task.result / "transforms.json").exists():
        raise InputError(f"'{task.result}' holds no finished result. Run `lumigraph reconstruct` first.")
    if task.width < 16 or task.height < 16 or task.frames < 1:
        raise InputError("Width and height must be at least 16, frames at least 1. Give larger numbers.")
    cameras, stills = _cameras(task)
    pictures = pictures_of(task, cameras)
    if not stills:
        out = task.out or task.result / f"{Path(task.path).stem}.mp4"
        out.parent.mkdir(parents=True, exist_ok=True)
        yield from write_video(out, pictures, len(cameras), "render")
        return {"files": [str(out)]}
    folder = task.out or task.result / "renders"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i, picture in enumerate(pictures):
        files.append(str(folder / f"{i:04d}{'' if task.show == 'color' else '_' + task.show}.png"))
        save_image(Path(files[-1]), picture)
        yield Progress("render", (i + 1) / len(cameras), f"picture {i + 1} of {len(cameras)}")
    return {"files": files}


def pictures_of(task: RenderTask, cameras: Cameras) -> Iterator[np.ndarray]:
    """What the task asks for, camera by camera; depth and normals of the real-time picture are the mesh's."""
    makers = {"mesh": _mesh_pictures, "realtime": _realtime_pictures if task.show == "color" else _mesh_pictures, "field": _field_pictures}
    return makers[task.what](task, cameras)


def _cameras(task: RenderTask) -> tuple[Cameras, bool]:
    """Cameras of the path, and whether they are stills."""
    from recon.surface.asset import load_asset

    photos = read_transforms(task.result).posed()
    size = (task.width // 2 * 2, task.height // 2 * 2)
    if task.path == "photos":
        return photos, True
    if task.path == "swing" or (task.path == "orbit" and task.what == "field" and not surrounds(photos)):
        return swing(photos, task.frames, size), False
    if task.path == "orbit":
        return turntable_cameras(load_asset(task.result / "mesh.glb"), photos, task.frames, size), False
    given = Path(task.path).expanduser()
    if given.suffix == ".json" and given.is_file():
        keys = _keyframes(given)
        if keys is not None:
            return through(*keys[:2], task.frames, size, keys[2]), False
        return _cameras_of_file(given), True
    raise InputError(f"'{task.path}' is no path. Choose orbit, swing, photos, a transforms.json or a camera path.")


def _keyframes(path: Path) -> tuple[np.ndarray, np.ndarray, bool] | None:
    """Poses (OpenCV), vertical fields of view and whether it closes, of a camera path as nerfstudio writes them; None of other files."""
    from data.cameras import opengl_to_opencv
    from data.readers.files import load_json

    meta = load_json(path)
    listed = meta.get("keyframes")
    if not isinstance(listed, list):
        return None
    try:
        matrices = [json.loads(k["matrix"]) if isinstance(k["matrix"], str) else k["matrix"] for k in listed]
        # nerfstudio writes sixteen numbers column by column; rows within rows are what they look like.
        poses = np.array([np.reshape(np.array(m, dtype=np.float64), (4, 4)) if np.ndim(m) == 2 else np.reshape(np.array(m, dtype=np.float64), (4, 4)).T for m in matrices])
        fields = np.array([float(k.get("fov", 50.0)) for k in listed])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path.name}' is no camera path ({error}). Each keyframe needs a matrix of 4 x 4 numbers, and fov in degrees.") from None
    if len(poses) < 2:
        raise InputError(f"'{path.name}' has {len(poses)} keyframe; a path needs 2 or more. Add some.")
    if not (np.isfinite(poses).all() and np.isfinite(fields).all() and (fields > 1).all() and (fields < 170).all()):
        raise InputError(f"'{path.name}' has numbers that are no camera. Give finite matrices, and fov between 1 and 170 degrees.")
    checked = Cameras.pinhole(np.tile(np.eye(3), (len(poses), 1, 1)), opengl_to_opencv(poses), np.full((len(poses), 2), 2)).checked([str(i) for i in range(len(poses))], path.name)
    return checked.camera_to_world, fields, bool(meta.get("loop", meta.get("is_cycle", False)))


def _cameras_of_file(path: Path) -> Cameras:
    """Cameras of a transforms.json whose pictures need not exist."""
    from data.cameras import intrinsic_matrix, opengl_to_opencv
    from data.readers.files import load_json

    meta = load_json(path)
    try:
        values = [{**meta, **frame} for frame in meta["frames"]]
        poses = opengl_to_opencv(np.array([v["transform_matrix"] for v in values], dtype=np.float64))
        matrices = np.stack([intrinsic_matrix(v["fl_x"], v.get("fl_y", v["fl_x"]), v.get("cx", v["w"] / 2), v.get("cy", v["h"] / 2)) for v in values])
        sizes = np.array([[int(v["w"]), int(v["h"])] for v in values])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"'{path.name}' lacks cameras ({error}). Each frame needs transform_matrix, fl_x, w and h.") from None
    return Cameras.pinhole(matrices, poses, sizes).checked([str(i) for i in range(len(poses))], path.name)


def _mesh_pictures(task: RenderTask, cameras: Cameras) -> Iterator[np.ndarray]:
    from recon.surface.asset import load_asset
    from recon.surface.raycast import Raycaster, render_mesh

    asset = load_asset(task.result / "mesh.glb")
    caster = Raycaster(asset.mesh)
    for i in range(len(cameras)):
        if task.show == "color":
            yield render_mesh(asset, cameras, i, caster=caster)
        elif task.show == "depth":
            hits, _ = caster.look(cameras, i)
            yield depth_picture(hits.distance.reshape(cameras.sizes[i][::-1]))
        else:
            yield normal_picture(mesh_normals(caster, cameras, i), cameras.camera_to_world[i, :3, :3])


def _realtime_pictures(task: RenderTask, cameras: Cameras) -> Iterator[np.ndarray]:
    from recon.surface.realtime.choosing import open_renderer
    from recon.surface.realtime.stored import load_baked

    renderer = open_renderer(load_baked(task.result), task.device)
    for i in range(len(cameras)):
        yield renderer.render(cameras, i)
    renderer.close()


def _field_pictures(task: RenderTask, cameras: Cameras) -> Iterator[np.ndarray]:
    import torch

    from recon.engines import load_field
    from recon.fields import ray_to_z
    from recon.pictures import render_picture

    device = "cuda" if task.device != "cpu" and torch.cuda.is_available() else "cpu"
    if task.device == "cuda" and device == "cpu":
        raise InputError("CUDA was asked for, but there is no GPU that PyTorch can use. Use --device cpu.")
    field = load_field(task.result, device, cameras if len(cameras) == 1 else None)
    for i in range(len(cameras)):
        picture = render_picture(field, cameras, i, field.near)
        if task.show == "color":
            yield (picture.rgb.numpy() * 255).round().astype(np.uint8)
            continue
        depth = picture.depth.numpy() * ray_to_z(cameras, i).numpy()
        yield depth_picture(depth) if task.show == "depth" else normal_picture(_normals(depth, cameras, i), cameras.camera_to_world[i, :3, :3])


def _normals(depth: np.ndarray, cameras: Cameras, view: int) -> np.ndarray:
    """World normals of a depth picture (along the axis), from the differences between neighbouring pixels; 0 where one is unknown."""
    height, width = depth.shape
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    places = cameras.unproject(view, pixels, depth.reshape(-1)).reshape(height, width, 3)
    across, down = np.gradient(places, axis=1), np.gradient(places, axis=0)
    normal = np.cross(down, across)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-20)
    known = (depth > 0).astype(np.float32)
    return np.where((cv2.erode(known, np.ones((3, 3), np.uint8)) > 0)[..., None], normal, 0.0)
