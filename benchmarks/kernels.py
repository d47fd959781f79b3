"""The CPU hash encoding beside its PyTorch reference, in turns in one run: forward, and forward with both gradients.

    python -m benchmarks.kernels --points 65536

Speed does not count unless the values agree, so the largest differences are printed beside the times.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from benchmarks.common import about_this_run
from kernels.hashgrid.encoding import Backend, encode
from kernels.hashgrid.layout import HashGridLayout

LAYOUTS = {
    "engine, draft (8 x 4, 2^17)": HashGridLayout(8, 4, 17, 16, 2048),
    "engine, standard (8 x 4, 2^18)": HashGridLayout(8, 4, 18, 16, 2048),
    "instant-ngp (16 x 2, 2^19)": HashGridLayout(16, 2, 19, 16, 2048),
}


def in_turns(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median milliseconds of each job; the jobs alternate, so that whatever else the machine does meets all of them."""
    times: dict[str, list[float]] = {name: [] for name in jobs}
    for job in jobs.values():
        job()  # compilation and caches
    for _ in range(rounds):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            times[name].append(time.perf_counter() - started)
    return {name: 1000 * statistics.median(values) for name, values in times.items()}


def measure(layout: HashGridLayout, points: int, rounds: int) -> dict[str, float]:
    """Milliseconds, ratios and differences of the two backends on the same points."""
    torch.manual_seed(0)
    positions = torch.rand(points, 3, requires_grad=True)
    table = torch.randn(layout.entries, layout.features, requires_grad=True)
    direction = torch.randn(points, layout.output_features)

    def forward(backend: Backend) -> torch.Tensor:
        with torch.no_grad():
            return encode(positions, table, layout, backend)

    def both(backend: Backend) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad((encode(positions, table, layout, backend) * direction).sum(), (positions, table))

    row = {f"forward {k} ms": v for k, v in in_turns({"cpu": lambda: forward("cpu"), "reference": lambda: forward("reference")}, rounds).items()}
    row |= {f"training {k} ms": v for k, v in in_turns({"cpu": lambda: both("cpu"), "reference": lambda: both("reference")}, rounds).items()}
    for part in ("forward", "training"):
        row[f"{part} ratio"] = row[f"{part} reference ms"] / row[f"{part} cpu ms"]
    row["largest difference of values"] = float((forward("cpu") - forward("reference")).abs().max())
    gradients = list(zip(both("cpu"), both("reference"), strict=True))
    row["largest relative difference of gradients"] = max(float((a - b).abs().max() / b.abs().max()) for a, b in gradients)
    return {name: round(value, 7) if "difference" in name else round(value, 2) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=65_536, help="points a call; a training step has about 65536")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for name, layout in LAYOUTS.items():
        print(json.dumps({name: measure(layout, arguments.points, arguments.rounds)}, indent=1), flush=True)
    print(json.dumps(about_this_run(), indent=1))


if __name__ == "__main__":
    main()
