"""Finding and decoding the small files that data sets are made of."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from data.errors import InputError
from data.images import is_image


def load_json(path: Path) -> dict[str, Any]:
    """A JSON object, or an error that names the file and the line."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"'{path.name}' is not valid JSON (line {error.lineno}: {error.msg}). Correct it or export it again.") from None
    except UnicodeDecodeError:
        raise InputError(f"'{path.name}' is not text. Export it again.") from None
    if not isinstance(content, dict):
        raise InputError(f"'{path.name}' must hold an object with a list 'frames'. Export it again.")
    return content


def load_array(path: Path) -> ndarray:
    """A plain .npy array; never a pickled one."""
    try:
        return np.load(path, allow_pickle=False)  # type: ignore[no-any-return]
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"'{path.name}' is not a plain NumPy file ({error}). Export it again.") from None


def find_inside(root: Path, name: str, suffixes: tuple[str, ...] = ("",)) -> Path | None:
    """The file ``name`` (+ one of ``suffixes``) below ``root``, or None if it is not there.

    Raises:
        InputError: the name leads out of the data set.
    """
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(f"'{name}' lies outside the data set's folder. Move the file inside and correct the entry.")
    for suffix in suffixes:
        candidate = path.with_name(path.name + suffix)
        if candidate.is_file():
            return candidate
    return None


def image_folder(root: Path) -> Path:
    """Where a data set keeps its photos: `images`, `image`, `rgb`, or the folder itself."""
    for name in ("images", "image", "rgb", "input"):
        if (root / name).is_dir():
            return root / name
    return root


def list_images(folder: Path) -> list[Path]:
    """Pictures of a folder in natural order (img2 before img10)."""
    import re

    def key(path: Path) -> list[tuple[int, int, str]]:
        return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", path.name.lower()) if part]

    return sorted((p for p in folder.iterdir() if p.is_file() and is_image(p)), key=key)
