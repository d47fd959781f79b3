"""`lumigraph bench kernels`: what it prints and writes, and what it refuses."""

import json
from pathlib import Path

import pytest

from app.cli import main

SMALL = ["bench", "kernels", "--device", "cpu", "--points", "10", "--levels", "4", "--log2-table-size", "12"]


def test_it_shows_the_choice_and_what_the_others_cost(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--json", str(tmp_path / "figures.json")]) == 0
    printed = capsys.readouterr().out
    assert "chosen by the scheduler" in printed
    figures = json.loads((tmp_path / "figures.json").read_text())
    for direction in ("forward", "backward"):
        rows = figures[direction]["schedules"]
        assert sum(row["chosen"] for row in rows) == 1
        assert all(row["ms"] > 0 for row in rows)
        assert figures[direction]["ratio_to_reference"] > 0
    assert figures["points"] == 1024


def test_a_dash_prints_json_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL, "--hash", "block_morton", "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["layout"]["hash"] == "block_morton"


@pytest.mark.parametrize(
    ("words", "expected"), [(["--points", "40"], "8 to 24"), (["--precision", "float16", "--device", "cpu"], "single precision"), (["--features", "0"], "at least one")]
)
def test_bad_options_are_refused_in_a_sentence(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "kernels", "--device", "cpu", *words]) == 2
    assert expected in capsys.readouterr().err
