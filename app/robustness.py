"""`lumigraph attack` and `lumigraph inspect`: the commands of the robustness bench."""

import math
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from attacks.bench.suite import Suite, SuiteOptions
from data.errors import InputError
from recon.options import Device

_OUT = tyro.conf.arg(aliases=["-o"])
_FLAT = tyro.conf.arg(name="")

LISTS = ("--method", "--defence", "--victim", "--eps", "--option")
"""Options that take several values, with blanks or commas between them."""


@dataclass(frozen=True)
class Attack:
    """Attack a reconstruction through its photos, and report what broke.

    SCENES are posed data sets or results of `reconstruct`. Every attack is run at every budget with every seed, beside noise of the same
    budget; each finished cell is kept in OUT/cells, so that the same command goes on where it was stopped. OUT gets leaderboard.html,
    results.csv and results.json. Whole suites: --config FILE.toml with the same names (scenes, out, options.method, ...).
    """

    scenes: tyro.conf.Positional[tuple[Path, ...]]
    """Posed data sets, or folders that `reconstruct` wrote."""
    out: Annotated[Path, _OUT]
    """Folder for the report."""
    options: Annotated[SuiteOptions, _FLAT] = field(default_factory=SuiteOptions)
    device: Device = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    workers: int = 1
    """Cells at a time, each in a process of its own."""
    overwrite: bool = False
    """Do finished cells again."""
    json: bool = False
    """Print the board as JSON on standard output, for other programs."""


@dataclass(frozen=True)
class Inspect:
    """Look for signs of tampering in a set of photos.

    PHOTOS is whatever `reconstruct` reads. Each photo gets a score from 0 to 1 by its fine noise and, where poses are known, by how well its
    surface agrees with the other photos'. Exit code 0 whatever is found; the JSON says it all.
    """

    photos: tyro.conf.Positional[Path]
    """Folder, zip, video or data set."""
    side: int = 504
    """Longest side at which photos are compared with each other, pixels; their noise is measured as they are."""
    device: Device = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    json: bool = False
    """Print the findings as JSON on standard output, for other programs."""


def spread(words: list[str]) -> list[str]:
    """`--eps 0,2,4` -> `--eps 0 2 4`, for all options that take several values."""
    out, inside = [], False
    for word in words:
        name, equals, value = word.partition("=")
        if name in LISTS and equals and name != "--option":
            out += [name, *value.split(",")]
            continue
        if word.startswith("--"):
            inside = word in LISTS[:-1]
        out += [w for w in word.split(",") if w] if inside and not word.startswith("--") else [word]
    return out


def attack_from_config(content: dict[str, Any], where: str) -> Attack:
    """The command that a suite file describes."""
    from app.config import from_json

    known = {name: content.pop(name) for name in ("scenes", "out") if name in content}
    loaded = from_json(Attack, {**content, "scenes": [], "out": ""}, where)
    missing: Any = tyro.MISSING_NONPROP
    scenes = tuple(Path(s).expanduser() for s in known["scenes"]) if "scenes" in known else missing
    out = Path(known["out"]).expanduser() if "out" in known else missing
    eps = tuple(float(e) for e in loaded.options.eps)
    from dataclasses import replace

    return replace(loaded, scenes=scenes, out=out, options=replace(loaded.options, eps=eps))


def run_attack(command: Attack, run_job: Callable[[str, dict[str, Any], bool], dict[str, Any]]) -> int:
    """Run the suite as a job and print the board."""
    from app.config import to_json

    if not command.scenes:
        raise InputError("There is no scene to attack. Give one or more.")
    command.options.checked()
    suite = Suite(tuple(s.resolve() for s in command.scenes), command.out, command.options, command.device, command.workers, command.overwrite)
    words = ["lumigraph", *sys.argv[1:]] if sys.argv[1:2] == ["attack"] else ["lumigraph", "attack"]
    try:
        result = run_job("attack", {**to_json(suite), "command": shlex.join(words)}, command.json)
    except KeyboardInterrupt:
        print(f"\nStopped. What is finished is kept in '{command.out}'; the same command goes on.", file=sys.stderr)
        return 130
    if not command.json:
        print(board_text(result["board"]))
        print("\n".join(result["files"]))
    return 0


def board_text(board: list[dict[str, Any]]) -> str:
    """The board for a terminal."""
    lines = [f"{'scene':22s}{'victim':10s}{'defence':15s}{'attack':20s}{'eps':>5s}{'PSNR':>8s}{'lost dB':>9s}{'vs clean':>10s}{'depth %':>9s}"]
    for b in board:
        label = b["method"] + (" (univ.)" if b["setting"] == "universal" and b["control"] else "")
        depth = _number(b["depth"], 1, 100.0)
        lines.append(
            f"{b['scene'][:21]:22s}{Path(b['victim']).stem[:9]:10s}{b['defence'][:14]:15s}{label[:19]:20s}{b['eps']:5g}{_number(b['psnr'], 2):>8s}{_number(b['loss'], 2):>9s}"
            f"{_number(b['psnr_clean'], 2):>10s}{depth:>9s}{'  unreliable' if b['unreliable'] else ''}"
        )
    reasons = sorted({f"{b['scene']}, {b['defence']}: {r}" for b in board for r in b["reasons"]})
    return "\n".join([*lines, *(f"unreliable: {r}" for r in reasons)])


def run_inspect(command: Inspect, run_job: Callable[[str, dict[str, Any], bool], dict[str, Any]]) -> int:
    """Inspect as a job and print the findings."""
    result = run_job("inspect", {"photos": str(command.photos), "side": command.side, "device": command.device}, command.json)
    if not command.json:
        for photo in sorted(result["photos"], key=lambda p: -p["score"]):
            print(f"{photo['score']:.2f}  {photo['file']}{'  ' + photo['why'] if photo['why'] else ''}")
        print(result["verdict"])
    return 0


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "" if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"
