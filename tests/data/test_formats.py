"""Every format: written, read, the same; and the real sets beside this checkout."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from data.cameras import Cameras, opencv_to_opengl, rotation_to_quaternion_wxyz
from data.images import load_rgba, save_image
from data.masks import masks_mean
from data.readers import read_scene
from data.readers.ply import read_points
from data.scene import Scene, SparsePoints
from data.writers import write_colmap, write_points, write_transforms
from tests.conftest import ring_of_cameras, sphere_picture

RANDOM = np.random.default_rng(0)


def scene_with(folder: Path, lens: str) -> Scene:
    cameras = ring_of_cameras(4)
    cameras = replace(cameras, lenses=(lens,) * 4)
    if lens != "pinhole":
        cameras.distortion[:, :4] = RANDOM.uniform(-0.02, 0.02, (4, 4))
    (folder / "images").mkdir(parents=True)
    paths = []
    for i in range(4):
        paths.append(folder / "images" / f"{i}.png")
        save_image(paths[-1], sphere_picture(ring_of_cameras(4), i)[0])
    points = SparsePoints(RANDOM.normal(size=(60, 3)), RANDOM.integers(0, 255, (60, 3)).astype(np.uint8))
    return Scene("round trip", folder, tuple(paths), cameras, points=points, splits={"train": (0, 1, 3), "test": (2,)})


def assert_same_cameras(a: Cameras, b: Cameras) -> None:
    np.testing.assert_allclose(a.intrinsics, b.intrinsics, atol=1e-9)
    np.testing.assert_allclose(a.camera_to_world, b.camera_to_world, atol=1e-9)
    np.testing.assert_allclose(a.distortion, b.distortion, atol=1e-12)
    assert a.lenses == b.lenses
    assert (a.sizes == b.sizes).all()


@pytest.mark.parametrize("lens", ["pinhole", "opencv", "fisheye"])
def test_transforms_json_round_trip(tmp_path: Path, lens: str) -> None:
    scene = scene_with(tmp_path, lens)
    scene = replace(scene, applied_transform=np.eye(4)[[1, 0, 2]])
    write_transforms(tmp_path, scene)
    again = read_scene(tmp_path)
    assert_same_cameras(scene.posed(), again.posed())
    assert again.splits == scene.splits
    assert scene.points is not None
    assert again.points is not None
    np.testing.assert_array_equal(again.points.xyz, scene.points.xyz)
    np.testing.assert_array_equal(again.points.rgb, scene.points.rgb)
    np.testing.assert_array_equal(again.applied_transform, scene.applied_transform)
    first = (tmp_path / "transforms.json").read_bytes()
    write_transforms(tmp_path, again)
    assert (tmp_path / "transforms.json").read_bytes() == first


@pytest.mark.parametrize("lens", ["pinhole", "opencv", "fisheye"])
def test_colmap_binary_round_trip(tmp_path: Path, lens: str) -> None:
    scene = replace(scene_with(tmp_path, lens), root=tmp_path / "images")
    write_colmap(tmp_path, scene)
    again = read_scene(tmp_path)
    assert again.report.format == "colmap"
    assert_same_cameras(scene.posed(), again.posed())
    assert again.names == scene.names
    assert scene.points is not None
    assert again.points is not None
    np.testing.assert_array_equal(again.points.xyz, scene.points.xyz)


@pytest.mark.parametrize("with_rigs", [False, True])
def test_colmap_text_is_read(tmp_path: Path, with_rigs: bool) -> None:
    scene = scene_with(tmp_path, "pinhole")
    model = tmp_path / "sparse" / "0"
    model.mkdir(parents=True)
    k = scene.posed().intrinsics[0]
    (model / "cameras.txt").write_text(f"# cameras\n1 PINHOLE 48 48 {k[0, 0]} {k[1, 1]} {k[0, 2]} {k[1, 2]}\n")
    lines = ["# images"]
    for i, pose in enumerate(scene.posed().world_to_camera):
        q = rotation_to_quaternion_wxyz(pose[:3, :3])
        lines += [f"{i + 1} {' '.join(map(str, [*q, *pose[:3, 3]]))} 1 {i}.png", "1.0 2.0 -1 3.0 4.0 7"]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    (model / "points3D.txt").write_text("# points\n7 0.1 0.2 0.3 10 20 30 0.5 1 0\n")
    if with_rigs:
        (model / "rigs.txt").write_text("# rigs\n1 1 CAMERA 1\n")
        (model / "frames.txt").write_text("# frames\n")
    again = read_scene(tmp_path)
    np.testing.assert_allclose(again.posed().camera_to_world, scene.posed().camera_to_world, atol=1e-9)
    assert again.points is not None
    np.testing.assert_allclose(again.points.xyz, [[0.1, 0.2, 0.3]])


def test_ply_points_round_trip(tmp_path: Path) -> None:
    points = SparsePoints(RANDOM.normal(size=(10, 3)) * 1e5, RANDOM.integers(0, 255, (10, 3)).astype(np.uint8))
    write_points(tmp_path / "p.ply", points)
    again = read_points(tmp_path / "p.ply")
    np.testing.assert_array_equal(again.xyz, points.xyz)
    np.testing.assert_array_equal(again.rgb, points.rgb)


def test_llff_is_read(tmp_path: Path) -> None:
    scene = scene_with(tmp_path, "pinhole")
    rows = []
    for pose in scene.posed().camera_to_world:
        right, down, forward, center = pose[:3, 0], pose[:3, 1], pose[:3, 2], pose[:3, 3]
        matrix = np.stack([down, right, -forward, center, [48, 48, scene.posed().intrinsics[0, 0, 0]]], 1)
        rows.append([*matrix.reshape(-1), 1.5, 4.5])
    np.save(tmp_path / "poses_bounds.npy", np.array(rows))
    again = read_scene(tmp_path)
    assert_same_cameras(again.posed(), scene.posed())
    np.testing.assert_allclose(again.near_far, [[1.5, 4.5]] * 4)


def test_neus_is_read_with_masks_and_box(tmp_path: Path) -> None:
    scene = scene_with(tmp_path, "pinhole")
    (tmp_path / "mask").mkdir()
    arrays = {}
    for i in range(4):
        k = scene.posed().intrinsics[i].copy()
        k[:2, 2] -= 0.5
        matrix = np.eye(4)
        matrix[:3] = -2 * k @ scene.posed().world_to_camera[i, :3]  # scale and sign are free
        arrays |= {f"world_mat_{i}": matrix, f"scale_mat_{i}": np.diag([2.0, 2, 2, 1])}
        save_image(tmp_path / "mask" / f"{i}.png", sphere_picture(scene.posed(), i)[1].astype(np.uint8) * 255)
    np.savez(tmp_path / "cameras_sphere.npz", **arrays)
    again = read_scene(tmp_path)
    np.testing.assert_allclose(again.posed().camera_to_world, scene.posed().camera_to_world, atol=1e-6)
    np.testing.assert_allclose(again.posed().intrinsics, scene.posed().intrinsics, atol=1e-6)
    np.testing.assert_allclose(again.box, [[-2, -2, -2], [2, 2, 2]])
    assert masks_mean(again) == "object"


def test_middlebury_is_read(tmp_path: Path) -> None:
    scene = scene_with(tmp_path, "pinhole")
    lines = ["4"]
    for i in range(4):
        k, pose = scene.posed().intrinsics[i].copy(), scene.posed().world_to_camera[i]
        k[:2, 2] -= 0.5
        numbers = [*k.reshape(-1), *pose[:3, :3].reshape(-1), *pose[:3, 3]]
        lines.append(f"{i}.png {' '.join(map(repr, map(float, numbers)))}")
    (tmp_path / "sphere_par.txt").write_text("\n".join(lines) + "\n")
    assert_same_cameras(read_scene(tmp_path).posed(), scene.posed())
    assert read_scene(tmp_path).box is None
    (tmp_path / "README.txt").write_text("The (tight) bounding box for it is\n(-1 -1.0 -1e0)\n(1 1 0.5)\nand (this) is no box.")
    np.testing.assert_allclose(read_scene(tmp_path).box, [[-1.1, -1.1, -1.1], [1.1, 1.1, 0.6]])


def test_blender_synthetic_splits_and_alpha(tmp_path: Path) -> None:
    cameras = ring_of_cameras(4)
    for split, views in (("train", (0, 1, 2)), ("test", (3,))):
        frames = []
        (tmp_path / split).mkdir()
        for i in views:
            picture, mask, _ = sphere_picture(cameras, i)
            save_image(tmp_path / split / f"r_{i}.png", np.dstack([picture, mask.astype(np.uint8) * 255]))
            frames.append({"file_path": f"./{split}/r_{i}", "transform_matrix": opencv_to_opengl(cameras.camera_to_world[i]).tolist()})
        angle = 2 * np.arctan(24 / cameras.intrinsics[0, 0, 0])
        (tmp_path / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": frames}))
    scene = read_scene(tmp_path)
    assert scene.splits == {"train": (0, 1, 2), "test": (3,)}
    assert scene.mask_meaning == "object"
    np.testing.assert_allclose(scene.posed().intrinsics, cameras.intrinsics, atol=1e-6)


def test_a_video_gives_its_sharpest_frames_evenly_spread(tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 20, (96, 96))
    noise = RANDOM.integers(0, 255, (96, 96, 3)).astype(np.uint8)
    for i in range(30):
        frame = np.roll(noise, i, axis=1)
        writer.write(frame if i % 3 == 1 else cv2.GaussianBlur(frame, (0, 0), 3))
    writer.release()
    from data.readers import video

    scene = video.read(tmp_path / "clip.mp4", tmp_path / "frames", frames=10)
    assert len(scene) == 10
    from data.quality import sharpness

    scores = [sharpness(cv2.cvtColor(scene.image(i), cv2.COLOR_RGB2GRAY)) for i in range(10)]
    assert min(scores) > 0.5 * max(scores)


@pytest.mark.parametrize("kind", ["rotated.jpg", "deep.png", "deep16.tiff", "cmyk.jpg", "grey.png", "photo.webp", "photo.heic", "palette.png"])
def test_odd_photos_become_upright_rgb(tmp_path: Path, kind: str) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :15] = (200, 60, 30)
    image, path = Image.fromarray(picture), tmp_path / kind
    if kind == "rotated.jpg":
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(path, exif=exif, quality=95)
    elif kind.startswith("deep"):
        Image.fromarray((picture[..., 0].astype(np.uint16)) * 257).save(path)
    elif kind == "cmyk.jpg":
        image.convert("CMYK").save(path)
    elif kind == "grey.png":
        image.convert("L").save(path)
    elif kind == "palette.png":
        image.convert("P").save(path)
    elif kind == "photo.heic":
        import pillow_heif

        pillow_heif.register_heif_opener()
        image.save(path)
    else:
        image.save(path)
    rgb, alpha = load_rgba(path)
    assert rgb.dtype == np.uint8
    assert rgb.shape == ((30, 20, 3) if kind == "rotated.jpg" else (20, 30, 3))
    assert alpha is None
    assert rgb[2, -2 if kind == "rotated.jpg" else 2, 0] > 60


def test_a_zip_with_a_folder_inside_is_read(tmp_path: Path) -> None:
    scene_with(tmp_path / "in", "pinhole")
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        for path in sorted((tmp_path / "in" / "images").iterdir()):
            archive.write(path, f"holiday/{path.name}")
        archive.writestr("__MACOSX/._0.png", b"junk")
    assert len(read_scene(tmp_path / "photos.zip", tmp_path / "work")) == 4


def test_pictures_beside_the_file_are_found_without_their_folder(sphere_scene: Path) -> None:
    for path in (sphere_scene / "images").iterdir():
        path.rename(sphere_scene / path.name)
    scene = read_scene(sphere_scene)
    assert len(scene) == 8
    assert not scene.report.dropped


def test_missing_frames_are_reported_not_fatal(sphere_scene: Path) -> None:
    (sphere_scene / "images" / "003.png").unlink()
    scene = read_scene(sphere_scene)
    assert len(scene) == 7
    assert [d.file for d in scene.report.dropped] == ["images/003.png"]


@pytest.mark.parametrize(
    ("name", "views", "kind", "masks"),
    [
        ("fox", 50, "nerfstudio", None), ("llff_fern", 20, "llff", None), ("dtu_scan24", 49, "neus", "object"),
        ("middlebury_templeSparseRing", 16, "middlebury", None), ("kitchen_unposed", 25, "photos", None),
        ("objects_gt/gso_black_bowl", 20, "nerfstudio", "object"),
    ],
)  # fmt: skip
def test_real_sets_are_found_by_looking(shared_scenes: Path, name: str, views: int, kind: str, masks: str | None) -> None:
    scene = read_scene(shared_scenes / name)
    assert (len(scene), scene.report.format, masks_mean(scene)) == (views, kind, masks)


@pytest.mark.parametrize("name", ["fox", "llff_fern", "dtu_scan24", "middlebury_templeSparseRing"])
def test_real_poses_agree_with_the_pictures(shared_scenes: Path, name: str) -> None:
    """Matched features lie on their epipolar lines: axes, signs and scales of the reader are right."""
    from data.points import triangulate

    scene = read_scene(shared_scenes / name)
    found = triangulate(scene.select(range(2)))  # neighbours: with wider baselines wrong matches would set the median
    assert found.epipolar_error_px < 1.5
    assert len(found.points) > 10


