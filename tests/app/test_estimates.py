"""Time estimates: a guess at first, what was seen here later."""

from pathlib import Path

from app import estimates
from data.files import write_json


def test_a_guess_is_wide_and_says_so(tmp_path: Path) -> None:
    found = estimates.reconstruction(tmp_path, 24, "general", "draft")
    assert found.high / found.low > 3
    assert "not been measured" in found.basis
    write_json(tmp_path / "machine.json", {"gpus": [], "speed": 2.0})
    faster = estimates.reconstruction(tmp_path, 24, "general", "draft")
    assert faster.middle < found.middle
    assert "speed test" in faster.basis


def test_what_was_seen_counts_most(tmp_path: Path) -> None:
    write_json(tmp_path / "machine.json", {"gpus": [], "speed": 1.0})
    expected = estimates.expected(24, "general", "draft", "none")
    for _ in range(3):
        estimates.learn(tmp_path, "general draft", 2 * expected, expected)
    found = estimates.reconstruction(tmp_path, 24, "general", "draft")
    assert abs(found.middle / (2 * expected) - 1) < 0.01
    assert found.high / found.low < 1.4
    assert "3 earlier runs" in found.basis
    other = estimates.reconstruction(tmp_path, 24, "hashgrid", "standard")
    assert "other runs" in other.basis
    assert other.middle > estimates.expected(24, "hashgrid", "standard", "none")


def test_it_is_said_as_people_say_it() -> None:
    assert [estimates.spoken(s) for s in (3, 22, 58, 100, 400, 7200)] == ["5 seconds", "20 seconds", "1 minute", "2 minutes", "7 minutes", "2 hours"]
    assert str(estimates.Estimate(60 * 4, 60 * 6, "")) == "4 to 6 minutes"
    assert str(estimates.Estimate(41, 42, "")) == "about 40 seconds"


def test_more_takes_longer(tmp_path: Path) -> None:
    times = [estimates.reconstruction(tmp_path, n, "general", "draft", tune, known).middle for n, tune, known in ((8, "none", True), (40, "none", True), (40, "1m", True), (40, "1m", False))]
    assert times == sorted(times)
