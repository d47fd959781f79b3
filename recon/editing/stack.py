"""`edit.toml`: the edits that lead from a reconstruction to what a folder holds, in order, so that they can be done again, or all but the last."""

import dataclasses
import shutil
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tomli_w

from data.errors import InputError
from data.files import atomic_write
from recon.editing.options import EditOptions

FORMAT, VERSION = "lumigraph edits", 1
NAME = "edit.toml"
PICTURES = "edit_pictures"
"""Folder beside it, for masks and backgrounds."""
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Step:
    """One edit."""

    prompt: str
    options: EditOptions


def read_stack(path: Path) -> list[Step]:
    """The edits of a file, or of a result's folder (none for one that was never edited).

    Raises:
        InputError: the file is damaged or no such file.
    """
    file = path / NAME if path.is_dir() else path
    if path.is_dir() and not file.exists():
        return []
    try:
        content = tomllib.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"'{file}' cannot be read ({error}). Give the edit.toml of an edited result.") from None
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise InputError(f"'{file}' is not version {VERSION} of '{FORMAT}'. Give the edit.toml of an edited result.")
    known = {f.name for f in dataclasses.fields(EditOptions)}
    steps = []
    for entry in content.get("edits", []):
        prompt, wrong = entry.get("prompt", ""), set(entry) - known - {"prompt"}
        if wrong or not isinstance(prompt, str):
            raise InputError(f"'{file}' holds '{', '.join(sorted(wrong)) or 'prompt'}', which is no option of an edit. Remove it.")
        try:
            options = EditOptions(**{k: v for k, v in entry.items() if k != "prompt"})
            steps.append(Step(prompt, replace(options, region=_found(options.region, file.parent), color=_found(options.color, file.parent))))
        except TypeError as error:
            raise InputError(f"'{file}' holds an edit that cannot be ({error}).") from None
    return steps


def write_stack(folder: Path, steps: list[Step]) -> None:
    """Write ``folder/edit.toml``, and the pictures that its edits need (masks, backgrounds) beside it, so that the folder may be moved."""
    entries: list[dict[str, Any]] = []
    for number, step in enumerate(steps):
        values = {k: v for k, v in dataclasses.asdict(step.options).items() if v is not None}
        for key in ("region", "color"):
            if _is_file(values[key]):
                values[key] = _kept(Path(values[key]), folder, number)
        entries.append({"prompt": step.prompt, **values})
    atomic_write(folder / NAME, tomli_w.dumps({"format": FORMAT, "version": VERSION, "edits": entries}).encode())


def named(region: str) -> str:
    """A region as reports name it: of a file, its name alone."""
    return Path(region).name if _is_file(region) else region


def _is_file(value: str) -> bool:
    return value.lower().endswith(SUFFIXES)


def _found(value: str, folder: Path) -> str:
    """Files are named from the folder that `edit.toml` is in."""
    return str(folder / value) if _is_file(value) and not Path(value).is_absolute() else value


def _kept(source: Path, folder: Path, number: int) -> str:
    place = folder / PICTURES / str(number) / source.name
    if place.resolve() != source.resolve():
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, place)
    return place.relative_to(folder).as_posix()
