"""Zip files from strangers: unpacked with limits, links and outside paths refused."""

import shutil
import zipfile
from pathlib import Path, PurePosixPath

from data.errors import InputError
from data.images import IMAGE_SUFFIXES

MAX_FILES = 5_000
MAX_BYTES = 8 * 2**30
MAX_RATIO = 200
"""Unpacked over packed size of one member; photos are near 1, bombs near 1000."""

_KEPT = IMAGE_SUFFIXES | {".json", ".npy", ".npz", ".txt", ".bin", ".ply", ".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm"}


def unpack(path: Path, target: Path) -> Path:
    """Unpack what a scene can be made of into ``target`` (made anew) and return it.

    Raises:
        InputError: not a zip, a member that leads outside, a link, or more than the limits allow.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            _check(path.name, members)
            partial = target.with_name(f".{target.name}.part")
            shutil.rmtree(partial, ignore_errors=True)
            for member in members:
                name = PurePosixPath(member.filename)
                if name.suffix.lower() in _KEPT and not any(part.startswith((".", "__MACOSX")) for part in name.parts):
                    _extract(archive, member, partial / name)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise InputError(f"'{path.name}' is not a zip that can be unpacked ({error}). Pack it again without a password.") from None
    if not partial.exists():
        raise InputError(f"'{path.name}' holds no photos and no data set. Zip the photos themselves.")
    shutil.rmtree(target, ignore_errors=True)
    partial.replace(target)
    return target


def _check(name: str, members: list[zipfile.ZipInfo]) -> None:
    if len(members) > MAX_FILES:
        raise InputError(f"'{name}' holds {len(members)} files, more than the {MAX_FILES} allowed. Pack fewer photos.")
    if sum(m.file_size for m in members) > MAX_BYTES:
        raise InputError(f"'{name}' unpacks to more than {MAX_BYTES // 2**30} GB. Pack fewer or smaller photos.")
    for member in members:
        parts = PurePosixPath(member.filename.replace("\\", "/")).parts
        if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in parts[0]:
            raise InputError(f"'{name}' holds the path '{member.filename}', which leads outside. Pack it again with plain names.")
        if (member.external_attr >> 16) & 0o170000 == 0o120000:
            raise InputError(f"'{name}' holds the link '{member.filename}'. Pack the photo itself.")
        if member.file_size > 2**20 and member.file_size > MAX_RATIO * max(member.compress_size, 1):
            raise InputError(f"'{member.filename}' in '{name}' unpacks to {MAX_RATIO} times its size or more: this is no photo. Remove it.")


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Copy one member, counting: the header's size is only a claim."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("wb") as sink:
        while block := source.read(2**20):
            left -= len(block)
            if left < 0:
                raise InputError(f"'{member.filename}' is larger than its header says. Pack the zip again.")
            sink.write(block)
