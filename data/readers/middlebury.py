"""Middlebury multi-view stereo `*_par.txt`: one line a picture, name, K, R, t."""

from pathlib import Path

import numpy as np

from data.cameras import Cameras, rigid_inverse
from data.errors import InputError
from data.images import image_size
from data.readers.files import find_inside, image_folder
from data.scene import Dropped, Scene, SceneReport


def recognises(folder: Path) -> bool:
    return any(folder.glob("*_par.txt"))


def read(folder: Path) -> Scene:
    """Read ``P = K [R | t]`` of every listed picture."""
    path = sorted(folder.glob("*_par.txt"))[0]
    lines = [line.split() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    try:
        count = int(lines[0][0])
        values = {words[0]: np.array([float(w) for w in words[1:]]) for words in lines[1:]}
    except (ValueError, IndexError):
        raise InputError(f"'{path.name}' is not a Middlebury camera file. Export it again.") from None
    if count != len(values) or any(len(v) != 21 for v in values.values()):
        raise InputError(f"'{path.name}' announces {count} cameras but has {len(values)} lines of 21 numbers. Export it again.")
    images = image_folder(folder)
    paths, poses, intrinsics, dropped = [], [], [], []
    for name, numbers in values.items():
        picture = find_inside(images, name)
        if picture is None:
            dropped.append(Dropped(name, "listed in the data set, but the file is missing"))
            continue
        world_to_camera = np.eye(4)
        world_to_camera[:3, :3] = numbers[9:18].reshape(3, 3)
        world_to_camera[:3, 3] = numbers[18:21]
        k = numbers[:9].reshape(3, 3).copy()
        k[:2, 2] += 0.5  # the first pixel's centre is (0, 0) in these files
        paths.append(picture)
        poses.append(rigid_inverse(world_to_camera))
        intrinsics.append(k)
    if not paths:
        raise InputError(f"None of the {count} pictures that '{path.name}' lists is there. Copy them next to it.")
    cameras = Cameras.pinhole(np.stack(intrinsics), np.stack(poses), np.array([image_size(p) for p in paths]))
    return Scene(
        name=folder.resolve().name,
        root=folder,
        image_paths=tuple(paths),
        cameras=cameras.checked([p.name for p in paths], path.name),
        report=SceneReport(tuple(dropped), (), "middlebury"),
    )
