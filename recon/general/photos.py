"""From a `Scene` on disk to a `GeneralField`, and back from a result folder."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from data.cameras import Cameras
from data.errors import InputError
from data.files import write_json
from data.readers.nerfstudio import read as read_transforms
from data.scene import Scene
from recon.frame import hull_box
from recon.general.engine import ConditionOptions, GeneralField, GeneralModel
from recon.general.views import mean_distance, unlikeness
from recon.general.weights import ROBUST

FORMAT_VERSION = 2
WIDE = 3.0
"""Ratio of farthest to nearest depth from which on a stated range is searched for the scene in it, not relied on."""


def photo_tensor(scene: Scene, view: int) -> Float[torch.Tensor, "3 h w"]:
    """A photo as the model wants it."""
    return torch.from_numpy(scene.image(view).copy()).permute(2, 0, 1).float() / 255


def known_ranges(scene: Scene) -> Float[ndarray, "n 2"] | None:
    """Ranges of z-depth that can be relied on: measured ones, or those that the scene states, if these are not wide."""
    return _relied_on(scene, stated_ranges(scene))


def _relied_on(scene: Scene, ranges: Float[ndarray, "n 2"] | None) -> Float[ndarray, "n 2"] | None:
    measured = scene.mask_meaning != "object" and scene.near_far is not None
    if ranges is None or measured:
        return ranges
    if np.median(ranges[:, 1] / ranges[:, 0]) >= WIDE:
        return None  # most of a wide range is empty, and would take most of the volumes' bins
    # A box says where the subject is. Something stands behind it, and rays that pass the subject must find that.
    return ranges if scene.mask_meaning == "object" else ranges * np.array([0.8, 2.0])


def stated_ranges(scene: Scene) -> Float[ndarray, "n 2"] | None:
    """Ranges of z-depth of the object in its silhouettes, measured ones, or of the region of interest; None if there is none."""
    if scene.mask_meaning == "object":
        # Some of what surrounds the object as well, as in training: volumes that hold it alone are less sure and less right.
        return box_ranges(scene.posed(), np.stack(hull_box(scene))) * np.array([0.8, 1.2])
    if scene.near_far is not None:
        near, far = scene.near_far[:, 0], scene.near_far[:, 1]
        return np.stack([near * 0.8, far * 1.4], axis=1)
    return None if scene.box is None else box_ranges(scene.posed(), scene.box)


def box_ranges(cameras: Cameras, box: Float[ndarray, "2 3"]) -> Float[ndarray, "n 2"]:
    """Range of z-depths of a box's corners, for every view, with a margin; cameras inside it start close to themselves."""
    corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    z = ((corners[None] - cameras.centers[:, None]) * cameras.forwards[:, None]).sum(-1)
    size = float(np.linalg.norm(box[1] - box[0]))
    near = np.maximum(z.min(1) - 0.02 * size, 0.02 * size)
    return np.stack([near, np.maximum(z.max(1) + 0.02 * size, near * 1.1)], axis=1)


def ranges_to_search(scene: Scene) -> tuple[Float[ndarray, "n 2"] | None, Float[ndarray, "n 2"] | None]:
    """`near_far` and `within` of `GeneralModel.condition` for the photos of a scene."""
    ranges = stated_ranges(scene)
    return _relied_on(scene, ranges), ranges


def condition_scene(model: GeneralModel, scene: Scene, views: Sequence[int] | None = None) -> GeneralField:
    """Look at all photos of a scene, or at some of them."""
    chosen = scene if views is None else scene.select(list(views))
    images = [photo_tensor(chosen, i) for i in range(len(chosen))]
    near_far, within = ranges_to_search(chosen)
    with torch.no_grad():
        return model.condition(images, chosen.posed(), near_far, within=within)


def save_general_field(field: GeneralField, names: Sequence[str], folder: Path, weights: str = "standard") -> None:
    """Write `field.json`: which photos the field looks at, how, and how far; looking again takes seconds, so nothing else is kept.

    Args:
        weights: `standard` or `robust`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "field.json", {
        "format": "lumigraph general field", "version": FORMAT_VERSION, "photos": list(names), "near_far": field.near_far.tolist(),
        "subject_box": field.bounds.tolist(), "look": asdict(field.model.options), "weights": weights,
    })  # fmt: skip


def describe_field(scene: Scene, near_far: Float[ndarray, "n 2"], box: Float[ndarray, "2 3"], look: ConditionOptions) -> dict[str, Any]:
    """The content of `field.json` for photos that nobody has looked at yet.

    Args:
        near_far: range of z-depths of each photo, scene units.
        box: the region worth meshing.
    """
    return {
        "format": "lumigraph general field", "version": FORMAT_VERSION, "photos": [p.name for p in scene.image_paths], "near_far": near_far.tolist(),
        "subject_box": box.tolist(), "look": asdict(look), "weights": "standard",
    }  # fmt: skip


NEAR = 12
"""Photos that suffice for one picture: a ray is blended from 8, and these need neighbours."""


def load_general_field(result: Path, device: torch.device | str = "cpu", near: Cameras | None = None) -> GeneralField:
    """The field of a result folder: its photos are looked at again, with the weights of that result if it was tuned.

    Args:
        near: cameras of pictures to come; only the photos nearest to them are looked at, `NEAR` for each, which saves most of the time
            where there are many (not of tuned fields, whose corrections belong to all photos).

    Raises:
        InputError: the field, the photos or the weights cannot be read.
    """
    meta = json.loads((result / "field" / "field.json").read_text())
    if meta.get("version") != FORMAT_VERSION:
        raise InputError(f"The field in '{result}' has version {meta.get('version')}, not {FORMAT_VERSION}. Reconstruct it again.")
    scene = read_transforms(result)
    known = {path.name: i for i, path in enumerate(scene.image_paths)}
    missing = [name for name in meta["photos"] if name not in known]
    if missing:
        raise InputError(f"'{result}' has lost the photo '{missing[0]}' that its field looks at. Reconstruct it again.")
    chosen, ranges = scene.select([known[name] for name in meta["photos"]]), np.array(meta["near_far"])
    if near is not None and not (result / "field" / "tuned.safetensors").exists():
        views = _nearest(chosen.posed(), near)
        chosen, ranges = chosen.select(views), ranges[views]
    weights = ROBUST if meta.get("weights") == "robust" else None
    model = GeneralModel.from_pretrained(weights, device, ConditionOptions(**meta["look"]))
    photos = [photo_tensor(chosen, i) for i in range(len(chosen))]
    with torch.no_grad():
        if meta.get("shape"):  # edited: the photos of before say what shape things have, these what colour
            before = _before(chosen, result / str(meta["shape"]))
            field = model.condition([photo_tensor(before, i) for i in range(len(before))], chosen.posed(), ranges, colors=photos)
        else:
            field = model.condition(photos, chosen.posed(), ranges)
    field.subject_box = np.array(meta["subject_box"])
    if (result / "field" / "tuned.safetensors").exists():
        from recon.general.tuning import load_tuning

        load_tuning(field, result / "field")
    return field


def _before(scene: Scene, folder: Path) -> Scene:
    """The same views with the photos of before any edit.

    Raises:
        InputError: one is missing.
    """
    paths = []
    for path in scene.image_paths:
        found = next((p for p in (folder / f"{path.stem}{s}" for s in (".jpg", ".png")) if p.exists()), None)
        if found is None:
            raise InputError(f"'{folder}' has lost the photo '{path.stem}' from before the edits. Edit again from the result of before.")
        paths.append(found)
    return replace(scene, image_paths=tuple(paths))


def _nearest(cameras: Cameras, asked: Cameras) -> list[int]:
    """The photos most like each of the pictures asked for, in their own order."""
    spread, views = mean_distance(cameras), set[int]()
    for center, forward in zip(asked.centers, asked.forwards, strict=True):
        views |= {int(i) for i in np.argsort(unlikeness(cameras.centers, cameras.forwards, center, forward, spread), kind="stable")[:NEAR]}
    return sorted(views)
