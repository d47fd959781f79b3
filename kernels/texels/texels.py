"""Texels in three steps: `surface` finds them, `facing` asks which of them may see a photo, `add_photo` adds its colours.

The other way round, `compare` asks what a photo's pixels say about the texels that they show.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

LEAST_COSINE = 0.15
"""Surfaces seen at a flatter angle take nothing from a photo."""
BORDER = 2.0
"""Pixels along the picture's border that are not used."""
LEAST_WEIGHT = 1e-4
"""What is worth less is left out; its fourth power is still far from single precision's end."""


@dataclass(frozen=True)
class Texels:
    """Texels that lie in charts."""

    number: Int[ndarray, "p"]
    """Row of the texture times its side, plus column; the first row is v = 1."""
    points: Float[ndarray, "p 3"]
    """Points of the surface."""
    normals: Float[ndarray, "p 3"]
    """Unit length, interpolated between vertices."""
    nearest: Int[ndarray, "p"]
    """The nearest of the face's vertices."""


def surface(
    vertices: Float[ndarray, "v 3"], normals: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], uv: Float[ndarray, "t 2"],
    uv_faces: Int[ndarray, "f 3"], side: int,
) -> Texels:  # fmt: skip
    """The texels whose centres lie in a chart (where charts overlap, in the last face), and the surface there.

    Args:
        uv: texture coordinates, origin at the lower left.
        side: of the square texture, in texels.
    """
    from kernels.texels import cpu

    owner, weights = np.full(side * side, -1, np.int32), np.empty((side * side, 3), np.float32)
    cpu.rasterise(np.ascontiguousarray(uv, np.float64), np.ascontiguousarray(uv_faces, np.int64), side, owner, weights)
    number = np.flatnonzero(owner >= 0)
    points, across = np.empty((len(number), 3)), np.empty((len(number), 3), np.float32)
    nearest = np.empty(len(number), np.int32)
    cpu.interpolate(vertices, normals, np.ascontiguousarray(faces, np.int64), number, owner, weights, points, across, nearest)
    return Texels(number, points, across, nearest)


def surface_reference(
    vertices: Float[ndarray, "v 3"], normals: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], uv: Float[ndarray, "t 2"],
    uv_faces: Int[ndarray, "f 3"], side: int,
) -> Texels:  # fmt: skip
    """The twin of `surface` in plain NumPy, face by face."""
    centre = (np.arange(side) + 0.5) / side
    u, v = np.meshgrid(centre, 1 - centre)
    places = np.stack([u.reshape(-1), v.reshape(-1)], axis=1)
    owner, weights = np.full(side * side, -1), np.zeros((side * side, 3))
    for face, ((ax, ay), (bx, by), (cx, cy)) in enumerate(uv[uv_faces]):
        twice = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        if twice == 0:
            continue
        x, y = places.T
        wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / twice
        wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / twice
        inside = (wb >= 0) & (wc >= 0) & (wb + wc <= 1)
        owner[inside] = face
        weights[inside] = np.stack([1 - wb - wc, wb, wc], axis=1)[inside]
    number = np.flatnonzero(owner >= 0)
    w, corners = weights[number][..., None], faces[owner[number]]
    across = (normals[corners] * w).sum(1)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
    nearest = np.take_along_axis(corners, weights[number].argmax(1)[:, None], axis=1)[:, 0]
    return Texels(number, (vertices[corners] * w).sum(1), across.astype(np.float32), nearest.astype(np.int32))


def facing(
    texels: Texels, eye: Float[ndarray, "3"], projection: Float[ndarray, "3 4"], size: tuple[int, int]
) -> tuple[Int[ndarray, "k"], Float[ndarray, "k 4"]]:
    """Texels that face a photo and fall into it: their places among all, and column, row, cosine and distance of each.

    Args:
        eye: the camera's centre.
        projection: ``K [R | t]``, world to pixels.
        size: of the photo, width and height.
    """
    from kernels.texels import cpu

    seen = np.empty((len(texels.points), 4), np.float32)
    good = np.empty(len(seen), bool)
    cpu.facing(texels.points, texels.normals, np.ascontiguousarray(eye), projection, size[0], size[1], LEAST_COSINE, BORDER, seen, good)
    rows = np.flatnonzero(good)
    return rows, seen[rows]


def facing_reference(
    texels: Texels, eye: Float[ndarray, "3"], projection: Float[ndarray, "3 4"], size: tuple[int, int]
) -> tuple[Int[ndarray, "k"], Float[ndarray, "k 4"]]:
    """The twin of `facing` in plain NumPy."""
    to_eye = eye - texels.points
    distance = np.linalg.norm(to_eye, axis=1)
    cosine = (texels.normals * to_eye).sum(1) / np.maximum(distance, 1e-12)
    local = texels.points @ projection[:, :3].T + projection[:, 3]
    x, y = (local[:, :2] / np.where(local[:, 2:] > 0, local[:, 2:], 1)).T
    inside = (local[:, 2] > 0) & (x > BORDER) & (x < size[0] - BORDER) & (y > BORDER) & (y < size[1] - BORDER)
    rows = np.flatnonzero(inside & (cosine > LEAST_COSINE))
    return rows, np.stack([x, y, cosine, distance], axis=1)[rows].astype(np.float32)


def add_photo(
    picture: UInt8[ndarray, "h w 3"], low: Float[ndarray, "h w 3"], trust: Float[ndarray, "h w"], rows: Int[ndarray, "k"],
    seen: Float[ndarray, "k 4"], share: Float[ndarray, "k"], detail: Float[ndarray, "p 4"], base: Float[ndarray, "p 4"],
) -> None:  # fmt: skip
    """Add a photo's fine detail and low band to the texels that it sees, each with its weight.

    A photo is worth the squares of the cosine and of the resolution there, and less near its border; for detail the
    fourth power of that, so that the best views count, smoothly.

    Args:
        low: the photo's low band.
        trust: factor of the weight at each pixel.
        rows, seen: what `facing` returns.
        share: of its weight that the photo has at each texel: 0 where something lies between them.
        detail, base: colours times weight, and weight; changed in place.
    """
    from kernels.texels import cpu

    clear = share > 0
    if clear.any():
        typical = float(np.median(seen[clear, 3]))
        cpu.add_photo(picture, low, trust, rows, seen, np.ascontiguousarray(share, np.float32), np.float32(typical), np.float32(LEAST_WEIGHT), detail, base)


def add_photo_reference(
    picture: UInt8[ndarray, "h w 3"], low: Float[ndarray, "h w 3"], trust: Float[ndarray, "h w"], rows: Int[ndarray, "k"],
    seen: Float[ndarray, "k 4"], share: Float[ndarray, "k"], detail: Float[ndarray, "p 4"], base: Float[ndarray, "p 4"],
) -> None:  # fmt: skip
    """The twin of `add_photo` in plain NumPy."""
    clear = share > 0
    if not clear.any():
        return
    rows, (x, y, cosine, distance) = rows[clear], seen[clear].T
    height, width = trust.shape
    stack = np.concatenate([picture.astype(np.float32), low, trust[..., None]], axis=2)
    i, j = np.floor(x - 0.5).astype(int), np.floor(y - 0.5).astype(int)
    a, b = (x - 0.5 - i)[:, None], (y - 0.5 - j)[:, None]
    value = (1 - b) * ((1 - a) * stack[j, i] + a * stack[j, i + 1]) + b * ((1 - a) * stack[j + 1, i] + a * stack[j + 1, i + 1])
    edge = np.minimum(np.minimum(x, width - x), np.minimum(y, height - y))
    fade = np.clip(edge / (0.05 * max(height, width)), 0.02, 1)
    weight = (cosine * np.median(distance) / distance) ** 2 * fade * value[:, 6] * share[clear]
    good = weight > LEAST_WEIGHT
    rows, value, weight = rows[good], value[good], weight[good, None]
    detail[rows] += np.concatenate([(value[:, :3] - value[:, 3:6]) * weight**4, weight**4], axis=1)
    base[rows] += np.concatenate([value[:, 3:6] * weight, weight], axis=1)


def compare(
    texture: Float[ndarray, "t 3"], at: Int[ndarray, "r"], across: Float[ndarray, "r"], down: Float[ndarray, "r"], colors: UInt8[ndarray, "r 3"],
    weight: Float[ndarray, "r"], spread: float, num: Float[ndarray, "t 3"], den: Float[ndarray, "t"],
) -> float:  # fmt: skip
    """Pixels against a texture's colours between four texels: what each texel is off by, summed in ``num``, and its weight in ``den``.

    ``num`` is minus the gradient of half of the weighted squares by the texels, and ``den`` bounds its slope, so that ``num / den`` is a safe step.
    A pixel that is off by ``spread`` counts half (Cauchy's estimator).

    Args:
        texture: of a square texture, row by row.
        at: the upper left of each pixel's four texels.
        across, down: how far it is from that one's centre, in texels.
        num, den: changed in place.

    Returns:
        The sum of squares of what pixels are off by.
    """
    from kernels.texels import cpu

    return float(cpu.compare(texture, at, across, down, colors, weight, np.float32(3 * spread**2), num, den))


def compare_reference(
    texture: Float[ndarray, "t 3"], at: Int[ndarray, "r"], across: Float[ndarray, "r"], down: Float[ndarray, "r"], colors: UInt8[ndarray, "r 3"],
    weight: Float[ndarray, "r"], spread: float, num: Float[ndarray, "t 3"], den: Float[ndarray, "t"],
) -> float:  # fmt: skip
    """The twin of `compare` in plain NumPy."""
    side = int(len(texture) ** 0.5)
    share = np.stack([(1 - across) * (1 - down), across * (1 - down), (1 - across) * down, across * down])
    place = np.stack([at, at + 1, at + side, at + side + 1])
    off = colors - (share[..., None] * texture[place]).sum(0)
    square = (off**2).sum(1)
    w = share * weight / (1 + square / (3 * spread**2))
    np.add.at(num, place, w[..., None] * off)
    np.add.at(den, place, w)
    return float(square.sum())
