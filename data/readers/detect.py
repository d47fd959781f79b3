"""Which format is this? Looks at names only, then hands over to the format's reader."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from data.errors import InputError
from data.images import is_image
from data.readers import archive, blender, colmap, llff, middlebury, nerfstudio, neus, photos, video
from data.scene import Scene

_FOLDER_READERS: tuple[tuple[Callable[[Path], bool], Callable[[Path], Scene]], ...] = (
    (nerfstudio.recognises, nerfstudio.read),
    (blender.recognises, blender.read),
    (llff.recognises, llff.read),
    (neus.recognises, neus.read),
    (middlebury.recognises, middlebury.read),
    (colmap.recognises, colmap.read),
    (photos.recognises, photos.read),
)


def read_scene(path: Path | str, workspace: Path | None = None) -> Scene:
    """Read photos, a video, a zip or a posed data set.

    Args:
        path: a folder or file; what it is gets found out by looking.
        workspace: where zips are unpacked and video frames are put; a new temporary folder if not given.

    Raises:
        InputError: nothing usable is there, or what is there contradicts itself.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise InputError(f"'{path}' does not exist. Check the path.")
    if path.is_file():
        return _read_file(path, workspace or Path(tempfile.mkdtemp(prefix="lumigraph-")))
    for recognises, read in _FOLDER_READERS:
        if recognises(path):
            return read(path)
    videos = [p for p in sorted(path.iterdir()) if video.is_video(p)]
    if len(videos) == 1:
        return _read_file(videos[0], workspace or Path(tempfile.mkdtemp(prefix="lumigraph-")))
    inner = [p for p in sorted(path.iterdir()) if p.is_dir() and not p.name.startswith((".", "__MACOSX"))]
    if len(inner) == 1:
        return read_scene(inner[0], workspace)
    raise InputError(f"'{path}' holds no photos and no known data set. Give a folder of photos, a video, a zip or a posed data set.")


def _read_file(path: Path, workspace: Path) -> Scene:
    if path.suffix.lower() == ".json":
        if path.name == "transforms.json":
            return nerfstudio.read(path.parent)
        raise InputError(f"'{path.name}' is not a transforms.json. Give the folder that holds the data set.")
    if path.suffix.lower() == ".zip":
        return read_scene(archive.unpack(path, workspace / path.stem), workspace)
    if video.is_video(path):
        return video.read(path, workspace / path.stem)
    if is_image(path):
        raise InputError(f"'{path.name}' is one photo; a reconstruction needs at least 2, better 20. Give a folder of photos.")
    raise InputError(f"'{path.name}' is not a zip, a video or a data set. Give a folder of photos, a video or a zip.")
