"""`lumigraph bench kernels`: what the scheduler chose for this machine, and what the other choices would have cost."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from data.errors import InputError
from data.files import write_json
from kernels.hashgrid.layout import Hash


@dataclass(frozen=True)
class Bench:
    """Measure this machine: the hash encoding by every schedule, beside the scheduler's choice and its PyTorch twin."""

    what: tyro.conf.Positional[Literal["kernels"]]
    """What to measure."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    points: int = 18
    """Base-2 logarithm of the number of points."""
    order: Literal["rays", "random", "morton"] = "rays"
    """Order of the points: along rays, as in training; random; random and sorted along the Morton curve."""
    levels: int = 16
    """Levels of the grid."""
    features: int = 2
    """Features of an entry: 1, 2, 4 or 8."""
    log2_table_size: int = 19
    """Base-2 logarithm of the entries of a hashed level."""
    hash: Hash = "coherent_prime"
    """How fine levels are scattered over the table."""
    precision: Literal["auto", "float32", "float16"] = "auto"
    """Of the table; auto: half on a GPU, single on a CPU."""
    json: Path | None = None
    """Write the figures to this file as JSON; - prints them instead of the table."""


def run_bench(command: Bench) -> int:
    """Measure, print, write."""
    import torch

    from kernels.hashgrid.bench import Encoder, arrival_of, compare, describe, milliseconds, points_in
    from kernels.hashgrid.layout import HashGridLayout
    from kernels.machine import Machine

    if command.device == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA GPU here. Use --device cpu.")
    if not 8 <= command.points <= 24:
        raise InputError(f"--points is a base-2 logarithm from 8 to 24, not {command.points}.")
    device = "cuda" if command.device == "cuda" or (command.device == "auto" and torch.cuda.is_available()) else "cpu"
    half = device == "cuda" and command.precision != "float32"
    if command.precision == "float16" and not half:
        raise InputError("The CPU's kernels know single precision only. Leave --precision out.")
    try:
        layout = HashGridLayout(command.levels, command.features, command.log2_table_size, 16, 2048, command.hash)
    except ValueError as error:
        raise InputError(str(error)) from None
    count = 1 << command.points
    kind = torch.float16 if half else torch.float32
    encoder = Encoder(layout, points_in(command.order, count, device), kind, kind)
    machine = Machine.here(device)
    result: dict[str, Any] = {"machine": asdict(machine), "layout": asdict(layout), "points": count, "order": command.order, "table": str(kind)}
    quiet = command.json == Path("-")
    if not quiet:
        megabytes = layout.entries * layout.features * encoder.table.element_size() / 1e6
        print(f"{machine.name}: {machine.cores} cores, {machine.private_cache >> 10} KB each, {machine.shared_cache >> 20} MB shared; table {megabytes:.1f} MB")
    plain = encoder.reference()
    for direction, reference in zip(("forward", "backward"), plain, strict=True):
        rows: list[dict[str, Any]] = []
        for timing in compare(encoder, direction, arrival_of(command.order)):  # type: ignore[arg-type]
            rows.append({
                "schedule": describe(timing.schedule, direction, device == "cuda"), "chosen": timing.chosen, "expected": round(timing.expected, 2),
                "ms": round(timing.milliseconds, 3), "gpoints_per_s": round(count / timing.milliseconds / 1e6, 4),
            })  # fmt: skip
        twin = milliseconds(reference, device == "cuda", rounds=3, repeats=1)
        chosen = next((row["ms"] for row in rows if row["chosen"]), min(row["ms"] for row in rows))
        result[direction] = {"schedules": rows, "reference_ms": round(twin, 2), "ratio_to_reference": round(twin / chosen, 1)}
        if not quiet:
            print(f"\n{direction:>8}{'ms':>43}{'Gpoints/s':>12}{'expected':>10}")
            for row in rows:
                print(f"  {'*' if row['chosen'] else ' '} {row['schedule']:<46}{row['ms']:>6.3f}{row['gpoints_per_s']:>10.3f}{row['expected']:>10.2f}")
            print(f"    {'PyTorch':<44}{twin:>8.1f}      {twin / chosen:.1f} times the chosen one")
    if not quiet:
        print("\n* chosen by the scheduler; expected: by its cost model, relative to the cheapest")
    if quiet:
        print(json.dumps(result, indent=1))
    elif command.json is not None:
        write_json(command.json, result)
    return 0
