"""Blender-synthetic `transforms_{train,val,test}.json` (Mildenhall et al. 2020): one field of view, alpha masks."""

from dataclasses import replace
from pathlib import Path

from data.cameras import concatenate
from data.readers.files import load_json
from data.readers.nerfstudio import _present_frames, frames_to_cameras
from data.scene import Scene, SceneReport

_SPLITS = ("train", "val", "test")


def recognises(folder: Path) -> bool:
    return (folder / "transforms_train.json").is_file()


def read(folder: Path) -> Scene:
    """Read every split; transparent pixels are empty space."""
    paths: list[Path] = []
    parts, splits = [], {}
    report = SceneReport(format="blender")
    for split in _SPLITS:
        where = f"transforms_{split}.json"
        if not (folder / where).is_file():
            continue
        meta = load_json(folder / where)
        frames, dropped, warnings = _present_frames(folder, meta, where)
        cameras, more = frames_to_cameras(folder, meta, frames, where)
        splits[split] = tuple(range(len(paths), len(paths) + len(frames)))
        paths += [frame["path"] for frame in frames]
        parts.append(cameras)
        report = report.extended(dropped, warnings + more)
    scene = Scene(folder.resolve().name, folder, tuple(paths), concatenate(parts), splits=splits, report=report)
    return replace(scene, mask_meaning="object") if scene.mask(0) is not None else scene
