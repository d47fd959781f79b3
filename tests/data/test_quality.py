"""Findings about photos: each problem is seen where it is made, and nowhere else."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from data.images import save_image
from data.quality import check_photos, check_registration
from data.readers import read_scene


@pytest.fixture
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    texture = cv2.resize(random.integers(0, 255, (60, 400, 3)).astype(np.uint8), (800, 120), interpolation=cv2.INTER_NEAREST)
    return [np.ascontiguousarray(texture[:, 30 * i : 30 * i + 160]) for i in range(9)]


def kinds(folder: Path, pictures: list[np.ndarray]) -> dict[str, tuple[str, ...]]:
    folder.mkdir()
    for i, picture in enumerate(pictures):
        save_image(folder / f"{i}.png", picture)
    return {finding.kind: finding.photos for finding in check_photos(read_scene(folder))}


def test_good_photos_have_no_findings(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    assert kinds(tmp_path / "p", pictures) == {}


def test_each_problem_names_its_photos(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    pictures[2] = cv2.GaussianBlur(pictures[2], (0, 0), 4)
    pictures[4] = (pictures[4] * 0.03).astype(np.uint8)
    pictures[5] = np.full_like(pictures[5], 255)
    pictures[7] = pictures[6]
    found = kinds(tmp_path / "p", pictures)
    assert "2.png" in found["blur"]
    assert found["dark"] == ("4.png",)
    assert found["bright"] == ("5.png",)
    assert "7.png" in found["duplicate"]


def test_two_sizes_are_a_note_and_few_photos_a_warning(tmp_path: Path, pictures: list[np.ndarray]) -> None:
    found = kinds(tmp_path / "p", [pictures[0], pictures[1][:100]])
    assert set(found) == {"few", "sizes"}


def test_registration_findings_say_what_to_do() -> None:
    assert check_registration(20, 20, [], 0.5) == []
    (finding,) = check_registration(8, 20, ["a.jpg"], 0.5)
    assert finding.severity == "serious"
    assert "overlap" in finding.advice
