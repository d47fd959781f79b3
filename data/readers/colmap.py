"""COLMAP sparse models, binary and text, with or without rigs and frames beside them.

Counts are checked against the file's size before memory is asked for: a damaged model is an error, not a crash.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.cameras import Cameras, Lens, intrinsic_matrix, quaternion_wxyz_to_rotation, rigid_inverse
from data.errors import InputError
from data.images import image_size
from data.readers.files import find_inside, image_folder
from data.scene import Dropped, Scene, SceneReport, SparsePoints

_MODELS: dict[int, tuple[str, int]] = {
    0: ("SIMPLE_PINHOLE", 3), 1: ("PINHOLE", 4), 2: ("SIMPLE_RADIAL", 4), 3: ("RADIAL", 5), 4: ("OPENCV", 8),
    5: ("OPENCV_FISHEYE", 8), 6: ("FULL_OPENCV", 12), 7: ("FOV", 5), 8: ("SIMPLE_RADIAL_FISHEYE", 4),
    9: ("RADIAL_FISHEYE", 5), 10: ("THIN_PRISM_FISHEYE", 12),
}  # fmt: skip


@dataclass(frozen=True)
class ColmapCamera:
    """One calibrated camera as COLMAP writes it."""

    model: str
    width: int
    height: int
    params: tuple[float, ...]


@dataclass(frozen=True)
class ColmapImage:
    """One registered image: world-to-camera rotation (w x y z) and translation."""

    name: str
    camera_id: int
    rotation_wxyz: tuple[float, ...]
    translation: tuple[float, ...]
    point_ids: np.ndarray
    """Identifiers of the 3D points it sees."""


def model_folder(folder: Path) -> Path | None:
    """Where below a folder the sparse model lies; the largest when there are several."""
    places = [folder, folder / "sparse", folder / "sparse" / "0", folder / "colmap" / "sparse" / "0"]
    places += sorted((folder / "sparse").glob("[0-9]*")) if (folder / "sparse").is_dir() else []
    found = [p for p in places if any((p / f"cameras{s}").is_file() and (p / f"images{s}").is_file() for s in (".bin", ".txt"))]
    return max(found, key=lambda p: sum(f.stat().st_size for f in p.glob("images.*")), default=None)


def recognises(folder: Path) -> bool:
    return model_folder(folder) is not None


def read(folder: Path) -> Scene:
    """Read a project folder (`images/` beside `sparse/0/`) or a model folder with the images near it."""
    model = model_folder(folder)
    if model is None:
        raise InputError(f"'{folder}' holds no COLMAP model. Give the folder that contains cameras and images files.")
    places = [image_folder(place) for place in (folder, folder.parent, folder.parent.parent)]
    return read_model(model, next((p for p in places if p.name in {"images", "image", "rgb", "input"}), folder), folder.resolve().name)


def read_model(model: Path, images: Path, name: str) -> Scene:
    """Read a sparse model whose image names are relative to ``images``."""
    try:
        cameras, registered = _read_cameras(model), _read_images(model)
        xyz, rgb, ids = _read_points(model)
    except (struct.error, ValueError, IndexError, KeyError, UnicodeDecodeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"The COLMAP model in '{model.name}' is damaged ({error}). Run COLMAP's export again.") from None
    registered.sort(key=lambda image: image.name)
    paths, parts, kept, dropped = [], [], [], []
    for image in registered:
        path = find_inside(images, image.name)
        if path is None:
            dropped.append(Dropped(image.name, "registered in the model, but the file is missing"))
            continue
        if image.camera_id not in cameras:
            raise InputError(f"The COLMAP model has no camera {image.camera_id}, which '{image.name}' uses. Export it again.")
        parts.append(_camera(cameras[image.camera_id], image, image_size(path)))
        paths.append(path)
        kept.append(image)
    if not paths:
        raise InputError(f"None of the {len(registered)} images of the COLMAP model is in '{images}'. Copy the images there.")
    matrix, pose, size, distortion, lenses = zip(*parts, strict=True)
    all_cameras = Cameras(np.stack(matrix), np.stack(pose), np.array(size), np.stack(distortion), tuple(lenses))
    points = SparsePoints(xyz, rgb) if len(xyz) else None
    return Scene(
        name=name,
        root=images,
        image_paths=tuple(paths),
        cameras=all_cameras.checked([p.name for p in paths], "COLMAP model"),
        points=points,
        near_far=_near_far(all_cameras, kept, xyz, ids),
        report=SceneReport(tuple(dropped), (), "colmap"),
    )


def _camera(camera: ColmapCamera, image: ColmapImage, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, tuple[int, int], np.ndarray, Lens]:
    matrix, lens, distortion = intrinsics_of(camera)
    matrix[0] *= size[0] / camera.width
    matrix[1] *= size[1] / camera.height
    world_to_camera = np.eye(4)
    world_to_camera[:3, :3] = quaternion_wxyz_to_rotation(np.array(image.rotation_wxyz))
    world_to_camera[:3, 3] = image.translation
    return matrix, rigid_inverse(world_to_camera), size, distortion, lens


def intrinsics_of(camera: ColmapCamera) -> tuple[np.ndarray, Lens, np.ndarray]:
    """Camera matrix, lens and distortion ``[8]`` of a COLMAP camera."""
    p, d = camera.params, np.zeros(8)
    if camera.model in {"SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE"}:
        matrix, rest = intrinsic_matrix(p[0], p[0], p[1], p[2]), p[3:]
    elif camera.model in {"PINHOLE", "OPENCV", "OPENCV_FISHEYE", "FULL_OPENCV"}:
        matrix, rest = intrinsic_matrix(p[0], p[1], p[2], p[3]), p[4:]
    else:
        raise InputError(f"COLMAP camera model {camera.model} is not supported. Undistort the images with COLMAP first.")
    d[: len(rest)] = rest
    if camera.model.endswith("FISHEYE"):
        return matrix, "fisheye", d
    return matrix, ("opencv" if np.any(d != 0) else "pinhole"), d


def _near_far(cameras: Cameras, images: list[ColmapImage], xyz: np.ndarray, ids: np.ndarray) -> np.ndarray | None:
    """Depth range of the points each view sees (1st and 99th percentile), or None if some view sees too few."""
    order = np.argsort(ids)
    ranges = []
    for i, image in enumerate(images):
        seen = image.point_ids
        if len(ids) == 0 or len(seen) < 8:
            return None
        found = np.clip(np.searchsorted(ids, seen, sorter=order), 0, len(ids) - 1)
        rows = order[found][ids[order[found]] == seen]
        depth = cameras.project(i, xyz[rows])[1]
        depth = depth[depth > 0]
        if len(depth) < 8:
            return None
        ranges.append(np.percentile(depth, [1, 99]))
    return np.array(ranges)


class _Reader:
    """Little-endian values from bytes, with the size checked before every read."""

    def __init__(self, path: Path) -> None:
        self.name, self.data, self.at = path.name, path.read_bytes(), 0

    def take(self, layout: str) -> tuple[Any, ...]:
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values

    def count(self, smallest: int) -> int:
        """A record count that the rest of the file can hold at ``smallest`` bytes each."""
        (count,) = self.take("Q")
        if count * smallest > len(self.data) - self.at:
            raise InputError(f"'{self.name}' announces {count:.0f} records, more than the file can hold: it is damaged. Export it again.")
        return int(count)

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        value, self.at = self.data[self.at : end].decode(), end + 1
        return value


def _lines(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


def _read_cameras(model: Path) -> dict[int, ColmapCamera]:
    cameras = {}
    if (model / "cameras.bin").is_file():
        reader = _Reader(model / "cameras.bin")
        for _ in range(reader.count(24)):
            identifier, kind, width, height = (int(v) for v in reader.take("IiQQ"))
            if kind not in _MODELS:
                raise InputError(f"COLMAP camera model {kind} is not supported. Undistort the images with COLMAP first.")
            cameras[identifier] = ColmapCamera(_MODELS[kind][0], width, height, reader.take(f"{_MODELS[kind][1]}d"))
    else:
        for words in (line.split() for line in _lines(model / "cameras.txt") if line.strip()):
            cameras[int(words[0])] = ColmapCamera(words[1], int(words[2]), int(words[3]), tuple(map(float, words[4:])))
    return cameras


def _read_images(model: Path) -> list[ColmapImage]:
    images = []
    if (model / "images.bin").is_file():
        reader = _Reader(model / "images.bin")
        for _ in range(reader.count(73)):
            values = reader.take("I7dI")
            name = reader.text()
            observations = reader.count(24)
            record = np.dtype([("xy", "<f8", 2), ("point", "<i8")])
            points = np.frombuffer(reader.data, record, observations, reader.at)["point"]
            reader.at += observations * record.itemsize
            images.append(ColmapImage(name, int(values[8]), values[1:5], values[5:8], points[points >= 0]))
    else:
        lines = _lines(model / "images.txt")
        for head, tail in zip(lines[::2], [*lines[1::2], ""], strict=False):
            words = head.split(maxsplit=9)
            if len(words) < 10:
                continue
            points = np.array(tail.split()[2::3], dtype=np.int64)
            numbers = tuple(map(float, words[1:8]))
            images.append(ColmapImage(words[9], int(words[8]), numbers[:4], numbers[4:], points[points >= 0]))
    return images


def _read_points(model: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions ``[p, 3]``, colours ``[p, 3]`` uint8 and identifiers ``[p]``; empty if there is no points file."""
    xyz, rgb, ids = [], [], []
    if (model / "points3D.bin").is_file():
        reader = _Reader(model / "points3D.bin")
        for _ in range(reader.count(51)):
            values = reader.take("Q3d3Bd")
            track = reader.count(8)
            reader.at += 8 * track
            ids.append(int(values[0]))
            xyz.append(values[1:4])
            rgb.append(values[4:7])
    elif (model / "points3D.txt").is_file():
        for words in (line.split() for line in _lines(model / "points3D.txt") if line.strip()):
            ids.append(int(words[0]))
            xyz.append(tuple(map(float, words[1:4])))
            rgb.append(tuple(map(float, words[4:7])))
    return (
        np.array(xyz, dtype=np.float64).reshape(-1, 3),
        np.array(rgb, dtype=np.uint8).reshape(-1, 3),
        np.array(ids, dtype=np.int64),
    )
