"""A bare triangle mesh."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


@dataclass(frozen=True)
class Triangles:
    """Vertices and faces, counter-clockwise from outside."""

    vertices: Float[ndarray, "v 3"]
    faces: Int[ndarray, "f 3"]

    def kept(self, faces: ndarray) -> "Triangles":
        """The mesh of some faces (indices or a mask), without unused vertices."""
        chosen = self.faces[faces]
        used, renumbered = np.unique(chosen, return_inverse=True)
        return Triangles(self.vertices[used], renumbered.reshape(-1, 3))

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
        normals = np.zeros_like(self.vertices)
        weighted = self.face_normals * self.face_areas[:, None]
        for k in range(3):
            np.add.at(normals, self.faces[:, k], weighted)
        return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-20)
