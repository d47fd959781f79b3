"""The texels of a texture: where on the surface they lie, what a photo adds to them, what its pixels say about them."""

from kernels.texels.texels import (
    Texels,
    add_photo,
    add_photo_reference,
    compare,
    compare_reference,
    facing,
    facing_reference,
    surface,
    surface_reference,
)

__all__ = [
    "Texels", "add_photo", "add_photo_reference", "compare", "compare_reference", "facing", "facing_reference", "surface", "surface_reference",
]  # fmt: skip
