"""Schedules: what the cost model must say of machines that are easy to judge, and the orders of points."""

import pytest
import torch

from kernels.hashgrid.bench import Encoder, compare, describe, points_in
from kernels.hashgrid.layout import HashGridLayout
from kernels.hashgrid.schedule import Schedule, candidates, cost
from kernels.machine import Machine
from kernels.ordering import morton, morton_order, ray_first

GPU = Machine("cuda", "a GPU", 132, 227 << 10, 50 << 20, 3e12)
LAPTOP = Machine("cpu", "a laptop", 2, 2 << 20, 16 << 20, 0.0)
USUAL = HashGridLayout(16, 2, 19, 16, 2048)


def test_a_table_that_fits_the_cache_is_walked_point_by_point_and_a_large_one_level_by_level() -> None:
    small = Schedule.auto(USUAL, GPU, 2, 2)
    assert small.forward_levels == 16
    assert small.backward_walking == "point-major"
    large = Schedule.auto(HashGridLayout(16, 2, 22, 16, 2048), GPU, 2, 2)
    assert large.backward_walking == "level-major"
    assert large.forward_levels == 1
    assert Schedule.auto(HashGridLayout(16, 2, 22, 16, 2048, "morton"), GPU, 2, 2).forward_levels == 16, "its cells share lines of the cache"


def test_random_points_are_walked_otherwise_but_not_sorted() -> None:
    """On the machines that were measured, sorting costs more than it saves; what it would cost is among the candidates."""
    auto = Schedule.auto(USUAL, GPU, 2, 2, "random")
    assert auto.order == "given"
    assert "private" in auto.merges, "a warp of random points shares no cells"
    assert Schedule.auto(USUAL, GPU, 2, 2).merges == ()
    assert {s.order for s in candidates(USUAL, GPU, "random")} == {"given", "morton"}
    assert {s.order for s in candidates(USUAL, GPU)} == {"given"}
    assert Schedule.auto(USUAL, LAPTOP, arrival="random").order == "given"


def test_auto_is_the_cheapest_of_the_candidates() -> None:
    for machine in (GPU, LAPTOP):
        auto = Schedule.auto(USUAL, machine, 2, 2)
        for which in (0, 1):
            assert cost(auto, USUAL, machine, 2, 2)[which] == pytest.approx(min(cost(s, USUAL, machine, 2, 2)[which] for s in candidates(USUAL, machine)))


def test_a_tile_of_output_fits_the_cache() -> None:
    tile = Schedule.auto(USUAL, LAPTOP).tile
    assert tile * USUAL.output_features * 4 <= LAPTOP.private_cache


def test_this_machine_is_known_and_measured() -> None:
    machine = Machine.here()
    assert machine.cores >= 1
    assert machine.private_cache >= 1 << 17
    encoder = Encoder(HashGridLayout(4, 2, 12, 4, 64), points_in("rays", 1000, "cpu"), torch.float32, torch.float32)
    for direction in ("forward", "backward"):
        timings = list(compare(encoder, direction))
        assert sum(t.chosen for t in timings) == 1
        assert min(t.expected for t in timings) == 1
        assert all(t.milliseconds > 0 for t in timings)
        assert len({describe(t.schedule, direction, False) for t in timings}) == len(timings)


def test_morton_order_keeps_neighbours_together_and_is_a_permutation() -> None:
    points = torch.rand(4096, 3)
    order = morton_order(points)
    assert torch.equal(order.sort()[0], torch.arange(4096))
    steps = points[order].diff(dim=0).norm(dim=1).mean()
    assert steps < 0.3 * points.diff(dim=0).norm(dim=1).mean()
    with pytest.raises(ValueError, match="1 to 10"):
        morton_order(points, 11)


def test_morton_codes_interleave_the_bits() -> None:
    cells = torch.randint(0, 1024, (200, 3))
    for (x, y, z), code in zip(cells.tolist(), morton(cells).tolist(), strict=True):
        assert code == sum(((x >> b & 1) | (y >> b & 1) << 1 | (z >> b & 1) << 2) << 3 * b for b in range(10))


def test_ray_first_puts_samples_ray_after_ray_near_to_far() -> None:
    rays, positions = torch.randint(0, 9, (300,)), torch.rand(300)
    order = ray_first(rays, positions)
    assert torch.equal(rays[order], rays.sort()[0])
    same = rays[order].diff() == 0
    assert (positions[order].diff()[same] >= 0).all()
