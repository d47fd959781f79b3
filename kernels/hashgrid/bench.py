"""What every schedule of the encoding costs here, beside what the cost model expects; and the other backends on the same points."""

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kernels.hashgrid.encoding import level_arrays, threads
from kernels.hashgrid.layout import HashGridLayout
from kernels.hashgrid.reference import encode_reference
from kernels.hashgrid.schedule import Arrival, Schedule, candidates, cost
from kernels.machine import Machine
from kernels.ordering import morton_order

PointOrder = Literal["rays", "random", "morton"]
ORDERS: tuple[PointOrder, ...] = ("rays", "random", "morton")


def arrival_of(order: PointOrder) -> Arrival:
    """What `Schedule.auto` is told of points in an order."""
    return "random" if order == "random" else "rays"


@dataclass(frozen=True)
class Timing:
    """One way to encode the points, forward or backward."""

    schedule: Schedule
    chosen: bool
    """Whether `Schedule.auto` takes this one's decision."""
    expected: float
    """By the cost model, relative to its cheapest."""
    milliseconds: float


def points_in(order: PointOrder, count: int, device: str, per_ray: int = 128) -> Tensor:
    """Points of the unit cube: along rays (``per_ray`` even samples of each, over half a unit), random, or random ones sorted."""
    generator = torch.Generator().manual_seed(0)
    if order == "rays":
        rays = -(-count // per_ray)
        origins, towards = torch.rand(rays, 1, 3, generator=generator), torch.randn(rays, 1, 3, generator=generator)
        along = origins + torch.nn.functional.normalize(towards, dim=-1) * torch.linspace(0, 0.5, per_ray)[:, None]
        return along.clamp(0, 1).reshape(-1, 3)[:count].contiguous().to(device)
    points = torch.rand(count, 3, generator=generator)
    if order == "morton":
        points = points[morton_order(points)]
    return points.contiguous().to(device)


class Encoder:
    """Tables, points and buffers, and one call each way."""

    def __init__(self, layout: HashGridLayout, points: Tensor, table_type: torch.dtype, gradient_type: torch.dtype) -> None:
        self.layout, self.points, device = layout, points, points.device
        self.table = torch.rand(layout.entries, layout.features, device=device).to(table_type)
        self.out = torch.zeros(len(points), layout.output_features, device=device, dtype=table_type)
        self.grad = torch.randn(self.out.shape, device=device).to(table_type)
        self.d_table = torch.zeros(layout.entries, layout.features, device=device, dtype=gradient_type)
        self._by_axis = points.T.contiguous().cpu()
        self._order = morton_order(points).int() if points.is_cuda else None

    def forward(self, schedule: Schedule) -> None:
        if self.points.is_cuda:
            from kernels.hashgrid import cuda

            cuda.forward(self.points, self.table, self.layout, schedule, self.out, order=cuda.order_of(self.points, schedule))
        else:
            from kernels.hashgrid import cpu

            cpu.forward(self._by_axis.numpy(), self.table.view(-1).numpy(), *level_arrays(self.layout), schedule.tile, threads(), self.out.numpy())

    def backward(self, schedule: Schedule) -> None:
        if self.points.is_cuda:
            from kernels.hashgrid import cuda

            order = self._order if schedule.order == "morton" else None  # which forward has found
            cuda.backward_table(self.points, self.grad, self.layout, schedule, self.d_table, order=order)
        else:
            from kernels.hashgrid import cpu

            arrays = level_arrays(self.layout)
            cpu.backward_table(self._by_axis.numpy(), self.grad.numpy(), *arrays, schedule.pieces, threads(), self.d_table.view(-1).numpy())

    def reference(self) -> tuple[Callable[[], object], Callable[[], object]]:
        """The PyTorch twin forward, and its backward for the table alone."""
        table = self.table.clone().requires_grad_()
        out = encode_reference(self.points, table, self.layout)
        return (
            lambda: encode_reference(self.points, self.table, self.layout),
            lambda: torch.autograd.grad(out, table, self.grad, retain_graph=True),
        )


def milliseconds(job: Callable[[], object], cuda: bool, rounds: int = 7, repeats: int = 10) -> float:
    """Median time of a call; on a GPU, of ``repeats`` calls in a row, so that launches do not count."""
    job()
    times = []
    for _ in range(rounds):
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            start.record()
            for _ in range(repeats):
                job()
            end.record()
            torch.cuda.synchronize()
            times.append(start.elapsed_time(end) / repeats)
        else:
            started = time.perf_counter()
            job()
            times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


def compare(encoder: Encoder, direction: Literal["forward", "backward"], arrival: Arrival = "rays") -> Iterator[Timing]:
    """Every candidate schedule that differs in this direction, measured; sorting counts as forward."""
    cuda, layout = encoder.points.is_cuda, encoder.layout
    machine = Machine.here("cuda" if cuda else "cpu")
    sizes = (encoder.table.element_size(), encoder.d_table.element_size())
    auto, which = Schedule.auto(layout, machine, *sizes, arrival), 0 if direction == "forward" else 1

    def decision(schedule: Schedule) -> tuple[object, ...]:
        if cuda:
            return (schedule.order, *((schedule.forward_levels,) if which == 0 else (schedule.backward_walking, schedule.merges)))
        return (schedule.tile,) if which == 0 else (schedule.pieces,)

    options = list({decision(s): s for s in candidates(layout, machine, arrival)}.values())
    cheapest = min(cost(s, layout, machine, *sizes, arrival)[which] for s in options)
    run = encoder.forward if which == 0 else encoder.backward
    for schedule in options:
        time = milliseconds(lambda schedule=schedule: run(schedule), cuda)  # type: ignore[misc]
        yield Timing(schedule, decision(schedule) == decision(auto), cost(schedule, layout, machine, *sizes, arrival)[which] / cheapest, time)


def describe(schedule: Schedule, direction: str, cuda: bool) -> str:
    """A schedule's decision in words."""
    if not cuda:
        return f"tiles of {schedule.tile} points" if direction == "forward" else "whole levels" if schedule.pieces == 1 else f"levels in {schedule.pieces} pieces"
    first = "points sorted, " if schedule.order == "morton" else ""
    if direction == "forward":
        return f"{first}{schedule.forward_levels} level{'s' if schedule.forward_levels > 1 else ''} a thread"
    kinds = set(schedule.merges) or {"warp"}
    words = {"sort": "fine levels sorted by cell", "private": "coarse levels in shared memory", "warp": "writes merged in warps", "none": "no merging"}
    return f"{first}{schedule.backward_walking}, {next(text for kind, text in words.items() if kind in kinds)}"
