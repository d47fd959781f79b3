"""`edit.toml`: the edits that lead from a reconstruction to what a folder holds, in order, so that they can be done again, or all but the last."""

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from data.errors import InputError
from data.files import atomic_write
from recon.editing.options import EditOptions

FORMAT, VERSION = "lumigraph edits", 1
NAME = "edit.toml"


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
            steps.append(Step(prompt, EditOptions(**{k: v for k, v in entry.items() if k != "prompt"})))
        except TypeError as error:
            raise InputError(f"'{file}' holds an edit that cannot be ({error}).") from None
    return steps


def write_stack(folder: Path, steps: list[Step]) -> None:
    """Write ``folder/edit.toml``."""
    entries: list[dict[str, Any]] = []
    for step in steps:
        values = {k: v for k, v in dataclasses.asdict(step.options).items() if v is not None}
        entries.append({"prompt": step.prompt, **values})
    atomic_write(folder / NAME, tomli_w.dumps({"format": FORMAT, "version": VERSION, "edits": entries}).encode())
