"""nerfstudio / instant-ngp `transforms.json`: OpenGL camera-to-world, shared or per-frame intrinsics, masks, depths."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from data.cameras import Cameras, Lens, intrinsic_matrix, opengl_to_opencv
from data.errors import InputError
from data.images import image_size
from data.readers.files import find_inside, load_json
from data.scene import Dropped, Scene, SceneReport

_SUFFIXES = ("", ".png", ".jpg", ".jpeg", ".webp")
_OPENCV_KEYS = ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6")
_FISHEYE_KEYS = ("k1", "k2", "k3", "k4")


def recognises(folder: Path) -> bool:
    return (folder / "transforms.json").is_file()


def read(folder: Path) -> Scene:
    """Read a `transforms.json`. Frames whose picture is missing are reported; a broken pose is an error."""
    from data.readers.ply import read_points

    meta = load_json(folder / "transforms.json")
    frames, dropped, warnings = _present_frames(folder, meta, "transforms.json")
    cameras, lens_warnings = frames_to_cameras(folder, meta, frames, "transforms.json")
    warnings += lens_warnings
    names = [str(frame["file_path"]) for frame in frames]
    masks = _side_files(folder, frames, "mask_path", warnings)
    depths = _side_files(folder, frames, "depth_file_path", warnings)
    points = None
    if isinstance(meta.get("ply_file_path"), str) and (path := find_inside(folder, meta["ply_file_path"])):
        points = read_points(path)
    applied = None
    if "applied_transform" in meta:
        applied = np.asarray(meta["applied_transform"], dtype=np.float64)[:3]
        if applied.shape != (3, 4) or not np.isfinite(applied).all():
            raise InputError("transforms.json: 'applied_transform' must be 3x4 finite numbers. Correct or remove it.")
    return Scene(
        name=folder.resolve().name,
        root=folder,
        image_paths=tuple(frame["path"] for frame in frames),
        cameras=cameras,
        mask_paths=masks,
        depth_paths=depths,
        depth_scale=float(meta.get("depth_unit_scale_factor", 0.001)),
        points=points,
        near_far=_ranges(frames),
        applied_transform=applied,
        splits=_splits(meta, names),
        report=SceneReport(tuple(dropped), tuple(warnings), "nerfstudio"),
    )


def _present_frames(folder: Path, meta: dict[str, Any], where: str) -> tuple[list[dict[str, Any]], list[Dropped], list[str]]:
    listed = meta.get("frames")
    if not isinstance(listed, list) or not listed:
        raise InputError(f"{where} lists no frames. Export it again, with at least 2 of them.")
    frames: list[dict[str, Any]] = []
    dropped: list[Dropped] = []
    bare = [Path(str(frame.get("file_path"))).name for frame in listed if isinstance(frame, dict)]
    for number, frame in enumerate(listed):
        if not isinstance(frame, dict) or "file_path" not in frame or "transform_matrix" not in frame:
            raise InputError(f"{where}: frame {number} has no 'file_path' or no 'transform_matrix'. Correct or remove it.")
        path = find_inside(folder, str(frame["file_path"]), _SUFFIXES)
        name = Path(str(frame["file_path"])).name
        if path is None and bare.count(name) == 1:
            path = find_inside(folder, name, _SUFFIXES)  # pictures dropped beside the file, as browsers upload them
        if path is None:
            dropped.append(Dropped(str(frame["file_path"]), "listed in the data set, but the file is missing"))
        else:
            frames.append({**frame, "path": path})
    if not frames:
        raise InputError(f"{where} lists {len(listed)} frames, but none of their pictures is there. Copy the pictures next to it.")
    frames.sort(key=lambda frame: str(frame["file_path"]))
    warnings = [f"{len(dropped)} of {len(listed)} listed pictures are missing."] if dropped else []
    return frames, dropped, warnings


def frames_to_cameras(
    folder: Path, meta: dict[str, Any], frames: list[dict[str, Any]], where: str
) -> tuple[Cameras, list[str]]:
    """Cameras of frames that carry a 'path'; intrinsics are rescaled where the pictures have another size than stated."""
    intrinsics, poses, sizes, distortions, lenses, warnings = [], [], [], [], [], []
    for frame in frames:
        name = str(frame["file_path"])
        value = {**meta, **frame}
        try:
            pose = np.asarray(frame["transform_matrix"], dtype=np.float64)
        except (TypeError, ValueError):
            pose = np.empty(0)
        if pose.shape == (3, 4):
            pose = np.concatenate([pose, [[0.0, 0.0, 0.0, 1.0]]])
        if pose.shape != (4, 4):
            raise InputError(f"{where}: 'transform_matrix' of '{name}' is not 4x4 numbers. Correct that entry or remove it.")
        true_size = image_size(frame["path"])
        try:
            matrix, stated, lens, distortion = _intrinsics(value, true_size)
        except (TypeError, ValueError, KeyError) as error:
            raise InputError(f"{where}: the intrinsics of '{name}' cannot be used ({error}). Give fl_x, fl_y, cx, cy, w and h.") from None
        if stated != true_size:
            if abs(stated[0] / true_size[0] / (stated[1] / true_size[1]) - 1) > 0.02:
                raise InputError(
                    f"{where} says that '{name}' is {stated[0]} x {stated[1]}, but the file is {true_size[0]} x {true_size[1]}. "
                    "Use the pictures that the cameras were computed from."
                )
            matrix[0] *= true_size[0] / stated[0]
            matrix[1] *= true_size[1] / stated[1]
            warnings.append(f"'{name}' is {true_size[0]} x {true_size[1]}, not {stated[0]} x {stated[1]}: intrinsics were scaled.")
        intrinsics.append(matrix)
        poses.append(opengl_to_opencv(pose))
        sizes.append(true_size)
        distortions.append(distortion)
        lenses.append(lens)
    cameras = Cameras(np.stack(intrinsics), np.stack(poses), np.array(sizes), np.stack(distortions), tuple(lenses))
    if len(warnings) > 3:
        warnings = [*warnings[:2], f"... and {len(warnings) - 2} more pictures of another size than stated."]
    return cameras.checked([str(f["file_path"]) for f in frames], where), warnings


def _intrinsics(value: dict[str, Any], true_size: tuple[int, int]) -> tuple[np.ndarray, tuple[int, int], Lens, np.ndarray]:
    width, height = int(value.get("w", true_size[0])), int(value.get("h", true_size[1]))
    if width < 1 or height < 1:
        raise ValueError("w and h must be positive")
    if "fl_x" in value:
        fx = float(value["fl_x"])
    elif "camera_angle_x" in value:
        fx = 0.5 * width / math.tan(0.5 * float(value["camera_angle_x"]))
    else:
        raise KeyError("no fl_x and no camera_angle_x")
    fy = float(value["fl_y"]) if "fl_y" in value else fx
    matrix = intrinsic_matrix(fx, fy, float(value.get("cx", width / 2)), float(value.get("cy", height / 2)))
    model = str(value.get("camera_model", "OPENCV")).upper()
    if model not in {"OPENCV", "PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV_FISHEYE", "FULL_OPENCV"}:
        raise ValueError(f"camera model {model} is not supported")
    fisheye = model == "OPENCV_FISHEYE" or bool(value.get("is_fisheye", False))
    keys = _FISHEYE_KEYS if fisheye else _OPENCV_KEYS
    distortion = np.zeros(8)
    distortion[: len(keys)] = [float(value.get(key, 0.0)) for key in keys]
    lens: Lens = "fisheye" if fisheye else ("opencv" if np.any(distortion != 0) else "pinhole")
    return matrix, (width, height), lens, distortion


def _side_files(folder: Path, frames: list[dict[str, Any]], key: str, warnings: list[str]) -> tuple[Path | None, ...]:
    paths = [find_inside(folder, str(frame[key])) if frame.get(key) else None for frame in frames]
    missing = sum(path is None for path, frame in zip(paths, frames, strict=True) if frame.get(key))
    if missing:
        warnings.append(f"{missing} files named by '{key}' are missing.")
    return tuple(paths) if any(paths) else ()


def _ranges(frames: list[dict[str, Any]]) -> np.ndarray | None:
    """Depth range of each view, where every frame states one (a word of our own: `near` and `far`, in scene units)."""
    try:
        ranges = np.array([[float(frame["near"]), float(frame["far"])] for frame in frames])
    except (KeyError, TypeError, ValueError):
        return None
    sound = np.isfinite(ranges).all() and (ranges[:, 0] > 0).all() and (ranges[:, 1] > ranges[:, 0]).all()
    return ranges if sound else None


def _splits(meta: dict[str, Any], names: list[str]) -> dict[str, tuple[int, ...]]:
    position = {name.removeprefix("./"): i for i, name in enumerate(names)}
    splits: dict[str, tuple[int, ...]] = {}
    for split in ("train", "val", "test"):
        listed = meta.get(f"{split}_filenames")
        if isinstance(listed, list):
            members = tuple(position[str(n).removeprefix("./")] for n in listed if str(n).removeprefix("./") in position)
            if members:
                splits[split] = members
    return splits
