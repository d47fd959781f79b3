"""Middlebury multi-view stereo `*_par.txt`: one line a picture, name, K, R, t."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Float

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
        box=_stated_box(folder),
    )


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_CORNER = rf"\(\s*({_NUMBER})[\s,]+({_NUMBER})[\s,]+({_NUMBER})\s*\)"


def _stated_box(folder: Path) -> Float[np.ndarray, "2 3"] | None:
    """The object's tight bounding box, which these sets state in their README.txt in words and two corners; with 5 % to spare."""
    readme = next((p for p in sorted(folder.iterdir()) if p.name.lower() == "readme.txt"), None)
    if readme is None:
        return None
    found = re.search(rf"bounding box[^()]*{_CORNER}\s*{_CORNER}", readme.read_text(encoding="utf-8", errors="replace"), re.IGNORECASE)
    if found is None:
        return None
    corners = np.array([float(v) for v in found.groups()]).reshape(2, 3)
    low, high = corners.min(0), corners.max(0)
    margin = 0.05 * float((high - low).max())
    return np.stack([low - margin, high + margin])
