"""The CPU hash encoding against its PyTorch twin, in values and gradients."""

import sys

import pytest
import torch

from kernels.hashgrid.adam import adam_touched, adam_touched_reference
from kernels.hashgrid.encoding import encode
from kernels.hashgrid.layout import HASHES, Hash, HashGridLayout
from kernels.hashgrid.reference import encode_reference
from kernels.hashgrid.schedule import Schedule

LAYOUTS = [
    HashGridLayout(levels=5, features=f, log2_table_size=t, base_resolution=4, finest_resolution=64)
    for f, t in ((1, 10), (2, 10), (4, 12), (3, 18))
] + [HashGridLayout(5, f, 11, 4, 64, hash) for f, hash in ((1, "morton"), (2, "block_morton"), (4, "morton"), (8, "block_morton"))]


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_values_and_gradients_equal_the_twin(layout: HashGridLayout) -> None:
    torch.manual_seed(0)
    points = (torch.rand(777, 3) * 1.2 - 0.1).requires_grad_()  # some outside, which are clamped
    table = torch.randn(layout.entries, layout.features).requires_grad_()
    direction = torch.randn(777, layout.output_features)
    results = []
    for backend in ("cpu", "reference"):
        out = encode(points, table, layout, backend)
        results.append((out.detach(), *torch.autograd.grad((out * direction).sum(), (points, table))))
    for fast, plain in zip(*results, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-4, atol=2e-4)


def test_points_may_be_sorted_first() -> None:
    torch.manual_seed(0)
    layout = LAYOUTS[1]
    points, table = torch.rand(300, 3).requires_grad_(), torch.randn(layout.entries, 2).requires_grad_()
    direction = torch.randn(300, layout.output_features)
    results = []
    for schedule in (Schedule(), Schedule(order="morton")):
        out = encode(points, table, layout, "cpu", schedule=schedule)
        results.append((out.detach(), *torch.autograd.grad((out * direction).sum(), (points, table))))
    for sorted_, given in zip(*results, strict=True):
        torch.testing.assert_close(sorted_, given, rtol=1e-4, atol=1e-4)


SCHEDULES = [
    Schedule(),
    Schedule(forward_levels=1, backward_walking="level-major", merges=("none",) * 6, pairs=False),
    Schedule(forward_levels=8, merges=("private", "private", "warp", "warp", "none", "warp"), block=128),
    Schedule(order="morton"),
    Schedule(backward_walking="level-major", merges=("warp", "sort", "warp", "sort", "sort", "sort")),
]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize("hash", HASHES)
@pytest.mark.parametrize("features", [1, 2, 4, 8])
def test_cuda_equals_the_twin(features: int, hash: Hash, dtype: torch.dtype, schedule: Schedule) -> None:
    """On rays, at random, outside the cube, at its corners, on borders of cells, and without any point."""
    torch.manual_seed(0)
    layout = HashGridLayout(6, features, 12, 4, 128, hash)
    along = torch.rand(40, 1, 3) + torch.linspace(0, 0.3, 50)[:, None] * torch.nn.functional.normalize(torch.randn(40, 1, 3), dim=-1)
    corners = torch.tensor([[i & 1, i >> 1 & 1, i >> 2] for i in range(8)]).float()
    borders = torch.randint(0, 5, (100, 3)) / 4
    points = torch.cat([along.reshape(-1, 3), torch.rand(777, 3) * 1.2 - 0.1, corners, borders]).cuda()
    table = torch.randn(layout.entries, features, device="cuda").to(dtype)
    direction = torch.randn(len(points), layout.output_features, device="cuda").to(dtype)
    results = []
    for backend, kind in (("cuda", dtype), ("reference", torch.float32)):
        # the twin in the kernels' own precision, so that a point on a border falls to the same side of it
        p, t = points.clone().requires_grad_(), table.to(kind).requires_grad_()
        out = encode(p, t, layout, backend, schedule=schedule if backend == "cuda" else None)
        results.append((out.detach(), *torch.autograd.grad((out.float() * direction.float()).sum(), (t, p))))
    for fast, plain, name in zip(*results, ("values", "gradient of the table", "gradient of the points"), strict=True):
        error = float((fast.float() - plain).norm() / plain.norm())
        assert error < (5e-3 if dtype == torch.float16 else 1e-4), name
    assert encode(points[:0], table, layout, "cuda").shape == (0, layout.output_features)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cuda_adds_to_a_buffer_of_either_precision_and_refuses_odd_tables() -> None:
    layout = HashGridLayout(4, 2, 12, 4, 64)
    points, table = torch.rand(500, 3, device="cuda"), torch.randn(layout.entries, 2, device="cuda").half().requires_grad_()
    encode(points, table, layout).float().square().sum().backward()
    assert table.grad is not None
    expected, table.grad = table.grad.float(), None
    for kind in (torch.float32, torch.float16):
        buffer = torch.zeros(layout.entries, 2, device="cuda", dtype=kind)
        encode(points, table, layout, grad_buffer=buffer).float().square().sum().backward()
        assert table.grad is None
        assert float((buffer.float() - expected).norm() / expected.norm()) < 3e-3
    odd = HashGridLayout(4, 3, 12, 4, 64)
    with pytest.raises(ValueError, match="1, 2, 4 or 8 features"):
        encode(points, torch.randn(odd.entries, 3, device="cuda"), odd, "cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_cuda_adam_equals_the_twin_also_where_a_sum_left_half_precision(dtype: torch.dtype) -> None:
    from kernels.hashgrid import cuda

    torch.manual_seed(0)
    master, grad = torch.randn(1000, 2, device="cuda"), torch.randn(1000, 2, device="cuda").to(dtype)
    grad[::3] = 0
    if dtype == torch.float16:
        grad[1, 0], grad[2, 0], grad[4, 1] = float("inf"), float("-inf"), float("nan")
    counted = torch.nan_to_num(grad.float(), 0.0, 65504.0, -65504.0)
    plain, moments = master.cpu(), [(torch.zeros(1000, 2, device=d), torch.zeros(1000, 2, device=d)) for d in ("cuda", "cpu")]
    adam_touched_reference(plain, counted.cpu(), moments[1], 1, 1e-2)
    copy = master.half()
    rates = torch.tensor([1e-2 * (1 - 0.99) ** 0.5 / (1 - 0.9), 0.9, 0.99, 1e-15], device="cuda")
    cuda.adam_touched(master, copy, grad, moments[0], rates)
    torch.testing.assert_close(master.cpu(), plain, rtol=1e-4, atol=1e-5)
    assert torch.equal(copy, master.half())
    assert not grad.any()


def test_the_twins_gradient_is_the_true_one() -> None:
    layout = HashGridLayout(levels=2, features=2, log2_table_size=6, base_resolution=2, finest_resolution=5)
    table = torch.randn(layout.entries, 2, dtype=torch.float64, requires_grad=True)
    points = (torch.rand(6, 3, dtype=torch.float64) * 0.9 + 0.05).requires_grad_()
    assert torch.autograd.gradcheck(lambda p, t: encode_reference(p, t, layout), (points, table))


def test_constant_table_encodes_to_that_constant() -> None:
    layout = LAYOUTS[1]
    out = encode(torch.rand(100, 3), torch.full((layout.entries, 2), 3.5), layout)
    torch.testing.assert_close(out, torch.full_like(out, 3.5))


def test_dense_levels_reproduce_linear_functions() -> None:
    layout = HashGridLayout(levels=1, features=1, log2_table_size=12, base_resolution=8, finest_resolution=8)
    index = torch.arange(9**3)
    vertices = torch.stack([index % 9, (index // 9) % 9, index // 81], -1) / 8
    points = torch.rand(500, 3)
    coefficients = torch.tensor([1.0, -2.0, 0.5])
    table = torch.zeros(layout.entries, 1)  # a few rows more, which align the next level
    table[: 9**3] = (vertices @ coefficients)[:, None]
    torch.testing.assert_close(encode(points, table, layout)[:, 0], points @ coefficients, atol=1e-5, rtol=1e-5)


def test_gradient_buffer_receives_what_autograd_would() -> None:
    layout = LAYOUTS[1]
    points, table = torch.rand(300, 3), torch.randn(layout.entries, 2).requires_grad_()
    encode(points, table, layout).square().sum().backward()
    buffer = torch.zeros_like(table)
    expected, table.grad = table.grad, None
    encode(points, table, layout, grad_buffer=buffer).square().sum().backward()
    assert table.grad is None
    assert expected is not None
    torch.testing.assert_close(buffer, expected)


def test_adam_moves_only_touched_entries_and_equals_the_twin() -> None:
    torch.manual_seed(1)
    tables = [torch.randn(1000, 2)] * 2
    tables = [t.clone() for t in tables]
    start = tables[0].clone()
    moments = [(torch.zeros(1000, 2), torch.zeros(1000, 2)) for _ in range(2)]
    touched = torch.rand(1000, 2) > 0.5
    for step in (1, 2, 3):
        grad = torch.randn(1000, 2) * touched
        for run, table, moment in zip((adam_touched, adam_touched_reference), tables, moments, strict=True):
            g = grad.clone()
            run(table, g, moment, step, 1e-2)
            assert not g.any()
    torch.testing.assert_close(tables[0], tables[1])
    assert torch.equal(tables[0][~touched], start[~touched])
    assert (tables[0][touched] != start[touched]).all()


@pytest.mark.parametrize(
    "values", [{"levels": 0}, {"log2_table_size": 40}, {"base_resolution": 64, "finest_resolution": 16}, {"features": 0}], ids=str
)
def test_impossible_layouts_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must|needs"):
        HashGridLayout(**values)


def test_wrong_table_is_refused_with_both_shapes() -> None:
    with pytest.raises(ValueError, match="needs"):
        encode(torch.rand(3, 3), torch.rand(7, 2), LAYOUTS[1])


def test_tables_written_before_levels_were_aligned_are_read() -> None:
    layout = HashGridLayout(4, 2, 12, 4, 64)
    old = torch.randn(int(layout.sizes.sum()), 2)
    new = layout.aligned(old)
    assert len(new) == layout.entries > len(old)
    start = 0
    for level, size in enumerate(layout.sizes):
        first = int(layout.offsets[level])
        assert first % 8 == 0
        assert torch.equal(new[first : first + size], old[start : start + size])
        start += int(size)
    assert layout.aligned(new) is new


@pytest.mark.parametrize("schedule", [Schedule(tile=64), Schedule(tile=100_000), Schedule(pieces=3)], ids=str)
def test_no_schedule_of_the_cpu_changes_anything(schedule: Schedule) -> None:
    layout = HashGridLayout(6, 4, 12, 4, 128)
    points, table = torch.rand(3000, 3), torch.randn(layout.entries, 4).requires_grad_()
    results = []
    for chosen in (Schedule(), schedule):
        out = encode(points, table, layout, schedule=chosen)
        results.append((out.detach(), *torch.autograd.grad(out.square().sum(), table)))
    assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-5, atol=1e-5)


def test_no_points_give_no_rows_and_no_gradient() -> None:
    layout = LAYOUTS[1]
    points, table = torch.rand(0, 3).requires_grad_(), torch.randn(layout.entries, 2).requires_grad_()
    out = encode(points, table, layout)
    assert out.shape == (0, layout.output_features)
    d_points, d_table = torch.autograd.grad(out.sum(), (points, table))
    assert d_points.shape == (0, 3)
    assert not d_table.any()


@pytest.mark.parametrize("hash", HASHES)
def test_hashes_use_the_whole_level_evenly(hash: Hash) -> None:
    """No row of a hashed level is met much more often than another, over a cube of vertices of many times its size."""
    from kernels.hashgrid.reference import vertex_index

    layout = HashGridLayout(1, 2, 12, 256, 256, hash)
    axis = torch.arange(64)
    vertices = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    met = torch.bincount(vertex_index(vertices, 0, layout), minlength=1 << 12)
    assert met.sum() == 64**3
    assert met.min() > 0
    assert met.max() < 4 * 64**3 / (1 << 12)


class _TinyCudaNn(torch.nn.Module):
    """What tiny-cuda-nn computes for one level: vertices at x (R - 1) + 0.5, dense if R^3 fit, else hashed by primes."""

    def __init__(self, dimensions: int, config: dict[str, int | float | str]) -> None:
        super().__init__()
        self.side, self.features, limit = int(config["base_resolution"]), int(config["n_features_per_level"]), 1 << int(config["log2_hashmap_size"])
        assert (dimensions, config["n_levels"], config["otype"]) == (3, 1, "HashGrid")
        self.rows = min(-(-(self.side**3) // 8) * 8, limit)
        self.params = torch.nn.Parameter(torch.zeros(self.rows * self.features))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        table, position = self.params.view(self.rows, self.features), x * (self.side - 1) + 0.5
        cell = position.detach().floor()
        fraction, total = position - cell, torch.zeros(len(x), self.features)
        for corner in torch.cartesian_prod(*[torch.arange(2)] * 3):
            a, b, c = (cell.long() + corner).unbind(-1)
            row = a + self.side * (b + self.side * c) if self.side**3 <= self.rows else a ^ b * 2654435761 ^ c * 805459861
            total = total + torch.where(corner.bool(), fraction, 1 - fraction).prod(-1, keepdim=True) * table[row % self.rows]
        return total


def test_tiny_cuda_nn_reads_our_tables_as_we_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its published rules; the library itself needs a GPU and is tested where it is installed."""
    from types import SimpleNamespace

    from kernels.hashgrid import tcnn

    monkeypatch.setitem(sys.modules, "tinycudann", SimpleNamespace(Encoding=_TinyCudaNn))
    tcnn._grids.cache_clear()
    layout = HashGridLayout(6, 2, 10, 4, 64)
    assert layout.dense.any()
    assert not layout.dense.all()
    points = torch.cat([torch.rand(500, 3) * 1.2 - 0.1, torch.tensor([[0.0, 0, 0], [1, 1, 1]])]).requires_grad_()
    table, direction = torch.randn(layout.entries, 2).requires_grad_(), torch.randn(502, 12)
    results = []
    for run in (tcnn.encode_tcnn, encode_reference):
        out = run(points, table, layout)
        grads = torch.autograd.grad((out * direction).sum(), (table, points))
        results.append((out.detach(), grads[0], grads[1][:500]))  # on the cube's own corners the two look into different cells
    for theirs, ours in zip(*results, strict=True):
        torch.testing.assert_close(theirs, ours, rtol=1e-3, atol=2e-3)
    with pytest.raises(ValueError, match="use 'cuda'"):
        tcnn.encode_tcnn(points, table, HashGridLayout(6, 2, 10, 4, 64, "morton"))
    monkeypatch.setattr(_TinyCudaNn, "forward", lambda self, x: torch.zeros(len(x), self.features))
    tcnn._grids.cache_clear()
    with pytest.raises(RuntimeError, match="otherwise"):
        tcnn.encode_tcnn(points, table, layout)
    tcnn._grids.cache_clear()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_tiny_cuda_nn_itself_agrees() -> None:
    pytest.importorskip("tinycudann")
    layout = HashGridLayout(6, 2, 12, 4, 128)
    points, table = torch.rand(1000, 3, device="cuda"), torch.rand(layout.entries, 2, device="cuda")
    torch.testing.assert_close(encode(points, table, layout, "tcnn"), encode_reference(points, table, layout), rtol=1e-2, atol=1e-2)
