"""PLY point clouds, binary, sRGB colour bytes."""

from pathlib import Path

import numpy as np

from data.files import atomic_write
from data.scene import SparsePoints


def write_points(path: Path, points: SparsePoints) -> None:
    """Write positions (float64, no rounding) and colours."""
    record = np.dtype([("xyz", "<f8", 3), ("rgb", "u1", 3)])
    rows = np.empty(len(points), dtype=record)
    rows["xyz"], rows["rgb"] = points.xyz, points.rgb
    axes = "".join(f"property double {a}\n" for a in "xyz") + "".join(f"property uchar {c}\n" for c in ("red", "green", "blue"))
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(points)}\n{axes}end_header\n"
    atomic_write(path, header.encode() + rows.tobytes())
