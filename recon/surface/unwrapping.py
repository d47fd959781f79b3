"""Texture coordinates: charts by xatlas in a child process, or one cell of the atlas for every two faces if that fails."""

import subprocess
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.child import command, environment
from data.progress import Progress
from recon.surface.triangles import Triangles


@dataclass(frozen=True)
class Atlas:
    """Texture coordinates of a mesh; faces keep their order."""

    uv: Float[ndarray, "t 2"]
    faces: Int[ndarray, "f 3"]


class Unwrapper:
    """A child process that waits for one mesh to unwrap; starting it ahead saves the third of a second that it takes to start."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            command("recon.surface.unwrap_worker"), env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip

    def __enter__(self) -> "Unwrapper":
        return self

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        if self._child.stdin is not None:
            with suppress(OSError):
                self._child.stdin.close()

    def unwrap(self, mesh: Triangles, side: int, patience: float | None = None) -> Generator[Progress, None, Atlas]:
        """Charts with little distortion, packed into a square with gutters. Never fails: see `cells`.

        Args:
            side: of the texture, in texels.
            patience: seconds that xatlas may take; by default 60 and 10 for every thousand faces.
        """
        patience = 60 + len(mesh.faces) / 100 if patience is None else patience
        with tempfile.TemporaryDirectory(prefix="lumigraph-unwrap-") as folder:
            source, target = Path(folder) / "mesh.npz", Path(folder) / "atlas.npz"
            # Single precision is all that xatlas has: around the origin and of size one, nothing collapses.
            centred = mesh.vertices - mesh.vertices.mean(0)
            centred = (centred / max(float(np.abs(centred).max()), 1e-30)).astype(np.float32)
            np.savez(source, vertices=centred, faces=mesh.faces.astype(np.uint32), normals=mesh.vertex_normals.astype(np.float32))
            yield from self._ordered(f"{side}\t{source}\t{target}\n", patience)
            atlas = _read(target, len(mesh.faces)) if self._child.returncode == 0 else None
        if atlas is None:
            yield Progress("texture", 0.0, "unwrapping face by face, because no charts were found")
            atlas = cells(len(mesh.faces), side)
        return atlas

    def _ordered(self, order: str, patience: float) -> Generator[Progress, None, None]:
        """Until the child has ended, at most so many seconds."""
        assert self._child.stdin is not None
        with suppress(OSError):  # it has died already
            self._child.stdin.write(order.encode())
            self._child.stdin.close()
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(0.5)
                return
            yield Progress("texture", 0.0, "unwrapping")


def _read(path: Path, faces: int) -> Atlas | None:
    with np.load(path, allow_pickle=False) as stored:
        uv, corners = stored["uv"].astype(np.float64), stored["faces"].astype(np.int64)
    whole = corners.shape == (faces, 3) and np.isfinite(uv).all() and uv.min() >= 0 and uv.max() <= 1
    return Atlas(uv, corners) if whole else None


def cells(faces: int, side: int) -> Atlas:
    """Every two faces share a square cell of the atlas, with a texel between any two: works for whatever mesh, wastes detail."""
    grid = max(int(np.ceil(np.sqrt((faces + 1) // 2))), 1)
    number = np.arange(faces)
    cell, upper = number // 2, number % 2 == 1
    corner = np.stack([cell % grid, cell // grid], axis=1) / grid
    size = 1 / grid
    gap = min(1.0 / side, size / 8)
    low = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) * (size - 4 * gap) + gap
    high = size - low
    triangles = corner[:, None] + np.where(upper[:, None, None], high, low)
    return Atlas(triangles.reshape(-1, 2), np.arange(3 * faces).reshape(-1, 3))
