"""NeuS / IDR `cameras_sphere.npz` with masks (DTU, BlendedMVS): projection matrices, object inside the unit sphere."""

from pathlib import Path

import numpy as np

from data.cameras import Cameras
from data.errors import InputError
from data.images import image_size
from data.readers.files import image_folder, list_images
from data.scene import Scene, SceneReport

_FILES = ("cameras_sphere.npz", "cameras.npz")


def recognises(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _FILES)


def read(folder: Path) -> Scene:
    """Read projection matrices ``P = world_mat``; the box is the unit sphere's, mapped to the world by ``scale_mat``."""
    path = next(folder / name for name in _FILES if (folder / name).is_file())
    try:
        with np.load(path, allow_pickle=False) as archive:
            matrices = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"'{path.name}' is not a plain NumPy archive ({error}). Export it again.") from None
    paths = list_images(image_folder(folder))
    known = sum(1 for key in matrices if key.startswith("world_mat_") and not key.startswith("world_mat_inv"))
    if known != len(paths) or not paths:
        raise InputError(f"'{path.name}' has {known} cameras for {len(paths)} pictures. Restore the missing pictures or cameras.")
    decomposed = []
    for i, image in enumerate(paths):
        matrix = matrices[f"world_mat_{i}"][:3, :4].astype(np.float64)
        if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix[:, :3])) < 1e-12:
            raise InputError(f"{path.name}: camera of '{image.name}' cannot be used, its matrix is singular or NaN. Remove that view.")
        decomposed.append(decompose_projection(matrix))
    intrinsics = np.stack([k for k, _ in decomposed])
    # These tools put the first pixel's centre at (0, 0); ours is at (0.5, 0.5).
    intrinsics[:, :2, 2] += 0.5
    sizes = np.array([image_size(p) for p in paths])
    cameras = Cameras.pinhole(intrinsics, np.stack([pose for _, pose in decomposed]), sizes)
    box = None
    if "scale_mat_0" in matrices:
        scale = matrices["scale_mat_0"].astype(np.float64)
        box = np.array([[-1.0, -1, -1], [1, 1, 1]]) @ scale[:3, :3].T + scale[:3, 3]
    masks = _masks(folder, len(paths))
    return Scene(
        name=folder.resolve().name,
        root=folder,
        image_paths=tuple(paths),
        cameras=cameras.checked([p.name for p in paths], path.name),
        mask_paths=masks,
        mask_meaning="object" if masks else None,
        box=box,
        report=SceneReport(format="neus"),
    )


def decompose_projection(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``P [3, 4]`` -> camera matrix ``[3, 3]`` and camera-to-world ``[4, 4]`` (OpenCV axes), by RQ decomposition."""
    from scipy.linalg import rq

    k, rotation = rq(matrix[:, :3])
    signs = np.diag(np.sign(np.diag(k)))
    k, rotation = k @ signs, signs @ rotation
    if np.linalg.det(rotation) < 0:
        rotation = -rotation
    pose = np.eye(4)
    pose[:3, :3] = rotation.T
    pose[:3, 3] = -np.linalg.solve(matrix[:, :3], matrix[:, 3])
    return k / k[2, 2], pose


def _masks(folder: Path, count: int) -> tuple[Path | None, ...]:
    for name in ("mask", "masks"):
        if (folder / name).is_dir():
            paths = list_images(folder / name)
            if len(paths) == count:
                return tuple(paths)
            raise InputError(f"The folder '{name}' has {len(paths)} masks for {count} pictures. Restore them or remove the folder.")
    return ()
