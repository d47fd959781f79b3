"""The hash encoding, every backend, hash, order and size, forward and backward, in one run.

    python -m benchmarks.kernels --device cuda --points 20 --sizes 19 22 24
    python -m benchmarks.kernels --points 14 16 18 20 --orders rays --schedules
    python -m benchmarks.kernels --points 18 --cores

On a GPU the peer is tiny-cuda-nn, where it can be imported; where it cannot, a stand-in that walks the table as tiny-cuda-nn is
known to (one level after the other, one thread a point and level, eight reads, eight unmerged atomic writes, half precision).
"""

import argparse
import itertools
import json
from typing import Any, Literal

import torch

from benchmarks.common import about_this_run
from kernels.hashgrid.bench import ORDERS, Encoder, PointOrder, arrival_of, compare, describe, milliseconds, points_in
from kernels.hashgrid.layout import HASHES, HashGridLayout
from kernels.hashgrid.schedule import Schedule
from kernels.machine import Machine

STAND_IN = Schedule(forward_levels=1, backward_walking="level-major", merges=("none",) * 16, pairs=False, block=512)


def copy_bandwidth(device: str) -> float:
    """Bytes a second of a large copy, read and written ones counted."""
    a = torch.rand(1 << 26, device=device)
    b = torch.empty_like(a)
    return 8 * a.numel() / milliseconds(lambda: b.copy_(a), device == "cuda") * 1000


def tcnn_times(layout: HashGridLayout, points: torch.Tensor) -> tuple[float, float] | None:
    """tiny-cuda-nn forward, and forward with backward less forward; None where it cannot be imported."""
    try:
        import tinycudann
    except ImportError:
        return None
    growth = (layout.finest_resolution / layout.base_resolution) ** (1 / max(layout.levels - 1, 1))
    encoding = tinycudann.Encoding(3, {
        "otype": "HashGrid", "n_levels": layout.levels, "n_features_per_level": layout.features, "log2_hashmap_size": layout.log2_table_size,
        "base_resolution": layout.base_resolution, "per_level_scale": growth,
    })  # fmt: skip
    out = encoding(points)
    grad = torch.randn_like(out)
    with torch.no_grad():
        forward = milliseconds(lambda: encoding(points), True)
    return forward, milliseconds(lambda: torch.autograd.grad(out, encoding.params, grad, retain_graph=True), True)


def measure(layout: HashGridLayout, order: PointOrder, count: int, device: str, reference: bool) -> dict[str, Any]:
    """One row of figures."""
    cuda = device == "cuda"
    points, kind = points_in(order, count, device), torch.float16 if cuda else torch.float32
    encoder = Encoder(layout, points, kind, kind)
    auto = Schedule.auto(layout, Machine.here(device), encoder.table.element_size(), encoder.d_table.element_size(), arrival_of(order))
    forward, backward = milliseconds(lambda: encoder.forward(auto), cuda), milliseconds(lambda: encoder.backward(auto), cuda)
    # what must be read and written at least: points, output, and the eight entries of every level
    entry = layout.features * encoder.table.element_size()
    must = count * (12 + layout.levels * entry * 9)
    row: dict[str, Any] = {
        "hash": layout.hash, "log2_table_size": layout.log2_table_size, "points": count, "order": order, "sorts": auto.order == "morton",
        "forward_ms": forward, "backward_ms": backward, "forward_gpoints_s": count / forward / 1e6, "backward_gpoints_s": count / backward / 1e6, "forward_tb_s": must / forward / 1e9,
        "backward_tb_s": count * (12 + layout.levels * entry * 17) / backward / 1e9,
    }  # fmt: skip
    if cuda:
        peer = tcnn_times(layout, points) if layout.hash == "coherent_prime" else None
        name = "stand_in" if peer is None else "tcnn"
        times = peer or (milliseconds(lambda: encoder.forward(STAND_IN), True), milliseconds(lambda: encoder.backward(STAND_IN), True))
        row |= {f"{name}_forward_ms": times[0], f"{name}_backward_ms": times[1], "forward_ratio": times[0] / forward, "backward_ratio": times[1] / backward}
    if reference:
        twin = [milliseconds(job, cuda, rounds=3, repeats=1) for job in encoder.reference()]
        row |= {"reference_forward_ms": twin[0], "reference_backward_ms": twin[1], "forward_to_reference": twin[0] / forward, "backward_to_reference": twin[1] / backward}
    return {k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()}


def schedules(layout: HashGridLayout, order: PointOrder, count: int, device: str) -> None:
    """Print what every schedule costs."""
    kind = torch.float16 if device == "cuda" else torch.float32
    encoder = Encoder(layout, points_in(order, count, device), kind, kind)
    directions: tuple[Literal["forward", "backward"], ...] = ("forward", "backward")
    for direction in directions:
        for timing in compare(encoder, direction, arrival_of(order)):
            print(json.dumps({
                "log2_table_size": layout.log2_table_size, "hash": layout.hash, "points": count, "order": order, "direction": direction,
                "schedule": describe(timing.schedule, direction, device == "cuda"), "ms": round(timing.milliseconds, 4), "expected": round(timing.expected, 2), "chosen": timing.chosen,
            }), flush=True)  # fmt: skip


def scaling(layout: HashGridLayout, count: int) -> dict[str, Any]:
    """From one core to all of them."""
    import numba

    encoder, auto = Encoder(layout, points_in("rays", count, "cpu"), torch.float32, torch.float32), Schedule.auto(layout, Machine.here())
    most, times = numba.get_num_threads(), {}
    for cores in (1, most, 1, most):
        numba.set_num_threads(cores)
        times[cores] = (milliseconds(lambda: encoder.forward(auto), False), milliseconds(lambda: encoder.backward(auto), False))
    return {"cores": most, "forward": round(times[1][0] / times[most][0], 2), "backward": round(times[1][1] / times[most][1], 2), "ms": times}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--points", type=int, nargs="+", default=[18], help="base-2 logarithms of the number of points")
    parser.add_argument("--sizes", type=int, nargs="+", default=[19], help="base-2 logarithms of table sizes")
    parser.add_argument("--levels", type=int, default=16)
    parser.add_argument("--features", type=int, default=2)
    parser.add_argument("--hashes", nargs="+", default=list(HASHES), choices=HASHES)
    parser.add_argument("--orders", nargs="+", default=list(ORDERS), choices=ORDERS)
    parser.add_argument("--reference", action="store_true", help="the PyTorch twin as well")
    parser.add_argument("--schedules", action="store_true", help="every schedule as well")
    parser.add_argument("--cores", action="store_true", help="CPU: from one core to all")
    arguments = parser.parse_args()
    print(json.dumps({"copy_tb_s": round(copy_bandwidth(arguments.device) / 1e12, 4), **about_this_run()}), flush=True)
    for size in arguments.sizes:
        for hash in arguments.hashes:
            layout = HashGridLayout(arguments.levels, arguments.features, size, 16, 2048, hash)
            for points, order in itertools.product(arguments.points, arguments.orders):
                row = measure(layout, order, 1 << points, arguments.device, arguments.reference and hash == arguments.hashes[0])
                print(json.dumps(row), flush=True)
                if arguments.schedules and hash == arguments.hashes[0]:
                    schedules(layout, order, 1 << points, arguments.device)
            for points in arguments.points:
                if arguments.cores:
                    print(json.dumps({"hash": hash, "scaling": scaling(layout, 1 << points)}), flush=True)


if __name__ == "__main__":
    main()
