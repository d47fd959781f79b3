"""A bare triangle mesh."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Triangles:
    """Vertices and faces, counter-clockwise from outside."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]

    def kept(self, faces: ndarray) -> "Triangles":
        """The mesh of some faces (indices or a mask), without unused vertices."""
        chosen, used = self.faces[faces], self.used(faces)
        return Triangles(self.vertices[used], (np.cumsum(used) - 1)[chosen])

    def used(self, faces: ndarray) -> Bool[ndarray, "v"]:
        """Which vertices some faces (indices or a mask) have."""
        used = np.zeros(len(self.vertices), bool)
        used[self.faces[faces]] = True
        return used

    @property
    def face_areas(self) -> Float[ndarray, "f"]:
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)

    @property
    def face_normals(self) -> Float[ndarray, "f 3"]:
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)

    @property
    def vertex_normals(self) -> Float[ndarray, "v 3"]:
        """Area-weighted mean of the faces around each vertex."""
        a, b, c = (self.vertices[self.faces[:, k]] for k in range(3))
        across = np.cross(b - a, c - a)  # as long as twice the area
        corners = self.faces.reshape(-1)
        sums = [np.bincount(corners, np.repeat(across[:, d], 3), len(self.vertices)) for d in range(3)]
        normals = np.stack(sums, axis=1)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)


def paired(first: Int[ndarray, "n"], second: Int[ndarray, "n"]) -> Int[ndarray, "n"]:
    """One number for each pair of numbers (not negative), in the pairs' order: much faster to sort than rows are."""
    span = int(second.max(initial=0)) + 1
    if int(first.max(initial=0)) >= 2**62 // span:
        first = np.unique(first, return_inverse=True)[1]
    return first.astype(np.int64) * span + second


def tangents(
    positions: Float[ndarray, "c 3"], normals: Float[ndarray, "c 3"], uv: Float[ndarray, "c 2"], faces: Int[ndarray, "f 3"]
) -> Float[ndarray, "c 4"]:
    """Unit tangents along u, at right angles to the normals, and 1 or -1: the bitangent is ``cross(normal, tangent)`` times that.

    Each face's, weighted with its angle at the corner, as readers that work them out themselves do (MikkTSpace).

    Args:
        uv: one a corner, seams doubled; v upwards.
    """
    p, t = positions[faces], uv[faces]
    a, b = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    (au, av), (bu, bv) = (t[:, 1] - t[:, 0]).T, (t[:, 2] - t[:, 0]).T
    twice = au * bv - bu * av
    side = np.sign(twice)
    along = (a * bv[:, None] - b * av[:, None]) * side[:, None]
    total, hand = np.zeros((len(positions), 3)), np.zeros(len(positions))
    for k in range(3):
        one, two = p[:, (k + 1) % 3] - p[:, k], p[:, (k + 2) % 3] - p[:, k]
        lengths = np.maximum(np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1), 1e-30)
        angle = np.arccos(np.clip((one * two).sum(1) / lengths, -1, 1))
        n = normals[faces[:, k]]
        flat = along - n * (along * n).sum(1, keepdims=True)
        flat /= np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-30)
        np.add.at(total, faces[:, k], flat * angle[:, None])
        np.add.at(hand, faces[:, k], side * angle)
    # Where nothing says which way, any at right angles.
    lost = np.linalg.norm(total, axis=1) < 1e-9
    other = np.eye(3)[np.abs(normals[lost]).argmin(1)]
    total[lost] = other - normals[lost] * (other * normals[lost]).sum(1, keepdims=True)
    total /= np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-30)
    return np.concatenate([total, np.where(hand < 0, -1.0, 1.0)[:, None]], axis=1)
