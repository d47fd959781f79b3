"""What is uploaded becomes a scene: photos, zips, videos, data sets; upright, under safe names, with findings."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.intake import IntakeTask, intake, left_out
from app.projects import Project, Projects
from data.errors import InputError
from data.sniff import kind_of, suffix_of
from tests.conftest import drain, ring_of_cameras, sphere_picture, write_sphere_scene


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Projects(tmp_path / "projects").create("ann", "One")


def photo(path: Path, seed: int = 0, size: tuple[int, int] = (80, 60), **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 255, (size[1] // 4, size[0] // 4, 3)).astype(np.uint8)
    Image.fromarray(values).resize(size).save(path, **options)
    return path


def test_photos_are_told_by_content_and_named_by_us(project: Project) -> None:
    incoming = project.folder / "incoming"
    photo(incoming / "0" / "a.png")
    (incoming / "0" / "a.png").rename(incoming / "0" / "a.jpg")  # a PNG that says it is a JPEG
    photo(incoming / "1" / "a.jpg", 1)
    photo(incoming / "2" / "Küche.webp", 2)
    content = drain(intake(IntakeTask(project.folder)))
    assert sorted(p.name for p in (project.folder / "scene" / "images").iterdir()) == ["Küche.webp", "a.jpg", "a.png"]
    assert content["format"] == "photos"
    assert not content["posed"]
    assert all((project.folder / p["thumb"]).exists() for p in content["photos"])
    assert not incoming.exists()


def test_photos_stand_upright(project: Project) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned
    photo(project.folder / "incoming" / "0" / "a.jpg", 0, (80, 60), exif=exif)
    photo(project.folder / "incoming" / "1" / "b.jpg", 1, (60, 80))
    content = drain(intake(IntakeTask(project.folder)))
    assert [(p["width"], p["height"]) for p in content["photos"]] == [(60, 80), (60, 80)]
    assert Image.open(project.folder / content["photos"][0]["thumb"]).size == (60, 80)


def test_a_zip_of_photos_is_like_photos(project: Project, tmp_path: Path) -> None:
    (project.folder / "incoming").mkdir()
    with zipfile.ZipFile(project.folder / "incoming" / "a.zip", "w") as archive:
        for i in range(3):
            archive.write(photo(tmp_path / f"{i}.jpg", i), f"holiday/{i}.jpg")
        archive.writestr("holiday/broken.jpg", b"no photo")
        archive.writestr("holiday/readme.txt", b"hello")
    content = drain(intake(IntakeTask(project.folder)))
    assert [Path(p["name"]).name for p in content["photos"]] == ["0.jpg", "1.jpg", "2.jpg"]
    assert content["dropped"][0]["file"] == "broken.jpg"


def test_a_zip_with_cameras_keeps_them(project: Project, tmp_path: Path) -> None:
    write_sphere_scene(tmp_path / "sphere")
    (project.folder / "incoming").mkdir()
    with zipfile.ZipFile(project.folder / "incoming" / "a.zip", "w") as archive:
        for path in (tmp_path / "sphere").rglob("*"):
            archive.write(path, path.relative_to(tmp_path).as_posix())
    content = drain(intake(IntakeTask(project.folder)))
    assert (content["format"], content["posed"], content["masked"], len(content["photos"])) == ("nerfstudio", True, True, 8)


def test_a_video_gives_its_sharpest_frames(project: Project) -> None:
    import imageio.v2 as imageio

    (project.folder / "incoming").mkdir()
    cameras = ring_of_cameras(30, 96)
    with imageio.get_writer(project.folder / "incoming" / "walk.mp4", fps=10, codec="libx264", macro_block_size=2, ffmpeg_log_level="error") as writer:
        for i in range(30):
            writer.append_data(sphere_picture(cameras, i)[0])
    content = drain(intake(IntakeTask(project.folder)))
    assert content["format"] in ("video", "photos")
    assert len(content["photos"]) == 30


def test_photos_are_left_out_and_taken_back(project: Project) -> None:
    for i in range(4):
        photo(project.folder / "incoming" / str(i) / f"{i}.jpg", i)
    drain(intake(IntakeTask(project.folder)))
    left_out(project.folder, ["images/1.jpg"], True)
    assert not (project.folder / "scene" / "images" / "1.jpg").exists()
    left_out(project.folder, ["1.jpg"], False)
    assert (project.folder / "scene" / "images" / "1.jpg").exists()
    with pytest.raises(InputError, match="not among the photos"):
        left_out(project.folder, ["../../project.json"], True)


def test_more_photos_join_the_first_and_too_many_do_not(project: Project) -> None:
    for part in range(2):
        for i in range(3):
            photo(project.folder / "incoming" / str(i) / f"{part}{i}.jpg", 3 * part + i)
        content = drain(intake(IntakeTask(project.folder, most_photos=6)))
    assert len(content["photos"]) == 6
    photo(project.folder / "incoming" / "0" / "x.jpg", 9)
    with pytest.raises(InputError, match="7 photos are more than the 6 allowed"):
        drain(intake(IntakeTask(project.folder, most_photos=6)))
    assert len(list((project.folder / "scene" / "images").iterdir())) == 6


def test_an_intake_that_was_killed_goes_on(project: Project) -> None:
    for i in range(3):
        photo(project.folder / "incoming" / str(i) / f"{i}.jpg", i)
    work = intake(IntakeTask(project.folder))
    next(work)
    next(work)  # everything is sorted in; here the process dies, and nothing of it is tidied up
    del work
    content = drain(intake(IntakeTask(project.folder)))
    assert len(content["photos"]) == 3


@pytest.mark.parametrize(
    ("head", "suffix"),
    [(b"\xff\xd8\xff\xe0", ".jpg"), (b"\x89PNG\r\n\x1a\n", ".png"), (b"RIFF\0\0\0\0WEBP", ".webp"), (b"RIFF\0\0\0\0AVI ", ".avi"), (b"RIFF\0\0\0\0WAVE", None), (b"II*\0", ".tif"),
     (b"PK\x03\x04", ".zip"), (b"\0\0\0\x18ftypheic", ".heic"), (b"\0\0\0\x18ftypisom", ".mp4"), (b"\0\0\0\x14ftypqt  ", ".mov"), (b"\x1a\x45\xdf\xa3", ".webm"), (b"MZ", None),
     (b"<svg", None), (b"<html>", None), (b"", None)],
)  # fmt: skip
def test_files_by_their_first_bytes(tmp_path: Path, head: bytes, suffix: str | None) -> None:
    (tmp_path / "x").write_bytes(head)
    assert suffix_of(tmp_path / "x") == suffix
    (tmp_path / "transforms.json").write_text(json.dumps({}))
    assert kind_of(tmp_path / "transforms.json") == "json"
