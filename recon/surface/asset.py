"""`Asset`: a textured mesh in the input's coordinates, and the files it can be written to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from data.errors import InputError
from data.files import atomic_write
from recon.surface.formats.glb import Look, glb
from recon.surface.formats.obj import write_obj
from recon.surface.formats.ply import ply
from recon.surface.formats.stl import stl
from recon.surface.formats.usdz import write_usdz
from recon.surface.triangles import Triangles, paired, tangents

Colors = Literal["texture", "vertices"]
SUFFIXES = (".glb", ".obj", ".ply", ".stl", ".usdz")


@dataclass(frozen=True)
class Asset:
    """A mesh with one square texture (sRGB, photographed light included)."""

    mesh: Triangles
    uv: Float[ndarray, "t 2"]
    """Texture coordinates, origin at the lower left."""
    uv_faces: Int[ndarray, "f 3"]
    """Texture vertices of every face."""
    texture: UInt8[ndarray, "s s 3"]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Where it came from; written into the files that can hold it."""
    relief: UInt8[ndarray, "s s 3"] | None = None
    """A normal map (tangent space, green upwards). GLB alone has it: Blender takes an OBJ's for colours."""
    pairs: int = 0
    """So many pairs of faces, from the first on, are a quad each; OBJ keeps them."""

    @property
    def statistics(self) -> dict[str, Any]:
        """Vertices, faces, pieces, whether it is closed, and the texture's side."""
        from recon.surface.cleaning import face_components

        edges = np.sort(np.concatenate([self.mesh.faces[:, [a, b]] for a, b in ((0, 1), (1, 2), (2, 0))]), axis=1)
        _, counts = np.unique(paired(*edges.T), return_counts=True)
        return {
            "vertices": len(self.mesh.vertices), "faces": len(self.mesh.faces), "watertight": bool((counts == 2).all()),
            "components": int(face_components(self.mesh).max() + 1) if len(self.mesh.faces) else 0,
            "texture": self.texture.shape[0],
        }  # fmt: skip

    def write(self, path: Path, look: Look = "lit", colors: Colors = "texture", jpeg: bool = False) -> Path:
        """Write by suffix: .glb, .obj (with .mtl and .png beside it), .ply, .stl or .usdz, each to a temporary name first.

        GLB and OBJ are y-up by convention and readers turn them; so (x, y, z) is stored as (x, z, -y), and Blender shows
        the input's own coordinates. The others store them as they are.

        Args:
            look: lit: a matte surface for a reader's lights; unlit: as photographed. GLB, OBJ and USDZ know the difference.
            colors: GLB alone: in a texture, or at the vertices. OBJ and USDZ have a texture, PLY the vertices, STL none.
            jpeg: GLB alone: a smaller texture, not quite the same.
        """
        mesh, suffix = self.mesh, path.suffix.lower()
        if suffix not in SUFFIXES:
            raise InputError(f"'{path.suffix}' is not a mesh format that can be written. Choose {', '.join(SUFFIXES[:-1])[1:].replace(' .', ' ')} or usdz.")
        if len(mesh.faces) == 0:
            raise InputError("The mesh has no faces, so there is nothing to write. Reconstruct it again, with photos that overlap more.")
        if suffix == ".glb" and colors == "vertices":
            atomic_write(path, glb(mesh.vertices, mesh.vertex_normals, mesh.faces, self.provenance, colors=self.vertex_colors(), look=look))
        elif suffix == ".glb":
            vertices, normals, uv, faces = self.split()
            along = None if self.relief is None else tangents(vertices, normals, uv, faces)
            atomic_write(path, glb(vertices, normals, faces, self.provenance, uv, self.texture, look=look, jpeg=jpeg, relief=self.relief, tangents=along))
        elif suffix == ".ply":
            atomic_write(path, ply(mesh.vertices, mesh.vertex_normals, self.vertex_colors(), mesh.faces))
        elif suffix == ".stl":
            atomic_write(path, stl(mesh.vertices, mesh.faces))
        elif suffix == ".obj":
            write_obj(path, mesh.vertices, mesh.vertex_normals, mesh.faces, self.uv, self.uv_faces, self.texture, look, self.pairs)
        else:
            write_usdz(path, mesh.vertices, mesh.vertex_normals, mesh.faces, self.uv, self.uv_faces, self.texture, look)
        return path

    def split(self) -> tuple[ndarray, ndarray, ndarray, ndarray]:
        """Vertices, normals, uv and faces with one uv a vertex: seams are doubled."""
        v, t = self.mesh.faces.reshape(-1), self.uv_faces.reshape(-1)
        _, first, inverse = np.unique(paired(v, t), return_index=True, return_inverse=True)
        normals = self.mesh.vertex_normals
        return self.mesh.vertices[v[first]], normals[v[first]], self.uv[t[first]], inverse.reshape(-1, 3)

    def vertex_colors(self) -> UInt8[ndarray, "v 3"]:
        """Texture at the vertices, sRGB."""
        uv = np.zeros((len(self.mesh.vertices), 2))
        uv[self.mesh.faces.reshape(-1)] = self.uv[self.uv_faces.reshape(-1)]
        return self.colors_at(uv)

    def colors_at(self, uv: Float[ndarray, "p 2"]) -> UInt8[ndarray, "p 3"]:
        """The nearest texels' colours, sRGB."""
        side = self.texture.shape[0]
        x = np.clip((uv[:, 0] * side).astype(int), 0, side - 1)
        y = np.clip(((1 - uv[:, 1]) * side).astype(int), 0, side - 1)
        return self.texture[y, x]

    def point_cloud(self, count: int, seed: int = 0) -> tuple[Float[ndarray, "p 3"], Float[ndarray, "p 3"], UInt8[ndarray, "p 3"]]:
        """Points spread evenly over the surface, their normals and colours."""
        random = np.random.default_rng(seed)
        areas = self.mesh.face_areas
        face = random.choice(len(areas), count, p=areas / areas.sum())
        a, b = random.random((2, count))
        flip = a + b > 1
        a, b = np.where(flip, 1 - a, a), np.where(flip, 1 - b, b)
        weight = np.stack([1 - a - b, a, b], axis=1)[..., None]
        points = (self.mesh.vertices[self.mesh.faces[face]] * weight).sum(1)
        normals = (self.mesh.vertex_normals[self.mesh.faces[face]] * weight).sum(1)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        return points, normals, self.colors_at((self.uv[self.uv_faces[face]] * weight).sum(1))


def load_asset(path: Path) -> Asset:
    """Read back a GLB that `Asset.write` made.

    Raises:
        InputError: the file is missing or no such GLB.
    """
    import trimesh

    try:
        scene: Any = trimesh.load(path, file_type="glb", process=False)
        mesh = next(iter(scene.geometry.values()))
        texture = np.asarray(mesh.visual.material.baseColorTexture.convert("RGB"))
        v = np.asarray(mesh.vertices, dtype=np.float64)
        faces = np.asarray(mesh.faces, dtype=np.int64)
        uv = np.asarray(mesh.visual.uv, dtype=np.float64)
    except Exception as error:  # trimesh raises many kinds for a damaged file
        raise InputError(f"'{path}' is not a textured GLB that can be read ({error}). Run `lumigraph reconstruct` again.") from None
    if not np.isfinite(v).all() or not len(faces):
        whole = np.asarray(np.isfinite(v).all(axis=1))[faces].all(axis=1)
        if not whole.any():
            raise InputError(f"The mesh in '{path}' has no face with finite coordinates. Run `lumigraph reconstruct` again.")
        faces = faces[whole]
        v = np.where(np.isfinite(v), v, 0)
    # Vertices doubled at seams become one again, so that the surface is connected.
    unique, inverse = np.unique(v, axis=0, return_inverse=True)
    z_up = np.stack([unique[:, 0], -unique[:, 2], unique[:, 1]], axis=1)
    return Asset(Triangles(z_up, inverse.reshape(-1)[faces]), uv, faces, texture)
