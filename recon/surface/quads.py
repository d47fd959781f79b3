"""A mesh of quads that follow its shape (Jakob et al. 2015, Instant Meshes): what people who sculpt and subdivide want."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.child import command, environment
from data.errors import InputError
from recon.surface.triangles import Triangles

PATIENCE = 600.0
"""Seconds that it may take; 60 000 faces take five."""


def remeshed(mesh: Triangles, count: int) -> tuple[Triangles, int]:
    """About ``count`` quads, each as two triangles cut along its shorter diagonal, one after the other.

    Returns:
        The triangles, and how many pairs of them, from the first on, are a quad: all but what is left of quads that had collapsed.

    Raises:
        InputError: the mesh cannot be remeshed.
    """
    with tempfile.TemporaryDirectory(prefix="lumigraph-quads-") as folder:
        source, target = Path(folder) / "mesh.npz", Path(folder) / "quads.npz"
        # Single precision is all that it has.
        origin, scale = mesh.vertices.mean(0), max(float(np.ptp(mesh.vertices, axis=0).max()), 1e-30)
        np.savez(source, vertices=((mesh.vertices - origin) / scale).astype(np.float32), faces=mesh.faces.astype(np.uint32))
        try:
            done = subprocess.run(
                [*command("recon.surface.quads_worker"), str(source), str(target), str(count)], env=environment(), check=False, timeout=PATIENCE,
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            done = None
        if done is None or done.returncode != 0 or not target.exists():
            raise InputError("This mesh could not be made of quads. Leave --quads out, or give another --faces.")
        with np.load(target, allow_pickle=False) as stored:
            vertices, quads = stored["vertices"].astype(np.float64) * scale + origin, stored["quads"].astype(np.int64)
    if not len(quads) or not np.isfinite(vertices).all():
        raise InputError("This mesh could not be made of quads. Leave --quads out, or give another --faces.")
    return as_triangles(vertices, quads)


def as_triangles(vertices: Float[ndarray, "v 3"], quads: Int[ndarray, "q 4"]) -> tuple[Triangles, int]:
    """See `remeshed`."""
    ordered = np.sort(quads, axis=1)
    whole = (np.diff(ordered, axis=1) > 0).all(1)
    good = quads[whole]
    corner = vertices[good]
    turn = np.linalg.norm(corner[:, 0] - corner[:, 2], axis=1) > np.linalg.norm(corner[:, 1] - corner[:, 3], axis=1)
    good[turn] = np.roll(good[turn], -1, axis=1)
    pairs = np.stack([good[:, [0, 1, 2]], good[:, [0, 2, 3]]], axis=1).reshape(-1, 3)
    rest = [list(dict.fromkeys(q)) for q in quads[~whole].tolist()]
    single = np.array([q for q in rest if len(q) == 3], np.int64).reshape(-1, 3)
    return Triangles(vertices, np.concatenate([pairs, single])).kept(np.arange(len(pairs) + len(single))), len(good)
