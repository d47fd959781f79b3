"""Answers on disk as regions: what `understand` found in a result, taken up by editing and export.

A region is the name of a task that finds one thing (`select`, `foreground`), or a task and a label: `instances:cup 2`, `segment:floor`, `planes:3`.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from data.errors import InputError

SINGLE = ("select", "foreground")
FOLDER = "understanding"


def is_region(text: str) -> bool:
    """Whether a region means an answer."""
    return text in SINGLE or (":" in text and text.split(":", maxsplit=1)[0].isidentifier())


def read_answer(result: Path, task: str) -> dict[str, Any]:
    """The content of an answer's ``labels.json``.

    Raises:
        InputError: the result was never asked that.
    """
    path = result / FOLDER / task / "labels.json"
    try:
        return json.loads(path.read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        known = sorted(p.parent.name for p in (result / FOLDER).glob("*/labels.json"))
        raise InputError(f"'{result}' has no answer for '{task}'. Run `lumigraph understand {result} --task {task}` first{'; there are: ' + ', '.join(known) if known else ''}.") from None


def label_of(result: Path, region: str) -> tuple[str, int]:
    """Task and number of the label that a region means.

    Raises:
        InputError: there is no such answer or label.
    """
    task, _, name = region.partition(":")
    content = read_answer(result, task)
    labels = {one["name"]: one["label"] for one in content.get("labels", [])}
    name = name.strip()
    if task in SINGLE and not name:
        return task, 1
    if name in labels:
        return task, int(labels[name])
    if name.isdigit() and int(name) in labels.values():
        return task, int(name)
    if not labels:
        raise InputError(f"The answer for '{task}' has values, not labels, so that it holds no regions.")
    raise InputError(f"The answer for '{task}' has no label '{name}'. It has: {', '.join(list(labels)[:30])}.")


def region_in_photos(result: Path, region: str, names: list[str]) -> list[Bool[ndarray, "_ _"]]:
    """The region in every photo.

    Args:
        names: of the photos, without suffix.

    Raises:
        InputError: there is no such answer or label, or a map is missing.
    """
    from PIL import Image

    task, label = label_of(result, region)
    out = []
    for name in names:
        path = result / FOLDER / task / "maps" / f"{name}.png"
        try:
            out.append(np.asarray(Image.open(path)).astype(np.int64) == label)
        except OSError:
            raise InputError(f"The map '{path}' is missing. Run `lumigraph understand {result} --task {task}` again.") from None
    return out


def region_on_mesh(result: Path, region: str, count: int) -> Int[ndarray, "f"]:
    """Numbers of the faces of the result's mesh that belong to a region.

    Args:
        count: faces of the mesh.

    Raises:
        InputError: there is no such answer or label, it belongs to another mesh, or no face belongs to it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    task, label = label_of(result, region)
    try:
        faces = load_file(result / FOLDER / task / "faces.safetensors")["label"]
    except (OSError, SafetensorError, KeyError):
        faces = np.zeros(0, np.int32)
    if len(faces) != count:
        raise InputError(f"The answer for '{task}' belongs to another mesh. Run `lumigraph understand {result} --task {task}` again.")
    found = np.flatnonzero(faces == label)
    if not len(found):
        raise InputError(f"No face of the mesh belongs to '{region}'. Choose another label.")
    return found
