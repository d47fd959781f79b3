"""From uploaded files to a scene's folder: told by content, named by us, unpacked with limits; and what is wrong with the photos.

Runs as a job (kinds `intake` and `examine`), because decoding what strangers send belongs in a process that may die.
"""

import shutil
from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data import images
from data.errors import InputError
from data.files import write_json
from data.parallel import mapped
from data.progress import Progress
from data.quality import check_photos
from data.readers import read_scene
from data.readers.archive import unpack
from data.readers.files import list_images
from data.readers.video import read as read_video
from data.scene import Scene
from data.sniff import kind_of, safe_name, suffix_of

THUMB = 256
"""Longest side of a thumbnail, pixels."""


@dataclass(frozen=True)
class IntakeTask:
    """What to take in, and where to."""

    project: Path
    """Its `incoming/` holds what was uploaded, `scene/` will hold the scene, `thumbs/` small pictures, `photos.json` the findings."""
    most_photos: int = 500


def intake(task: IntakeTask) -> Generator[Progress, None, dict[str, Any]]:
    """Move what was uploaded into the scene, then look at it all; the value is `photos.json`'s content.

    Raises:
        InputError: nothing usable is there. What was there before stays as it was, and the upload is gone.
    """
    incoming, scene = task.project / "incoming", task.project / "scene"
    try:
        yield Progress("intake", 0.0, "looking at what came")
        files = sorted(p for p in incoming.rglob("*") if p.is_file() and not p.is_symlink())
        refused = _sorted_in(files, scene, task)
        return (yield from examine(task, refused))
    finally:
        shutil.rmtree(incoming, ignore_errors=True)


def _sorted_in(files: list[Path], scene: Path, task: IntakeTask) -> list[tuple[str, str]]:
    """Everything at its place; the value lists what was refused, and why."""
    if not files and scene.is_dir() and any(scene.iterdir()):  # started again after everything had been sorted in
        return []
    kinds = {file: kind_of(file) for file in files}
    packed = [f for f in files if kinds[f] in ("zip", "video")]
    pictures = [f for f in files if kinds[f] == "image"]
    if packed and (len(packed) > 1 or pictures):
        raise InputError("Give either photos, or one zip, or one video. Remove the others.")
    if not packed and not pictures:
        names = ", ".join(f"'{f.name}'" for f in files[:3])
        raise InputError(f"{names or 'What came'} holds no photo, video or zip (told by the content, not by the name). Give JPEG, PNG, WebP, HEIC or TIFF photos, a video or a zip.")
    if packed and (scene / "images").is_dir():
        raise InputError("A zip or a video makes a project of its own. Start a new one for it, or add single photos here.")
    if packed and kinds[packed[0]] == "zip":
        _take_zip(packed[0], scene, task)
    elif packed:
        read_video(packed[0], scene / "images")
    else:
        _take_photos(pictures, scene / "images", task.most_photos)
    transforms = [f for f in files if kinds[f] == "json" and f.name == "transforms.json"]
    if transforms and pictures:
        shutil.move(transforms[0], scene / "transforms.json")
    return [(f.name, "it is neither a photo nor a video nor a zip, whatever its name says") for f in files if kinds[f] is None]


def _take_photos(pictures: list[Path], target: Path, most: int) -> None:
    """Under names that nobody can take for more than names; the same name twice is two photos."""
    target.mkdir(parents=True, exist_ok=True)
    here = len(list_images(target))
    if here + len(pictures) > most:
        raise InputError(f"{here + len(pictures)} photos are more than the {most} allowed. Choose the best ones.")
    for picture in pictures:
        shutil.move(picture, _free(target, Path(safe_name(picture.name)).stem, suffix_of(picture) or picture.suffix))


def _free(folder: Path, stem: str, suffix: str) -> Path:
    path, number = folder / f"{stem}{suffix}", 2
    while path.exists():
        path, number = folder / f"{stem}_{number}{suffix}", number + 1
    return path


def _take_zip(path: Path, scene: Path, task: IntakeTask) -> None:
    """Unpacked; plain photos in it are taken like uploaded ones, a data set stays as it is."""
    unpacked = unpack(path, task.project / "unpacked")
    try:
        found = read_scene(unpacked, task.project / "unpacked-video")
        if len(found) > task.most_photos:
            raise InputError(f"{len(found)} photos are more than the {task.most_photos} allowed. Choose the best ones.")
        if found.cameras is None:
            _take_photos(list(found.image_paths), scene / "images", task.most_photos)
            for dropped in found.report.dropped:  # so that the page can say what is wrong with them
                for broken in unpacked.rglob(dropped.file):
                    shutil.move(broken, _free(scene / "images", Path(safe_name(broken.name)).stem, broken.suffix))
        else:
            shutil.rmtree(scene, ignore_errors=True)
            unpacked.replace(scene)
    finally:
        for folder in ("unpacked", "unpacked-video"):
            shutil.rmtree(task.project / folder, ignore_errors=True)


def examine(task: IntakeTask, refused: list[tuple[str, str]] | None = None) -> Generator[Progress, None, dict[str, Any]]:
    """Thumbnails and findings of the scene as it is now, written to `photos.json`."""
    yield Progress("examine", 0.0, "reading photos")
    scene = read_scene(task.project / "scene", task.project / "scene")
    thumbs = task.project / "thumbs"
    thumbs.mkdir(exist_ok=True)

    def small(i: int) -> dict[str, Any]:
        picture, path = scene.image(i), scene.image_paths[i]
        height, width = picture.shape[:2]
        share = min(1.0, THUMB / max(width, height))
        name = f"{i:04d}.jpg"
        images.save_image(thumbs / name, images.resize(picture, max(round(width * share), 1), max(round(height * share), 1)), quality=80)
        return {
            "name": scene.names[i], "file": path.relative_to(task.project).as_posix(), "thumb": f"thumbs/{name}",
            "width": width, "height": height, "bytes": path.stat().st_size,
        }  # fmt: skip

    photos = []
    for i, photo in enumerate(mapped(small, range(len(scene)))):
        photos.append(photo)
        yield Progress("examine", 0.6 * (i + 1) / len(scene), f"photo {i + 1} of {len(scene)}")
    findings = check_photos(scene)
    dropped = [{"file": d.file, "why": d.why} for d in scene.report.dropped] + [{"file": n, "why": w} for n, w in refused or []]
    content = {
        "format": scene.report.format, "posed": scene.cameras is not None, "masked": _masked(scene), "photos": photos,
        "findings": [asdict(f) for f in findings], "dropped": dropped, "notes": list(scene.report.warnings),
    }  # fmt: skip
    write_json(task.project / "photos.json", content)
    return content


def _masked(scene: Scene) -> bool:
    return len(scene) > 0 and scene.mask(0) is not None


def left_out(project: Path, names: list[str], out: bool) -> None:
    """Move photos of an unposed scene out of it, or back in; nothing is deleted.

    Raises:
        InputError: a photo is not there.
    """
    here, there = project / "scene" / "images", project / "left_out"
    source, target = (here, there) if out else (there, here)
    target.mkdir(exist_ok=True)
    known = {p.name for p in source.iterdir()} if source.is_dir() else set()
    for name in names:
        bare = Path(name).name
        if bare not in known:
            raise InputError(f"'{bare}' is not among the photos. Reload the page and choose again.")
        shutil.move(source / bare, target / bare)


def median_size(photos: list[dict[str, Any]]) -> float:
    """Megapixels of a typical photo."""
    return float(np.median([p["width"] * p["height"] for p in photos])) / 1e6 if photos else 0.0
