"""Small scenes with known geometry, made on the spot."""

import json
from pathlib import Path

import numpy as np
import pytest

from data.cameras import Cameras, intrinsic_matrix, look_at, opencv_to_opengl
from data.images import save_image

SHARED = Path(__file__).resolve().parents[2] / "shared" / "scenes"
SAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "still_life"


def ring_of_cameras(count: int, size: int = 48, distance: float = 3.0) -> Cameras:
    """Cameras around the origin, z up, at two heights."""
    poses = []
    for i in range(count):
        angle = 2 * np.pi * i / count
        eye = distance * np.array([np.cos(angle), np.sin(angle), 0.25 + 0.35 * (i % 2)])
        poses.append(look_at(eye, np.zeros(3), np.array([0.0, 0.0, 1.0])))
    k = intrinsic_matrix(1.1 * size, 1.1 * size, size / 2, size / 2)
    return Cameras.pinhole(np.tile(k, (count, 1, 1)), np.stack(poses), np.full((count, 2), size))


def sphere_picture(cameras: Cameras, view: int, radius: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Picture, mask and z-depth of a patterned unit sphere at the origin on grey."""
    width, height = cameras.sizes[view]
    pixels = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), -1).reshape(-1, 2)
    eye = cameras.centers[view]
    direction = cameras.unproject(view, pixels, np.ones(len(pixels))) - eye
    length = np.linalg.norm(direction, axis=1)
    unit = direction / length[:, None]
    b = unit @ eye
    discriminant = b**2 - (eye @ eye - radius**2)
    hit = discriminant > 0
    t = -b - np.sqrt(np.maximum(discriminant, 0))
    point = eye + t[:, None] * unit
    broad = np.stack([np.sin(4 * point[:, 0]), np.sin(5 * point[:, 1] + 1), np.sin(6 * point[:, 2])], -1)
    fine = np.sin(13 * point[:, 0] + 3 * np.sin(5 * point[:, 2])) * np.sin(15 * point[:, 1]) * np.sin(14 * point[:, 2] + 1)
    pattern = 0.5 + 0.3 * broad + 0.2 * fine[:, None]
    color = np.where(hit[:, None], 0.15 + 0.7 * pattern, 0.5)
    picture = (color * 255).round().astype(np.uint8).reshape(height, width, 3)
    depth = np.where(hit, t / length, 0).reshape(height, width)
    return picture, hit.reshape(height, width), depth.astype(np.float32)


def write_sphere_scene(folder: Path, views: int = 8, size: int = 48, masks: bool = True) -> Cameras:
    """A posed data set of the sphere in nerfstudio's format."""
    cameras = ring_of_cameras(views, size)
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    frames = []
    for i in range(views):
        picture, mask, _ = sphere_picture(cameras, i)
        save_image(folder / "images" / f"{i:03d}.png", picture)
        frame = {"file_path": f"images/{i:03d}.png", "transform_matrix": opencv_to_opengl(cameras.camera_to_world[i]).tolist()}
        if masks:
            save_image(folder / "masks" / f"{i:03d}.png", mask.astype(np.uint8) * 255)
            frame["mask_path"] = f"masks/{i:03d}.png"
        frames.append(frame)
    k = cameras.intrinsics[0]
    meta = {"w": size, "h": size, "fl_x": k[0, 0], "fl_y": k[1, 1], "cx": k[0, 2], "cy": k[1, 2], "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(meta))
    return cameras


@pytest.fixture
def sphere_scene(tmp_path: Path) -> Path:
    write_sphere_scene(tmp_path / "sphere")
    return tmp_path / "sphere"


@pytest.fixture
def shared_scenes() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the real scenes are not beside this checkout")
    return SHARED


def drain(generator):
    """The value of a generator."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def sample_result(folder: Path, every: int) -> Path:
    """A reconstruction of the bundled sample at a glance, of every so-manieth photo."""
    import shutil

    from data.progress import drained
    from data.readers import read_scene
    from data.writers import write_transforms
    from recon.options import ReconstructOptions, Task
    from recon.pipeline import reconstruct

    few, out = folder / "few", folder / "result"
    shutil.copytree(SAMPLE, few)
    scene = read_scene(few, folder / "input")
    write_transforms(few, scene.select(range(0, len(scene), every)))
    drained(reconstruct(Task(few, out, ReconstructOptions(quality="glance", engine="general", device="cpu", turntable=False))))
    return out
