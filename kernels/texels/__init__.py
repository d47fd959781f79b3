"""The texels of a texture: where on the surface they lie, and what a photo adds to them."""

from kernels.texels.texels import (
    Texels,
    add_photo,
    add_photo_reference,
    facing,
    facing_reference,
    surface,
    surface_reference,
)

__all__ = ["Texels", "add_photo", "add_photo_reference", "facing", "facing_reference", "surface", "surface_reference"]
