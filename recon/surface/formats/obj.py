"""OBJ with MTL and PNG: y-up, as its readers expect; (x, y, z) is stored as (x, z, -y)."""

import io
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from PIL import Image

from data.files import atomic_write
from recon.surface.formats.glb import Look


def write_obj(
    path: Path, positions: Float[ndarray, "v 3"], normals: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"], uv: Float[ndarray, "t 2"],
    uv_faces: Int[ndarray, "f 3"], texture: UInt8[ndarray, "s s 3"], look: Look,
    pairs: int = 0,
) -> None:  # fmt: skip
    """Write ``path`` and, beside it, the material and the texture; the mesh last, so that what it names is there.

    Args:
        pairs: so many pairs of faces (a, b, c) (a, c, d), from the first on, are a quad each; those that a seam divides stay two triangles.
    """
    turned, across = (np.stack([v[:, 0], v[:, 2], -v[:, 1]], axis=1) for v in (positions, normals))
    name = path.stem.replace(" ", "_")
    buffer = io.StringIO()
    buffer.write(f"# y-up; (x, y, z) of the input is (x, z, -y) here\nmtllib {name}.mtl\nusemtl photographed\n")
    np.savetxt(buffer, turned, fmt="v %.9g %.9g %.9g")
    np.savetxt(buffer, uv, fmt="vt %.7f %.7f")
    np.savetxt(buffer, across, fmt="vn %.5f %.5f %.5f")
    v, t = faces + 1, uv_faces + 1
    first, second = slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)
    whole = (t[first][:, [0, 2]] == t[second][:, [0, 1]]).all(1)
    _write_faces(buffer, np.concatenate([v[first], v[second][:, 2:]], axis=1)[whole], np.concatenate([t[first], t[second][:, 2:]], axis=1)[whole])
    single = np.ones(len(faces), bool)
    single[: 2 * pairs] = np.repeat(~whole, 2)
    _write_faces(buffer, v[single], t[single])
    png = io.BytesIO()
    Image.fromarray(texture).save(png, format="PNG")
    atomic_write(path.with_name(f"{name}.png"), png.getvalue())
    light = "illum 0" if look == "unlit" else "illum 1"
    material = f"newmtl photographed\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nNs 0\n{light}\nmap_Kd {name}.png\n"
    atomic_write(path.with_name(f"{name}.mtl"), material.encode())
    atomic_write(path, buffer.getvalue().encode())


def _write_faces(buffer: io.StringIO, v: Int[ndarray, "f k"], t: Int[ndarray, "f k"]) -> None:
    """Corners as position/texture/normal."""
    corners = np.stack([v, t, v], axis=2).reshape(len(v), 3 * v.shape[1])
    np.savetxt(buffer, corners, fmt="f " + " ".join(["%d/%d/%d"] * v.shape[1]))
