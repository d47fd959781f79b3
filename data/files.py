"""Files that are either whole or not there."""

import json
import os
from pathlib import Path
from typing import Any

from data.errors import OutputError


def atomic_write(path: Path, content: bytes) -> None:
    """Write to a temporary name in the same folder, flush to disk, rename.

    Raises:
        OutputError: the folder is read-only, missing, or full.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise OutputError(f"'{path}' cannot be written ({error.strerror or error}). Free space or choose another folder.") from None


def write_json(path: Path, value: Any) -> None:
    """`atomic_write` of indented JSON; NaN is refused, because JSON has none."""
    atomic_write(path, (json.dumps(value, indent=1, allow_nan=False) + "\n").encode())
