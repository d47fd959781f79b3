"""`Asset`: a textured mesh in the input's coordinates, and the files it can be written to."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image

from data.errors import InputError
from data.files import atomic_write
from recon.surface.triangles import Triangles, paired

Format = Literal["glb", "obj", "ply"]


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

    def write(self, path: Path) -> Path:
        """Write by suffix: .glb, .obj (with .mtl and .png beside it) or .ply, each to a temporary name first.

        GLB and OBJ are y-up by convention and readers turn them; so (x, y, z) is stored as (x, z, -y), and Blender shows
        the input's own coordinates. PLY stores them as they are.
        """
        writers = {".glb": self._glb, ".obj": self._obj, ".ply": self._ply}
        if path.suffix not in writers:
            raise InputError(f"'{path.suffix}' is not a mesh format that can be written. Choose glb, obj or ply.")
        writers[path.suffix](path)
        return path

    def _split(self) -> tuple[ndarray, ndarray, ndarray, ndarray]:
        """Vertices, normals, uv and faces with one uv a vertex: seams are doubled."""
        v, t = self.mesh.faces.reshape(-1), self.uv_faces.reshape(-1)
        _, first, inverse = np.unique(paired(v, t), return_index=True, return_inverse=True)
        normals = self.mesh.vertex_normals
        return self.mesh.vertices[v[first]], normals[v[first]], self.uv[t[first]], inverse.reshape(-1, 3)

    def _glb(self, path: Path) -> None:
        import trimesh
        from trimesh.visual import TextureVisuals
        from trimesh.visual.material import PBRMaterial

        vertices, normals, uv, faces = self._split()
        picture = Image.fromarray(self.texture)
        picture.save = partial(picture.save, compress_level=3)  # type: ignore[method-assign]  # a third of the time for 6 % more bytes
        material = PBRMaterial(
            name="photographed", baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0,
            doubleSided=True,
        )  # fmt: skip
        mesh = trimesh.Trimesh(
            y_up(vertices), faces, vertex_normals=y_up(normals), process=False, visual=TextureVisuals(uv=uv, material=material)
        )
        mesh.metadata["name"] = "lumigraph"
        scene: Any = trimesh.Scene()
        scene.add_geometry(mesh, node_name="lumigraph", geom_name="lumigraph")
        scene.metadata.update({"lumigraph": json.dumps(dict(self.provenance))})
        atomic_write(path, scene.export(file_type="glb", include_normals=True))

    def _obj(self, path: Path) -> None:
        vertices, normals = y_up(self.mesh.vertices), y_up(self.mesh.vertex_normals)
        buffer = io.StringIO()
        buffer.write(f"# y-up; (x, y, z) of the input is (x, z, -y) here\nmtllib {path.stem}.mtl\nusemtl photographed\n")
        np.savetxt(buffer, vertices, fmt="v %.9g %.9g %.9g")
        np.savetxt(buffer, self.uv, fmt="vt %.7f %.7f")
        np.savetxt(buffer, normals, fmt="vn %.5f %.5f %.5f")
        v, t = self.mesh.faces + 1, self.uv_faces + 1
        corners = np.stack([v[:, 0], t[:, 0], v[:, 0], v[:, 1], t[:, 1], v[:, 1], v[:, 2], t[:, 2], v[:, 2]], axis=1)
        np.savetxt(buffer, corners, fmt="f %d/%d/%d %d/%d/%d %d/%d/%d")
        png = io.BytesIO()
        Image.fromarray(self.texture).save(png, format="PNG")
        atomic_write(path.with_suffix(".png"), png.getvalue())
        material = f"newmtl photographed\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nNs 0\nillum 1\nmap_Kd {path.stem}.png\n"
        atomic_write(path.with_suffix(".mtl"), material.encode())
        atomic_write(path, buffer.getvalue().encode())

    def _ply(self, path: Path) -> None:
        colors = self.vertex_colors()
        vertex = np.dtype([("xyz", "<f8", 3), ("normal", "<f4", 3), ("rgb", "u1", 3)])
        rows = np.empty(len(self.mesh.vertices), vertex)
        rows["xyz"], rows["normal"], rows["rgb"] = self.mesh.vertices, self.mesh.vertex_normals, colors
        face = np.dtype([("n", "u1"), ("v", "<i4", 3)])
        corners = np.empty(len(self.mesh.faces), face)
        corners["n"], corners["v"] = 3, self.mesh.faces
        names = [("double", "xyz"), ("float", ("nx", "ny", "nz")), ("uchar", ("red", "green", "blue"))]
        properties = "".join(f"property {kind} {name}\n" for kind, group in names for name in group)
        header = (
            f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n{properties}"
            f"element face {len(corners)}\nproperty list uchar int vertex_indices\nend_header\n"
        )
        atomic_write(path, header.encode() + rows.tobytes() + corners.tobytes())

    def vertex_colors(self) -> UInt8[ndarray, "v 3"]:
        """Texture at the vertices, sRGB."""
        side = self.texture.shape[0]
        uv = np.zeros((len(self.mesh.vertices), 2))
        uv[self.mesh.faces.reshape(-1)] = self.uv[self.uv_faces.reshape(-1)]
        x = np.clip((uv[:, 0] * side).astype(int), 0, side - 1)
        y = np.clip(((1 - uv[:, 1]) * side).astype(int), 0, side - 1)
        return self.texture[y, x]


def y_up(vectors: Float[ndarray, "n 3"]) -> Float[ndarray, "n 3"]:
    """Z-up -> y-up: (x, y, z) -> (x, z, -y)."""
    return np.stack([vectors[:, 0], vectors[:, 2], -vectors[:, 1]], axis=1)


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
    # Vertices doubled at seams become one again, so that the surface is connected.
    unique, inverse = np.unique(v, axis=0, return_inverse=True)
    z_up = np.stack([unique[:, 0], -unique[:, 2], unique[:, 1]], axis=1)
    return Asset(Triangles(z_up, inverse.reshape(-1)[faces]), uv, faces, texture)
