"""PLY, binary, with normals and sRGB colours at the vertices: axes as they are, double precision."""

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray


def ply(positions: Float[ndarray, "v 3"], normals: Float[ndarray, "v 3"], colors: UInt8[ndarray, "v 3"], faces: Int[ndarray, "f 3"] | None = None) -> bytes:
    """A mesh, or a point cloud where there are no faces."""
    vertex = np.dtype([("xyz", "<f8", 3), ("normal", "<f4", 3), ("rgb", "u1", 3)])
    rows = np.empty(len(positions), vertex)
    rows["xyz"], rows["normal"], rows["rgb"] = positions, normals, colors
    names = [("double", "xyz"), ("float", ("nx", "ny", "nz")), ("uchar", ("red", "green", "blue"))]
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(rows)}\n"
    header += "".join(f"property {kind} {name}\n" for kind, group in names for name in group)
    if faces is None:
        return (header + "end_header\n").encode() + rows.tobytes()
    corners = np.empty(len(faces), np.dtype([("n", "u1"), ("v", "<i4", 3)]))
    corners["n"], corners["v"] = 3, faces
    header += f"element face {len(corners)}\nproperty list uchar int vertex_indices\nend_header\n"
    return header.encode() + rows.tobytes() + corners.tobytes()
