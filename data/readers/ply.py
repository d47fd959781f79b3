"""PLY point clouds."""

from pathlib import Path
from typing import Any

import numpy as np

from data.errors import InputError
from data.scene import SparsePoints


def read_points(path: Path) -> SparsePoints:
    """Positions and, if present, colours (white otherwise)."""
    import trimesh

    try:
        cloud: Any = trimesh.load(path, process=False)
        xyz = np.asarray(cloud.vertices, dtype=np.float64)
    except Exception as error:  # trimesh raises many kinds for a damaged file
        raise InputError(f"'{path.name}' is not a PLY file that can be read ({error}). Export it again.") from None
    colors = getattr(cloud, "colors", None)
    rgb = np.asarray(colors, dtype=np.uint8)[:, :3] if colors is not None and len(colors) == len(xyz) else np.full((len(xyz), 3), 255, np.uint8)
    return SparsePoints(xyz, rgb)
