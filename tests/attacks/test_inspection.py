"""The defender's view: traces mean what they say, changed photos score higher, and the command prints what it found."""

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import main
from attacks.inspection import Traces, block_noise, diagonal_details, noise_traces, score
from data.images import save_image
from data.readers import read_scene
from tests.conftest import SAMPLE


def test_the_noise_of_noise_is_its_standard_deviation() -> None:
    noise = np.random.default_rng(0).normal(0, 5, (256, 256))
    assert np.median(block_noise(diagonal_details(noise))) == pytest.approx(5, rel=0.05)


def test_smooth_photos_have_no_fine_noise() -> None:
    y, x = np.meshgrid(np.arange(128), np.arange(128), indexing="ij")
    assert block_noise(diagonal_details(x + 2.0 * y)).max() == pytest.approx(0, abs=1e-9)


def test_colour_noise_gives_a_change_away_and_grey_texture_does_not() -> None:
    random = np.random.default_rng(0)
    smooth = np.full((128, 128, 3), 128.0)
    grey = smooth + random.normal(0, 6, (128, 128, 1))
    changed = smooth + 8 * random.choice([-1, 1], (128, 128, 3))
    clean, texture, attacked = (noise_traces(x.clip(0, 255).round().astype(np.uint8)) for x in (smooth, grey, changed))
    assert attacked[0] > texture[0] + 1
    assert texture[2] > clean[2] + 1


@pytest.mark.parametrize("photo", [np.zeros((40, 30, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8), np.full((1, 1, 3), 9, np.uint8)])
def test_black_white_and_tiny_photos_have_traces(photo: np.ndarray) -> None:
    assert np.isfinite(noise_traces(photo)).all()


def test_scores_rise_with_noise_and_contradiction() -> None:
    quiet, loud = Traces(-1.0, -1.0, 0.0, 0.0, None), Traces(2.0, 2.0, 0.0, 0.0, None)
    assert score(quiet) < 0.5 < score(loud)
    assert score(Traces(0.0, 0.0, 1.0, 1.0, 0.9)) > score(Traces(0.0, 0.0, 1.0, 1.0, 0.05))


def test_the_command_finds_the_changed_photo(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, random = read_scene(SAMPLE, SAMPLE), np.random.default_rng(0)
    (tmp_path / "photos").mkdir()
    for i in range(4):
        photo = scene.image(i)[:240, :320].astype(int)
        if i == 2:
            photo = photo + 8 * random.choice([-1, 1], photo.shape)
        save_image(tmp_path / "photos" / f"{i}.png", photo.clip(0, 255).astype(np.uint8))
    assert main(["inspect", str(tmp_path / "photos"), "--json", "--device", "cpu"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [p["file"] for p in found["photos"] if p["score"] >= 0.5] == ["2.png"]
    assert found["suspicious"] == 1
    assert not found["compared"]
    assert main(["inspect", str(tmp_path / "photos"), "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "1 of 4 photos look tampered with" in told
    assert "2.png  colour noise" in told


def test_bad_input_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nothing")]) == 2
    assert main(["inspect", str(SAMPLE), "--side", "10"]) == 2
    assert "64 or more" in capsys.readouterr().err
