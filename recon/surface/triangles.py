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
