"""A folder as one zip, written to a temporary name first."""

import zipfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.images import IMAGE_SUFFIXES
from data.progress import Progress

_PACKED = IMAGE_SUFFIXES | {".mp4", ".glb", ".usdz", ".zip"}


def pack(folder: str | Path, out: str | Path) -> Generator[Progress, None, dict[str, Any]]:
    """Write the zip; the value names it. Hidden files stay out; what is packed already is stored as it is.

    Raises:
        InputError: there is nothing to pack.
    """
    root, target = Path(folder), Path(out)
    files = sorted(p for p in root.rglob("*") if p.is_file() and not p.is_symlink() and not any(part.startswith(".") for part in p.relative_to(root).parts))
    if not files:
        raise InputError("There is nothing to pack yet. Reconstruct first.")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    with zipfile.ZipFile(partial, "w") as archive:
        for i, path in enumerate(files):
            yield Progress("pack", i / len(files), path.name)
            how = zipfile.ZIP_STORED if path.suffix.lower() in _PACKED else zipfile.ZIP_DEFLATED
            archive.write(path, f"{target.stem}/{path.relative_to(root).as_posix()}", how)
    partial.replace(target)
    return {"files": [str(target)], "bytes": target.stat().st_size}
