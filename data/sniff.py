"""What a file is, by its first bytes: names are only claims."""

import re
import unicodedata
from pathlib import Path
from typing import Literal

Kind = Literal["image", "zip", "video", "json"]

_SUFFIXES: dict[str, Kind] = {
    ".jpg": "image", ".png": "image", ".webp": "image", ".tif": "image", ".bmp": "image", ".heic": "image",
    ".zip": "zip", ".mp4": "video", ".mov": "video", ".avi": "video", ".webm": "video", ".json": "json",
}  # fmt: skip
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def suffix_of(path: Path) -> str | None:
    """The suffix that fits the content (`.jpg`, `.zip`, `.mp4`, ...), or None if it is nothing that a scene is made of."""
    with path.open("rb") as file:
        head = file.read(64)
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12])
    if head[:4] in (b"II*\0", b"MM\0*"):
        return ".tif"
    if head.startswith(b"BM") and head[6:10] == b"\0\0\0\0":
        return ".bmp"
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return ".zip"
    if head[4:8] == b"ftyp":
        return ".heic" if head[8:12] in _HEIF_BRANDS else ".mov" if head[8:10] == b"qt" else ".mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm"
    if head.lstrip()[:1] == b"{" and path.suffix.lower() == ".json":
        return ".json"
    return None


def kind_of(path: Path) -> Kind | None:
    """What the content is, or None."""
    suffix = suffix_of(path)
    return None if suffix is None else _SUFFIXES[suffix]


def safe_name(name: str, longest: int = 80) -> str:
    """A file name without folders, control characters, markup, leading dots or anything that a shell or a page could take as more than text.

    Letters of all scripts stay; the suffix stays. Never empty.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/").split("/")[-1])
    name = re.sub(r"[^\w.\- ()]", "_", name).strip(" .")
    stem, dot, suffix = name.rpartition(".")
    if not dot:
        stem, suffix = name, ""
    stem = stem.strip(" .")[: longest - len(suffix) - 1] or "file"
    while len(f"{stem}{dot}{suffix}".encode()) > 200:  # file systems count bytes
        stem = stem[:-1] or "f"
        suffix = suffix[:16]
    return f"{stem}{dot}{suffix}"
