"""How long will it take on this machine? Measured times of another machine, scaled by a small test, corrected by what was seen here.

The constants are seconds on two cores of a server (AMD EPYC) from benchmarks/RESULTS.md; the page says how well an estimate is founded.
"""

import json
import os
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from data.errors import InputError
from data.files import write_json
from data.progress import Progress

_SECONDS: dict[tuple[str, str], tuple[float, float]] = {
    ("general", "glance"): (8.0, 0.6), ("general", "draft"): (10.0, 1.4), ("general", "standard"): (20.0, 6.0), ("general", "high"): (60.0, 12.0),
    ("hashgrid", "glance"): (40.0, 1.5), ("hashgrid", "draft"): (45.0, 2.4), ("hashgrid", "standard"): (140.0, 4.2), ("hashgrid", "high"): (3600.0, 20.0),
}  # fmt: skip
"""Once, and for every photo; cameras known."""
_POSES = (5.0, 2.5, 0.05)
"""Once, for every photo, for every pair of photos."""
_TUNE = {"none": 0.0, "10s": 35.0, "1m": 140.0, "5m": 640.0}
"""Model and mesh are both tuned."""
_EDIT = (14.0, 2.0)
"""The shipped editor, once and for every photo."""
_UNDERSTANDING = (5.0, 0.6)
"""The shipped network, once and for every photo."""
_GPU = 6.0
"""How many times faster than the two cores a GPU is taken to be until it was seen."""
REFERENCE = 1.0
"""What `speed` gives on the machine of the constants."""
KEPT = 40


@dataclass(frozen=True)
class Estimate:
    """Seconds, from and to, and on what that rests."""

    low: float
    high: float
    basis: str

    @property
    def middle(self) -> float:
        return (self.low * self.high) ** 0.5

    def __str__(self) -> str:
        low, high = spoken(self.low), spoken(self.high)
        if low == high:
            return f"about {low}"
        if low.split()[-1] == high.split()[-1]:
            return f"{low.split()[0]} to {high}"
        return f"{low} to {high}"


def spoken(seconds: float) -> str:
    """As a person says it."""
    if seconds < 55:
        return f"{max(5 * round(seconds / 5), 5)} seconds"
    minutes = seconds / 60
    if minutes < 1.5:
        return "1 minute" if minutes < 1.25 else "2 minutes"
    return f"{round(minutes)} minutes" if minutes < 90 else f"{round(minutes / 60)} hours"


def reconstruction(root: Path, photos: int, engine: str, quality: str, tune: str = "none", poses_known: bool = True) -> Estimate:
    """Seconds of a reconstruction.

    Args:
        root: the folder of projects, where `machine.json` and `times.json` are kept.
        engine: what `auto` stands for is settled: `general` or `hashgrid`.
    """
    once, each = _SECONDS[engine, quality]
    seconds = once + each * photos + _TUNE[tune] + (0.0 if poses_known else poses_seconds(photos))
    return _scaled(root, f"{engine} {quality}", seconds)


def poses_seconds(photos: int) -> float:
    once, each, pair = _POSES
    return once + each * photos + pair * photos * (photos - 1) / 2


def of_poses(root: Path, photos: int) -> Estimate:
    """Seconds of finding the cameras."""
    return _scaled(root, "cameras", poses_seconds(photos))


def of_edit(root: Path, photos: int) -> Estimate:
    """Seconds of an edit of a scene with the shipped editor."""
    return _scaled(root, "edit", edit_seconds(photos))


def edit_seconds(photos: int) -> float:
    once, each = _EDIT
    return once + each * photos


def of_understanding(root: Path, photos: int) -> Estimate:
    """Seconds of a question about a scene, answered by the shipped network."""
    once, each = _UNDERSTANDING
    return _scaled(root, "understand", once + each * photos)


def _scaled(root: Path, what: str, seconds: float) -> Estimate:
    machine = _read(root / "machine.json")
    gpu = bool(machine.get("gpus")) and what != "cameras"
    seconds /= _GPU if gpu else max(float(machine.get("speed", REFERENCE)) / REFERENCE, 0.05)
    times = [t for t in _read(root / "times.json").get("times", []) if t["gpu"] == gpu]
    same = [t["seconds"] / t["expected"] for t in times if t["what"] == what]
    if same:
        seen = seconds * median(same[-5:])
        margin = 1.15 if len(same) > 2 else 1.3
        return Estimate(seen / margin, seen * margin, f"from {len(same)} earlier run{'s' if len(same) > 1 else ''} like this on this machine")
    if times:
        seen = seconds * median(t["seconds"] / t["expected"] for t in times[-10:])
        return Estimate(seen / 1.5, seen * 1.5, "from other runs on this machine")
    if machine:
        return Estimate(seconds / 1.7, seconds * 1.7, "a guess from a speed test of this machine; it gets better with every run")
    return Estimate(seconds / 2, seconds * 2, "a guess: this machine has not been measured yet")


def learn(root: Path, what: str, seconds: float, expected_unscaled: float) -> None:
    """Remember how long something took; see `expected`."""
    machine = _read(root / "machine.json")
    gpu = bool(machine.get("gpus")) and what != "cameras"
    expected = expected_unscaled / (_GPU if gpu else max(float(machine.get("speed", REFERENCE)) / REFERENCE, 0.05))
    times = _read(root / "times.json").get("times", [])
    write_json(root / "times.json", {"times": [*times, {"what": what, "gpu": gpu, "seconds": round(seconds, 2), "expected": round(expected, 3)}][-KEPT:]})


def expected(photos: int, engine: str, quality: str, tune: str) -> float:
    """Seconds on the machine of the constants, cameras known."""
    once, each = _SECONDS[engine, quality]
    return once + each * photos + _TUNE[tune]


def measure(task: dict[str, Any]) -> Generator[Progress, None, dict[str, Any]]:
    """Job `machine`: what this machine is and how fast, written to `machine.json` in ``task["root"]``."""
    import torch

    yield Progress("machine", 0.0, "a short speed test")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    content = {
        "gpus": gpus, "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1), "speed": round(speed(), 3),
    }  # fmt: skip
    write_json(Path(task["root"]) / "machine.json", content)
    return content


def speed() -> float:
    """How fast the processor is beside the reference: small convolutions, which is what most of the time goes to."""
    import torch

    x, w = torch.randn(1, 32, 160, 160), torch.randn(32, 32, 3, 3)
    with torch.no_grad():
        torch.nn.functional.conv2d(x, w, padding=1)
        seconds = []
        for _ in range(40):
            begun = time.perf_counter()
            torch.nn.functional.conv2d(x, w, padding=1)
            seconds.append(time.perf_counter() - begun)
    return _CONVOLUTION / min(seconds)  # others may be at work meanwhile


_CONVOLUTION = 0.0046
"""Seconds of that convolution on the machine of the constants."""


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict):
        raise InputError(f"'{path}' is damaged. Delete it; it is measured anew.")
    return content
