"""Structure from motion as a victim: do the poses survive?"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from attacks.case import Case
from attacks.victims.files import written
from data.cameras import Cameras
from data.errors import InputError
from data.poses import estimate_poses
from data.progress import drained


@dataclass(frozen=True)
class PoseScore:
    """What structure from motion made of a case's photos."""

    registered: int
    given: int
    reprojection_error: float | None
    """Pixels; None where nothing was registered, likewise the next two."""
    rotation: float | None
    """Mean error of the cameras' rotations after the best similarity to the true poses, degrees."""
    position: float | None
    """Mean error of the cameras' positions, as a share of their mean distance from their middle."""
    points: int = 0


def poses_survive(case: Case, images: Float[Tensor, "s 3 h w"]) -> PoseScore:
    """Estimate the poses of changed photos (in a child process) and compare them with the true ones."""
    with tempfile.TemporaryDirectory(prefix="lumigraph-victim-") as folder:
        scene = written(case, images, Path(folder) / "photos")
        try:
            result = drained(estimate_poses(scene, Path(folder) / "sfm"))
        except InputError:  # nothing could be connected: that is a finding, not a fault
            return PoseScore(0, len(case), None, None, None)
        kept = [int(Path(name).stem) for name in result.scene.names]
        rotation, position = pose_errors(result.scene.posed(), case.cameras.select(kept))
        points = 0 if result.scene.points is None else len(result.scene.points)
        return PoseScore(result.registered, result.given, result.reprojection_error_px, rotation, position, points)


def pose_errors(found: Cameras, truth: Cameras) -> tuple[float | None, float | None]:
    """Mean rotation error in degrees and position error as a share of the spread, after the best similarity (Umeyama 1991)."""
    if len(found) < 3:
        return None, None
    a, b = found.centers, truth.centers
    scale, turn, shift = umeyama(a, b)
    spread = float(np.linalg.norm(b - b.mean(0), axis=1).mean())
    position = np.linalg.norm(scale * a @ turn.T + shift - b, axis=1).mean() / max(spread, 1e-12)
    relative = np.einsum("nij,nkj->nik", turn @ found.camera_to_world[:, :3, :3], truth.camera_to_world[:, :3, :3])
    angle = np.degrees(np.arccos(np.clip((np.trace(relative, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    return float(angle.mean()), float(position)


def umeyama(a: Float[ndarray, "n 3"], b: Float[ndarray, "n 3"]) -> tuple[float, Float[ndarray, "3 3"], Float[ndarray, "3"]]:
    """Scale, rotation and shift that bring points ``a`` nearest to points ``b``."""
    x, y = a - a.mean(0), b - b.mean(0)
    u, s, vt = np.linalg.svd(y.T @ x / len(a))
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    turn = u @ sign @ vt
    scale = float((s * np.diag(sign)).sum() / max(float((x**2).sum(1).mean()), 1e-12))
    return scale, turn, b.mean(0) - scale * turn @ a.mean(0)
