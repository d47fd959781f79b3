"""From photos without poses, and from photos of several sizes, to a mesh."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from data.images import image_size
from data.readers import read_scene
from recon.options import Task
from recon.pipeline import reconstruct
from recon.surface.asset import load_asset
from tests.conftest import SAMPLE, drain, write_sphere_scene
from tests.recon.test_pipeline import OPTIONS


def aligned(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """``source [n, 3]`` moved onto ``target`` by the best similarity (Umeyama 1991)."""
    a, b = source - source.mean(0), target - target.mean(0)
    u, s, v = np.linalg.svd(b.T @ a)
    sign = np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ v))])
    rotation = u @ sign @ v
    scale = float((s * np.diag(sign)).sum() / (a**2).sum())
    return scale * a @ rotation.T + target.mean(0)


@pytest.mark.slow
def test_photos_without_poses_become_a_mesh_and_the_cameras_are_the_true_ones(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    for file in sorted((SAMPLE / "images").iterdir()):
        shutil.copy(file, photos)
    report = drain(reconstruct(Task(photos, tmp_path / "out", OPTIONS)))
    assert report["poses"]["source"] == "colmap"
    assert report["poses"]["registered"] == report["views"]["given"] == 24
    assert report["poses"]["reprojection_error_px"] < 1
    found, truth = read_scene(tmp_path / "out"), read_scene(SAMPLE)
    order = [[Path(n).stem for n in truth.names].index(Path(n).stem) for n in report["cameras"]["names"]]
    centers = truth.posed().centers[order]
    distance = np.linalg.norm(aligned(found.posed().centers, centers) - centers, axis=1)
    assert distance.max() < 0.02 * np.linalg.norm(centers - centers.mean(0), axis=1).mean()
    assert len(load_asset(tmp_path / "out" / "mesh.glb").mesh.faces) > 500


@pytest.mark.slow
def test_photos_of_two_sizes_become_one_mesh(tmp_path: Path) -> None:
    folder = tmp_path / "sphere"
    write_sphere_scene(folder, views=10, size=96)
    path = folder / "transforms.json"
    meta = json.loads(path.read_text())
    for frame in meta["frames"][::2]:
        for name, interpolation in ((frame["file_path"], cv2.INTER_AREA), (frame["mask_path"], cv2.INTER_NEAREST)):
            picture = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(folder / name), cv2.resize(picture, (72, 72), interpolation=interpolation))
        frame.update({"w": 72, "h": 72} | {key: meta[key] * 0.75 for key in ("fl_x", "fl_y", "cx", "cy")})
    path.write_text(json.dumps(meta))
    report = drain(reconstruct(Task(folder, tmp_path / "out", OPTIONS)))
    assert {image_size(p) for p in (tmp_path / "out" / "images").iterdir()} == {(72, 72), (96, 96)}
    assert any("several sizes" in warning for warning in report["warnings"])
    radius = np.linalg.norm(load_asset(tmp_path / "out" / "mesh.glb").mesh.vertices, axis=1)
    assert np.median(np.abs(radius - 1)) < 0.08
