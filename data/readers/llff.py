"""LLFF `poses_bounds.npy`: 17 numbers a photo, in the sorted order of the pictures."""

from pathlib import Path

import numpy as np

from data.cameras import Cameras, intrinsic_matrix, llff_to_opencv
from data.errors import InputError
from data.images import image_size
from data.readers.files import image_folder, list_images, load_array
from data.scene import Scene, SceneReport


def recognises(folder: Path) -> bool:
    return (folder / "poses_bounds.npy").is_file()


def read(folder: Path) -> Scene:
    """Read poses, shared focal length and the near/far depth of every view."""
    rows = load_array(folder / "poses_bounds.npy")
    paths = list_images(image_folder(folder))
    if rows.ndim != 2 or rows.shape[1] != 17:
        raise InputError(f"poses_bounds.npy must hold 17 numbers a photo, not shape {rows.shape}. Export it again.")
    if len(rows) != len(paths):
        raise InputError(f"poses_bounds.npy has {len(rows)} rows for {len(paths)} pictures. Restore the missing pictures or rows.")
    matrices = rows[:, :15].reshape(-1, 3, 5).astype(np.float64)
    sizes = np.array([image_size(path) for path in paths])
    intrinsics = []
    for (height, width, focal), (true_width, true_height) in zip(matrices[:, :, 4], sizes, strict=True):
        scale = true_width / width
        if abs(true_height / (height * scale) - 1) > 0.02:
            raise InputError("poses_bounds.npy and the pictures differ in aspect ratio. Use the pictures it was made from.")
        intrinsics.append(intrinsic_matrix(focal * scale, focal * scale, true_width / 2, true_height / 2))
    cameras = Cameras.pinhole(np.stack(intrinsics), llff_to_opencv(matrices[:, :, :4]), sizes)
    return Scene(
        name=folder.resolve().name,
        root=folder,
        image_paths=tuple(paths),
        cameras=cameras.checked([p.name for p in paths], "poses_bounds.npy"),
        near_far=rows[:, 15:17].astype(np.float64),
        report=SceneReport(format="llff"),
    )
