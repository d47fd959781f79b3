"""Pictures from disk: decoded once, upright, with limits on what a file may ask for."""

import warnings
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from PIL import Image, ImageOps, UnidentifiedImageError

from data.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".heic", ".heif", ".tif", ".tiff", ".bmp"})
MAX_PIXELS = 120_000_000
"""Larger pictures are refused before they are decoded (a 40000x40000 PNG would need 4.8 GB)."""

_FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "HEIF"]


def is_image(path: Path) -> bool:
    """Whether the name says that this is a picture."""
    return path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")


def open_image(path: Path) -> Image.Image:
    """Open without decoding, within limits.

    Raises:
        InputError: the file is missing, no picture, or too large.
    """
    if path.suffix.lower() in {".heic", ".heif"}:
        _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            Image.init()
            picture = Image.open(path, formats=[name for name in _FORMATS if name in Image.OPEN])
    except FileNotFoundError:
        raise InputError(f"'{path.name}' does not exist. Add the file or remove it from the list.") from None
    except Image.DecompressionBombError:
        raise InputError(f"'{path.name}' holds too many pixels to be a photo. Shrink it below {MAX_PIXELS // 10**6} megapixels.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        raise InputError(f"'{path.name}' is not a picture that can be read. Remove it or save it again as JPEG or PNG.") from None
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"'{path.name}' has {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} megapixels allowed. Shrink it."
        )
    return picture


def image_size(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from its header alone."""
    with open_image(path) as picture:
        width, height = picture.size
        orientation = picture.getexif().get(0x0112, 1)
    return (height, width) if orientation in (5, 6, 7, 8) else (width, height)


def load_rgba(path: Path) -> tuple[UInt8[ndarray, "h w 3"], UInt8[ndarray, "h w"] | None]:
    """Upright colour and, if the file has one, alpha. Sixteen-bit, grey, CMYK and palette files become 8-bit RGB."""
    with open_image(path) as picture:
        try:
            picture.load()
            upright = ImageOps.exif_transpose(picture)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(f"'{path.name}' is damaged ({error}). Copy it again from the camera or leave it out.") from None
    if upright.mode.startswith("I") or upright.mode == "F":
        values = np.asarray(upright, dtype=np.float32)
        grey = np.clip(values / (257.0 if values.max() > 255 else 1.0), 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=-1), None
    if "A" in upright.getbands() or "transparency" in upright.info:
        rgba = np.asarray(upright.convert("RGBA"))
        alpha = rgba[..., 3]
        return np.ascontiguousarray(rgba[..., :3]), (alpha if alpha.min() < 255 else None)
    return np.asarray(upright.convert("RGB")), None


def load_mask(path: Path) -> Bool[ndarray, "h w"]:
    """One-channel mask, true where white."""
    with open_image(path) as picture:
        bands = picture.getbands()
        channel = picture.getchannel("A") if "A" in bands else picture.convert("L")
        return np.asarray(channel) > 127


def load_depth(path: Path, scale: float) -> Float[ndarray, "h w"]:
    """Sixteen-bit depth picture times ``scale``, in scene units; 0 where unknown."""
    with open_image(path) as picture:
        return np.asarray(picture, dtype=np.float32) * np.float32(scale)


def resize(image: UInt8[ndarray, "h w *c"], width: int, height: int) -> UInt8[ndarray, "height2 width2 *c"]:
    """Anti-aliased resize (area when shrinking)."""
    import cv2

    if (image.shape[1], image.shape[0]) == (width, height):
        return image
    shrink = width < image.shape[1]
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC)


def save_image(path: Path, image: UInt8[ndarray, "h w *c"], quality: int = 95) -> None:
    """Write JPEG or PNG by suffix, to a temporary name first."""
    temporary = path.with_name(f".{path.name}.part")
    Image.fromarray(image).save(
        temporary, format="PNG" if path.suffix.lower() == ".png" else "JPEG", quality=quality, subsampling=0
    )
    temporary.replace(path)


def _register_heif() -> None:
    try:
        import pillow_heif
    except ImportError:
        raise InputError("HEIC photos need the package 'pillow-heif'. Install it, or save the photos as JPEG.") from None
    pillow_heif.register_heif_opener()
