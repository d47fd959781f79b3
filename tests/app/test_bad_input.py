"""Bad input: one clear sentence with cause and remedy, exit code 2, nothing written over."""

import errno
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.cli import main
from data.errors import OutputError
from data.readers import read_scene
from data.writers import write_colmap
from recon.options import Task
from recon.pipeline import reconstruct
from tests.conftest import write_sphere_scene


def noise(path: Path, seed: int = 0, size: tuple[int, int] = (64, 48)) -> None:
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(path)


def empty(folder: Path) -> None:
    pass


def one_photo(folder: Path) -> None:
    noise(folder / "a.jpg")


def truncated(folder: Path) -> None:
    noise(folder / "a.jpg")
    noise(folder / "b.jpg", 1)
    (folder / "b.jpg").write_bytes((folder / "b.jpg").read_bytes()[:900])


def enormous(folder: Path) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 40000, 40000, 8, 2, 0, 0, 0))
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b""))


def text_named_jpg(folder: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_text("this is no picture")


def _transforms(folder: Path, change: Callable[[dict], None]) -> None:
    write_sphere_scene(folder / "s", views=4)
    meta = json.loads((folder / "s" / "transforms.json").read_text())
    change(meta)
    (folder / "s" / "transforms.json").write_text(json.dumps(meta))


def nan_pose(folder: Path) -> None:
    _transforms(folder, lambda m: m["frames"][1]["transform_matrix"][0].__setitem__(3, float("nan")))


def singular_pose(folder: Path) -> None:
    _transforms(folder, lambda m: m["frames"][1].update(transform_matrix=[[0.0] * 4] * 3 + [[0, 0, 0, 1]]))


def all_files_missing(folder: Path) -> None:
    _transforms(folder, lambda m: [f.update(file_path="gone.png") for f in m["frames"]])


def wrong_count(folder: Path) -> None:
    _transforms(folder, lambda m: m["frames"][1].update(transform_matrix=[[1.0, 0.0], [0.0, 1.0]]))


def outside_path(folder: Path) -> None:
    _transforms(folder, lambda m: m["frames"][1].update(file_path="../../../etc/passwd"))


def no_frames(folder: Path) -> None:
    _transforms(folder, lambda m: m.update(frames=[]))


def broken_json(folder: Path) -> None:
    (folder / "transforms.json").write_text('{"frames": [')


def llff_wrong_count(folder: Path) -> None:
    noise(folder / "a.jpg")
    noise(folder / "b.jpg", 1)
    np.save(folder / "poses_bounds.npy", np.ones((5, 17)))


def pickled_npy(folder: Path) -> None:
    noise(folder / "a.jpg")
    np.save(folder / "poses_bounds.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def corrupt_points(folder: Path) -> None:
    write_sphere_scene(folder / "s", views=4)
    scene = read_scene(folder / "s")
    write_colmap(folder / "s", scene)
    (folder / "s" / "transforms.json").unlink()
    points = folder / "s" / "sparse" / "0" / "points3D.bin"
    points.write_bytes((2**60).to_bytes(8, "little") + b"garbage")


CASES = {
    empty: "holds no photos", one_photo: "1 usable photo", truncated: "damaged", enormous: "megapixels", text_named_jpg: "not a picture",
    nan_pose: "NaN", singular_pose: "singular", all_files_missing: "none of their pictures", wrong_count: "not 4x4",
    outside_path: "outside", no_frames: "no frames", broken_json: "not valid JSON", llff_wrong_count: "5 rows for 2 pictures",
    pickled_npy: "plain NumPy", corrupt_points: "damaged",
}  # fmt: skip


@pytest.mark.parametrize(("make", "words"), CASES.items(), ids=lambda v: getattr(v, "__name__", ""))
def test_bad_input_is_one_clear_sentence(tmp_path: Path, capsys, make, words: str) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    make(folder)
    out = tmp_path / "out"
    assert main(["reconstruct", str(folder), "-o", str(out), "--quality", "draft"]) == 2
    message = capsys.readouterr().err.strip().splitlines()[-1]
    assert words in message
    assert message.startswith("lumigraph: ")
    assert message.endswith((".", ")"))
    assert not out.exists()


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"../../evil.jpg": b"x"}, "leads outside"), ({"/etc/evil.jpg": b"x"}, "leads outside"),
        ({"bomb.jpg": b"\0" * 50_000_000}, "times its size"), ({"readme.doc": b"x"}, "no photos"),
    ],
)  # fmt: skip
def test_dangerous_zips_are_refused(tmp_path: Path, capsys, entries: dict[str, bytes], words: str) -> None:
    path = _zip(tmp_path / "in.zip", entries)
    assert main(["reconstruct", str(path), "-o", str(tmp_path / "out")]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert not (tmp_path.parent / "evil.jpg").exists()


def test_links_in_zips_are_refused(tmp_path: Path, capsys) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        link = zipfile.ZipInfo("a.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    assert main(["reconstruct", str(tmp_path / "in.zip"), "-o", str(tmp_path / "out")]) == 2
    assert "link" in capsys.readouterr().err


def test_photos_without_overlap_say_so(tmp_path: Path, capsys) -> None:
    for i in range(3):
        noise(tmp_path / f"{i}.jpg", i, (320, 240))
    assert main(["reconstruct", str(tmp_path), "-o", str(tmp_path / "out"), "--quality", "draft"]) == 2
    message = capsys.readouterr().err
    assert "could not be found" in message
    assert "overlap" in message


def test_an_output_of_other_photos_is_not_touched(tmp_path: Path, capsys, sphere_scene: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "precious.txt").write_text("mine")
    assert main(["reconstruct", str(sphere_scene), "-o", str(out)]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main(["reconstruct", str(sphere_scene), "-o", str(out), "--resume"]) == 2
    assert "other photos or options" in capsys.readouterr().err
    assert (out / "precious.txt").read_text() == "mine"
    assert sorted(p.name for p in out.iterdir()) == ["precious.txt"]


def test_an_output_that_cannot_be_made_is_named(tmp_path: Path, capsys, sphere_scene: Path) -> None:
    (tmp_path / "file").write_text("a file")
    assert main(["reconstruct", str(sphere_scene), "-o", str(tmp_path / "file" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path, capsys, sphere_scene: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o555)
    assert main(["reconstruct", str(sphere_scene), "-o", str(tmp_path / "locked" / "out")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("code", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_an_output_that_refuses_folders_is_named(tmp_path: Path, monkeypatch, sphere_scene: Path, code: int) -> None:
    made = Path.mkdir

    def refused(path: Path, *arguments, **options) -> None:
        if "locked" in path.parts:
            raise OSError(code, os.strerror(code), str(path))
        made(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", refused)
    with pytest.raises(OutputError, match=f"cannot be written .{os.strerror(code)}.. Choose another folder"):
        list(reconstruct(Task(sphere_scene, tmp_path / "locked" / "out")))


def test_a_full_disk_is_named_and_the_old_file_stays(tmp_path: Path, monkeypatch) -> None:
    from data.errors import OutputError
    from data.files import atomic_write

    target = tmp_path / "report.json"
    atomic_write(target, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device.*Free space"):
        atomic_write(target, b"new")
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_cuda_where_there_is_none(tmp_path: Path, capsys, sphere_scene: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    assert main(["reconstruct", str(sphere_scene), "-o", str(tmp_path / "out"), "--device", "cuda"]) == 2
    assert "no GPU" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["reconstrct"], "did you mean reconstruct"), (["render", "nowhere"], "holds no finished result"),
        (["export", "nowhere"], "holds no mesh.glb"), (["reconstruct", "nowhere", "-o", "x"], "does not exist"),
        (["reconstruct", "--config", "nowhere.toml"], "does not exist"),
    ],
)  # fmt: skip
def test_wrong_commands_name_the_remedy(tmp_path: Path, capsys, monkeypatch, words: list[str], expected: str) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    assert expected in capsys.readouterr().err
