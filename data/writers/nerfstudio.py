"""nerfstudio's `transforms.json`, with per-frame intrinsics where they differ."""

import json
from pathlib import Path
from typing import Any

from data.cameras import opencv_to_opengl
from data.files import atomic_write
from data.scene import Scene
from data.writers.ply import write_points

_KEYS = {"opencv": ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"), "fisheye": ("k1", "k2", "k3", "k4"), "pinhole": ()}


def write_transforms(folder: Path, scene: Scene, ranges: bool = False) -> Path:
    """Write ``folder/transforms.json`` (and `points.ply`); paths are relative to ``folder`` where the files lie below it.

    Args:
        ranges: also each view's depth range, which the format has no word for: `near` and `far`.
    """
    cameras = scene.posed()
    frames, shared = [], None
    per_frame = [_intrinsics(cameras, i) for i in range(len(scene))]
    if all(value == per_frame[0] for value in per_frame):
        shared = per_frame[0]
    for i, pose in enumerate(opencv_to_opengl(cameras.camera_to_world)):
        frame: dict[str, Any] = {"file_path": _relative(folder, scene.image_paths[i])}
        if scene.mask_paths and (mask := scene.mask_paths[i]) is not None:
            frame["mask_path"] = _relative(folder, mask)
        if scene.depth_paths and (depth := scene.depth_paths[i]) is not None:
            frame["depth_file_path"] = _relative(folder, depth)
        if ranges and scene.near_far is not None:
            frame["near"], frame["far"] = (float(v) for v in scene.near_far[i])
        frames.append({**frame, **({} if shared else per_frame[i]), "transform_matrix": pose.tolist()})
    meta: dict[str, Any] = dict(shared or {})
    if scene.depth_paths:
        meta["depth_unit_scale_factor"] = scene.depth_scale
    if scene.applied_transform is not None:
        meta["applied_transform"] = scene.applied_transform.tolist()
    for split, members in scene.splits.items():
        meta[f"{split}_filenames"] = [frames[i]["file_path"] for i in members]
    if scene.points is not None:
        write_points(folder / "points.ply", scene.points)
        meta["ply_file_path"] = "points.ply"
    path = folder / "transforms.json"
    atomic_write(path, json.dumps({**meta, "frames": frames}, indent=1).encode())
    return path


def _intrinsics(cameras: Any, i: int) -> dict[str, Any]:
    k, lens = cameras.intrinsics[i], cameras.lenses[i]
    value = {
        "camera_model": {"pinhole": "PINHOLE", "opencv": "OPENCV", "fisheye": "OPENCV_FISHEYE"}[lens],
        "w": int(cameras.sizes[i, 0]), "h": int(cameras.sizes[i, 1]),
        "fl_x": float(k[0, 0]), "fl_y": float(k[1, 1]), "cx": float(k[0, 2]), "cy": float(k[1, 2]),
    }  # fmt: skip
    return value | {key: float(d) for key, d in zip(_KEYS[lens], cameras.distortion[i], strict=False)}


def _relative(folder: Path, path: Path) -> str:
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


