"""A video: the sharpest frame of each of N even stretches."""

from pathlib import Path

import cv2
import numpy as np

from data.errors import InputError
from data.images import save_image
from data.quality import sharpness
from data.scene import Scene, SceneReport

VIDEO_SUFFIXES = frozenset({".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"})
DEFAULT_FRAMES = 60


def is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES and path.is_file()


def read(path: Path, folder: Path, frames: int = DEFAULT_FRAMES) -> Scene:
    """Write the chosen frames to ``folder`` as JPEG and return them as a scene without poses.

    Args:
        frames: how many stretches the video is cut into; a shorter video gives all its frames.
    """
    capture = cv2.VideoCapture(str(path))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    if total < 2:
        raise InputError(f"'{path.name}' is not a video that can be read. Convert it to MP4 (H.264).")
    folder.mkdir(parents=True, exist_ok=True)
    edges = np.linspace(0, total, min(frames, total) + 1).astype(int)
    paths: list[Path] = []
    best_score, best_frame, stretch = -1.0, None, 0
    for number in range(total):
        if number >= edges[stretch + 1]:
            if best_frame is not None:
                paths.append(_write(folder, len(paths), best_frame))
            best_score, best_frame, stretch = -1.0, None, stretch + 1
        good, frame = capture.read()
        if not good:
            break
        score = sharpness(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
        if score > best_score:
            best_score, best_frame = score, frame
    capture.release()
    if best_frame is not None:
        paths.append(_write(folder, len(paths), best_frame))
    if len(paths) < 2:
        raise InputError(f"Only {len(paths)} frame of '{path.name}' could be decoded. Convert it to MP4 (H.264).")
    note = f"{len(paths)} of {total} frames were taken from '{path.name}', the sharpest of each stretch."
    return Scene(path.stem, folder, tuple(paths), report=SceneReport((), (note,), "video"))


def _write(folder: Path, number: int, frame: np.ndarray) -> Path:
    path = folder / f"frame_{number:04d}.jpg"
    save_image(path, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB))
    return path
