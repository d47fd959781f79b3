"""Uploads become projects: a folder each, named by us, never by the visitor."""

import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from data.errors import InputError
from data.images import is_image
from data.quality import Finding, check_photos
from data.readers import read_scene
from data.readers.video import is_video

MAX_FILES = 500


def new_project(root: Path, uploads: Sequence[str]) -> Path:
    """Copy uploaded files into a new project folder and return it.

    Raises:
        InputError: nothing usable was uploaded.
    """
    files = [Path(name) for name in uploads]
    packed = [f for f in files if f.suffix.lower() == ".zip" or is_video(f)]
    if packed and len(files) > 1:
        raise InputError("Give either photos, or one zip, or one video. Remove the others.")
    if len(files) > MAX_FILES:
        raise InputError(f"{len(files)} files are more than the {MAX_FILES} allowed. Choose the best photos.")
    folder = root / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
    photos = folder / "photos"
    photos.mkdir(parents=True)
    if packed:
        shutil.copy2(packed[0], folder / f"upload{packed[0].suffix.lower()}")
        return folder
    for file in files:
        if is_image(file) or file.name == "transforms.json":
            shutil.copy2(file, photos / file.name)
    return folder


def input_of(project: Path) -> Path:
    """What `lumigraph reconstruct` is given for a project."""
    packed = sorted(project.glob("upload.*"))
    return packed[0] if packed else project / "photos"


def inspect(project: Path) -> tuple[int, list[str], list[Finding]]:
    """Number of photos, what was left out, and what is wrong with the rest."""
    scene = read_scene(input_of(project), project / "unpacked")
    dropped = [f"{d.file}: {d.why}" for d in scene.report.dropped]
    return len(scene), dropped + list(scene.report.warnings), check_photos(scene)
