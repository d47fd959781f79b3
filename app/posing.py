"""The cameras of a scene's photos, estimated or given, kept as a data set that `reconstruct` reads, and what a page shows of them."""

import shutil
from collections.abc import Generator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from data.cameras import mean_up
from data.files import atomic_write, write_json
from data.options import PoseOptions
from data.points import triangulate, with_points
from data.poses import estimate_poses, upright
from data.progress import Progress
from data.quality import check_registration
from data.readers import read_scene
from data.scene import Scene, SparsePoints
from data.writers import write_transforms

POINTS = 12_000
"""Sparse points that a page shows."""
FEW = 1500
"""Fewer than these look like nothing."""


@dataclass(frozen=True)
class CamerasTask:
    """Whose cameras."""

    project: Path
    """Its `scene/` holds the photos and will hold `transforms.json`; `cameras.json` is written for the page."""
    poses: PoseOptions = field(default_factory=PoseOptions)


def find_cameras(task: CamerasTask) -> Generator[Progress, None, dict[str, Any]]:
    """Cameras of all photos that can be connected; the value is `cameras.json`'s content.

    Raises:
        InputError: no two photos could be connected.
    """
    root = task.project / "scene"
    yield Progress("read", 0.0, "reading photos")
    scene = read_scene(root, root)
    findings, error, source = [], None, scene.report.format
    if scene.cameras is None:
        given = scene
        result = yield from estimate_poses(scene, task.project / ".poses", task.poses)
        scene = upright(result.scene)
        lost = [d.file for d in scene.report.dropped[len(given.report.dropped) :]]
        findings, error, source = check_registration(result.registered, result.given, lost, result.reprojection_error_px), result.reprojection_error_px, "colmap"
        write_transforms(root, replace(scene, root=root, mask_paths=masks_of(root, scene)), ranges=True)
    yield Progress("points", 0.9, "points on the surfaces")
    scene, bare = with_points(scene), scene
    if bare.report.format == "nerfstudio" and bare.points is None and scene.points is not None:
        write_transforms(root, scene, ranges=True)  # so that the reconstruction need not look for them again
    content = _shown(scene) | {
        "source": source, "reprojection_error_px": error, "findings": [asdict(f) for f in findings],
        "dropped": [asdict(d) for d in scene.report.dropped],
    }  # fmt: skip
    write_json(task.project / "cameras.json", content)
    return content


def masks_of(root: Path, scene: Scene) -> tuple[Path | None, ...]:
    """The masks that the `masks` job made, one a photo, or none."""
    paths = [root / "masks" / f"{path.stem}.png" for path in scene.image_paths]
    return tuple(p if p.exists() else None for p in paths) if any(p.exists() for p in paths) else ()


def attach_masks(root: Path) -> None:
    """Name the masks in the scene's `transforms.json`, which is written if the cameras are known in another format; see `detach_masks`."""
    scene = read_scene(root, root)
    if scene.cameras is None:
        return  # `find_cameras` will
    transforms, before = root / "transforms.json", root / ".transforms-before-masks.json"
    if not before.exists():
        atomic_write(before, transforms.read_bytes() if transforms.exists() else b"")
    write_transforms(root, replace(scene, root=root, mask_paths=masks_of(root, scene), mask_meaning=None), ranges=True)


def detach_masks(root: Path) -> None:
    """Delete the masks that `masks` made, and put back what `attach_masks` changed."""
    transforms, before = root / "transforms.json", root / ".transforms-before-masks.json"
    if before.exists():
        before.replace(transforms) if before.stat().st_size else transforms.unlink(missing_ok=True)
        before.unlink(missing_ok=True)
    elif transforms.exists() and (root / "masks").is_dir():
        scene = read_scene(root, root)
        write_transforms(root, replace(scene, mask_paths=()), ranges=True)
    shutil.rmtree(root / "masks", ignore_errors=True)


def _shown(scene: Scene) -> dict[str, Any]:
    from recon.frame import choose_frame, subject_box  # PyTorch, which the studio's server does without

    cameras, points = scene.posed(), scene.points
    if points is None or len(points) < FEW:  # structure from motion keeps the surest alone; to be looked at, more are better
        more = triangulate(scene).points
        points = more if points is None else SparsePoints(np.concatenate([points.xyz, more.xyz]), np.concatenate([points.rgb, more.rgb]))
    box = subject_box(scene, choose_frame(scene))
    pick = slice(0) if points is None else np.random.default_rng(0).permutation(len(points))[:POINTS]
    extent = np.abs(cameras.centers - cameras.centers.mean(0)).max()
    digits = int(np.clip(4 - np.floor(np.log10(max(extent, 1e-9))), 0, 12))
    return {
        "cameras": [
            {"name": name, "camera_to_world": np.round(pose[:3], 6).tolist(), "fov": [float(v) for v in fov]}
            for name, pose, fov in zip(
                scene.names, cameras.camera_to_world, np.degrees(2 * np.arctan(0.5 * cameras.sizes / cameras.intrinsics[:, [0, 1], [0, 1]])), strict=True
            )
        ],
        "points": [] if points is None else np.round(points.xyz[pick], digits).tolist(), "colors": [] if points is None else points.rgb[pick].tolist(),
        "up": mean_up(cameras).tolist(), "box": box.reshape(-1).tolist(),
    }  # fmt: skip
