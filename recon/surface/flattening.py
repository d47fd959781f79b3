"""Light taken out of a texture, as far as it depends on which way the surface looks.

Under distant light the brightness of a matte surface is nearly a quadratic function of its normal (Ramamoorthi & Hanrahan 2001: nine
spherical harmonics). That function is fitted to all texels, robustly, and divided out. Shadows that things cast stay; so do colours.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

MOST = 2.5
"""Factor by which brightness is changed at most."""


def flattened(colors: Float[ndarray, "p 3"], normals: Float[ndarray, "p 3"], rounds: int = 5) -> Float[ndarray, "p 3"]:
    """Colours (0 to 255, sRGB) with even light; their mean brightness stays.

    Args:
        normals: unit length.
    """
    if len(colors) < 100:
        return colors
    light = np.log(np.maximum(_linear(colors) @ np.array([0.2126, 0.7152, 0.0722]), 1e-4))
    pick = slice(None, None, max(len(colors) // 50_000, 1))
    basis, target = _harmonics(normals[pick]), light[pick]
    weight = np.ones(len(target))
    solution = np.zeros(9)
    for _ in range(rounds):
        root = np.sqrt(weight)[:, None]
        # A little ridge: sides that nobody photographed must not be guessed wildly.
        system = np.concatenate([basis * root, np.diag([0.0, *[0.03 * np.sqrt(len(target))] * 8])])
        solution = np.linalg.lstsq(system, np.concatenate([target * root[:, 0], np.zeros(9)]), rcond=None)[0]
        off = np.abs(target - basis @ solution)
        weight = np.minimum(1, 0.3 / np.maximum(off, 1e-6))
    shading = _harmonics(normals) @ solution
    factor = np.exp(np.clip(shading[pick].mean() - shading, -np.log(MOST), np.log(MOST)))
    return np.clip(_srgb(_linear(colors) * factor[:, None]), 0, 255)


def _harmonics(n: Float[ndarray, "p 3"]) -> Float[ndarray, "p 9"]:
    """The space of spherical harmonics up to order two, unnormalised."""
    x, y, z = n.T.astype(np.float64)
    return np.stack([np.ones_like(x), x, y, z, x * y, y * z, x * z, x * x - y * y, 3 * z * z - 1], axis=1)


def _linear(colors: ndarray) -> ndarray:
    value = colors / 255
    return np.where(value <= 0.04045, value / 12.92, ((np.maximum(value, 0) + 0.055) / 1.055) ** 2.4)


def _srgb(value: ndarray) -> ndarray:
    value = np.maximum(value, 0)
    return 255 * np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)
