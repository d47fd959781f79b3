"""STL, binary: triangles alone, axes as they are, for printing."""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def stl(positions: Float[ndarray, "v 3"], faces: Int[ndarray, "f 3"]) -> bytes:
    """A mesh without colours."""
    corners = positions[faces].astype("<f4")
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    rows = np.zeros(len(faces), np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]))
    rows["normal"] = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    rows["corners"] = corners
    return b"lumigraph".ljust(80, b" ") + np.uint32(len(faces)).tobytes() + rows.tobytes()
