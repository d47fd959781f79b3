"""A training step on an NVIDIA GPU: a dozen kernels, recorded once and replayed, and never a wait for the host.

The plain step is `HashGridTrainer._loss`; this one computes the same from pixels that it draws itself.
"""

import ctypes
from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.compositing.compositing import SOURCE as COMPOSITING
from kernels.cuda.compiler import can_compile, kernel
from kernels.hashgrid import cuda as hashgrid
from kernels.hashgrid.schedule import Schedule
from kernels.machine import Machine
from kernels.networks.cuda import NetworkShape
from kernels.sampling import Spacing, unit_coordinates
from kernels.sampling.sampling import SOURCE as SAMPLING
from recon.frame import Frame
from recon.hashgrid.field import HashGridField
from recon.hashgrid.occupancy import OccupancyGrid
from recon.hashgrid.options import TrainOptions
from recon.hashgrid.pixels import PixelSource
from recon.hashgrid.tables import TrainedTable

_BETAS, _EPSILON = (0.9, 0.99), 1e-15
_SCALE = 16.0
"""Of gradients in half precision; Adam does not see it."""
_LEAST_RAYS, _GRID_EVERY, _GUIDE_EVERY, _WARMUP_STEPS = 256, 16, 4, 200


class _Loss(ctypes.Structure):
    _fields_ = [(name, ctypes.c_float) for name in ("distortion", "depth", "opacity", "scale")]


def supports(field: HashGridField, spacing: Spacing) -> bool:
    """Whether the fused step can train this field on this machine."""
    options = field.options
    shape = NetworkShape(field.layout.output_features, options.width)
    fits = shape.supported and (options.geometry_features == 15 or field.color_table is not None) and spacing.samples <= 256
    return fits and field.table.is_cuda and hashgrid.supports(field.layout, torch.float16) and can_compile() and torch.cuda.get_device_capability()[0] >= 8


@dataclass
class StepStatistics:
    """Means over the steps since they were last read."""

    loss: float
    error: float
    """Mean squared error of the colours."""
    rays: int
    """Rays a step."""
    samples: int
    """Samples a step."""


class _Table:
    """A table on the GPU: what is read and written of it in a step."""

    def __init__(self, trained: TrainedTable, samples: int, schedule: Schedule | None) -> None:
        self.layout, self.moments, self.every = trained.layout, trained.moments, trained.every
        self.schedule = schedule or Schedule.auto(self.layout, Machine.here("cuda"), 2, 2)
        self.master = trained.parameter.data
        self.half, self.grad = self.master.half(), torch.zeros_like(self.master, dtype=torch.float16)
        self.encoded = self.master.new_zeros(samples, self.layout.output_features, dtype=torch.float16)
        self.d_encoded = torch.zeros_like(self.encoded)

    def encode(self, points: Tensor, count: Tensor) -> None:
        hashgrid.forward(points, self.half, self.layout, self.schedule, self.encoded, count)

    def learn(self, points: Tensor, count: Tensor, rates: Tensor) -> None:
        hashgrid.backward_table(points, self.d_encoded, self.layout, self.schedule, self.grad, count)
        hashgrid.adam_touched(self.master, self.half, self.grad, self.moments, rates)


class FusedTrainer:
    """Owns what is trained, as flat buffers on the GPU, while the field's own parameters stand still; see `write_back`."""

    def __init__(
        self, field: HashGridField, tables: dict[str, TrainedTable], grid: OccupancyGrid, pixels: PixelSource, frame: Frame, spacing: Spacing,
        options: TrainOptions, schedule: Schedule | None = None,
    ) -> None:  # fmt: skip
        self.field, self.grid, self.pixels, self.frame, self.spacing, self.options = field, grid, pixels, frame, spacing, options
        device = field.table.device
        self.shape = NetworkShape(field.layout.output_features, field.options.width, field.color_table is not None)
        self.capacity = -(-options.samples_per_step * 9 // 8 // 128) * 128
        self.most_rays = max(4096, options.samples_per_step // 8)
        rays, samples = self.most_rays, self.capacity

        def new(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(*size, dtype=dtype, device=device)

        half, int32 = torch.float16, torch.int32
        self.table = _Table(tables["table"], samples, schedule)
        self.color_table = _Table(tables["color_table"], samples, None) if "color_table" in tables else None
        self.flat = torch.cat([self.shape.pack(self._layers), *(p.detach().reshape(-1) for p in self._rest)])
        self.half_flat, self.d_flat = self.flat.half(), torch.zeros_like(self.flat)
        self.flat_moments = (torch.zeros_like(self.flat), torch.zeros_like(self.flat))
        self.control, self.rates, self.smoothed = new(8, dtype=int32), new(8), new(1)
        self.statistics = new(64, 4)
        self.ranges, self.view_of, self.ray_of = new(rays, 2, dtype=int32), new(rays, dtype=int32), new(samples, dtype=int32)
        self.truth, self.behind, self.d_behind = new(rays, 3), new(rays, 3), new(rays, 3)
        self.wanted, self.harmonics = new(rays), new(rays, 16, dtype=half)
        self.positions, self.lengths, self.points = new(samples), new(samples), new(samples, 3)
        self.outputs, self.d_raw = new(samples, 4), new(samples, 4, dtype=half)
        self.gains = new(len(field.log_gains), 3) if field.options.appearance else None
        self.d_gains = None if self.gains is None else torch.zeros_like(self.gains)
        self.guide = grid.sampling_density.contiguous()
        self._cameras(device)
        self._graphs: dict[bool, torch.cuda.CUDAGraph] = {}
        self._eager_steps = {True: 0, False: 0}
        self.set_step(0, float(spacing.samples))

    def set_step(self, step: int, samples_per_ray: float) -> None:
        """Continue after ``step`` steps."""
        self.step = step
        self.control.zero_()
        self.control[0] = step - 1
        self.smoothed.fill_(samples_per_ray)
        self._advance()

    def run(self, steps: int, generator: torch.Generator) -> StepStatistics:
        """Some steps; the host waits for the GPU only after the last."""
        for _ in range(steps):
            if self.step % _GRID_EVERY == 0 and self.step > 0:
                self.grid.refresh(self.density, 0.1 if self.step < _WARMUP_STEPS else 0.03, generator)
            if self.step % _GUIDE_EVERY == 0:
                self.guide.copy_(self.grid.sampling_density)
            self._one()
            self.step += 1
        values = self.statistics.sum(0).tolist()
        self.statistics.zero_()
        rays = max(values[2], 1.0)
        return StepStatistics(values[0] / rays, values[1] / rays, round(values[2] / max(steps, 1)), round(values[3] / max(steps, 1)))

    @torch.no_grad()
    def write_back(self) -> None:
        """Bring the field's parameters up to date; its table always is."""
        self.shape.unpack(self.flat, self._layers)
        start = self.shape.parameters
        for parameter in self._rest:
            parameter.copy_(self.flat[start : start + parameter.numel()].view_as(parameter))
            start += parameter.numel()

    @torch.no_grad()
    def density(self, points: Tensor) -> Tensor:
        """Density at normalised points, as trained so far."""
        unit, table = unit_coordinates(points, self.field.contracted).contiguous(), self.table
        encoded = torch.empty(len(unit), table.layout.output_features, dtype=torch.float16, device=unit.device)
        hashgrid.forward(unit, table.half, table.layout, table.schedule, encoded)
        out = torch.empty(len(unit), device=unit.device)
        self.shape.forward(encoded, None, None, None, self.half_flat, self.flat, self.field.options.density_bias, out)
        return out

    def state(self) -> dict[str, Tensor]:
        """Everything that the next step depends on, beyond the tables and their moments."""
        return {
            "flat": self.flat, "flat.0": self.flat_moments[0], "flat.1": self.flat_moments[1], "smoothed": self.smoothed, "guide": self.guide,
        }  # fmt: skip

    def load_state(self, tensors: dict[str, Tensor], step: int) -> None:
        """Continue from what `state` gave, after ``step`` steps; the tables and their moments have been loaded."""
        for key, own in self.state().items():
            own.copy_(tensors[key])
        for table in (self.table, self.color_table):
            if table is not None:
                table.half.copy_(table.master)
        self.half_flat.copy_(self.flat)
        self.set_step(step, float(self.smoothed))

    @property
    def _layers(self) -> list[torch.nn.Linear]:
        networks = [*self.field.density_network, *self.field.color_network]
        return [layer for layer in networks if isinstance(layer, torch.nn.Linear)]

    @property
    def _rest(self) -> list[Tensor]:
        """What is trained besides table and networks."""
        return [*self.field.background_network.parameters(), self.field.log_gains]

    def _cameras(self, device: torch.device) -> None:
        cameras, radius = self.pixels.cameras, self.frame.radius
        poses = torch.from_numpy(cameras.camera_to_world)
        self.matrices = (poses[:, :3, :3] @ torch.linalg.inv(torch.from_numpy(cameras.intrinsics))).float().contiguous().to(device)
        self.centers = ((poses[:, :3, 3] - torch.tensor(self.frame.center)) / radius).float().contiguous().to(device)
        self.widths = torch.from_numpy(cameras.sizes[:, 0]).int().contiguous().to(device)
        self.near_far = (self.pixels.near_far / radius).contiguous()
        self.depths = None if self.pixels.depth is None else self.pixels.depth / radius

    def _one(self) -> None:
        """One step: the first ones as they are, then recorded, then replayed; those that leave out colour's table have a record of their own."""
        learn = self.color_table is None or self.step % self.color_table.every == 0
        if learn in self._graphs:
            self._graphs[learn].replay()
            return
        self._launch(learn)
        self._eager_steps[learn] += 1
        if self._eager_steps[learn] == 3:
            torch.cuda.synchronize()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                self._launch(learn)
            self._graphs[learn] = graph

    @torch.no_grad()
    def _launch(self, learn_color: bool = True) -> None:
        table, color, count, options = self.table, self.color_table, self.control[3:], self.options
        self._draw()
        table.encode(self.points, count)
        if color is not None:
            color.encode(self.points, count)
        colored, d_colored = (None, None) if color is None else (color.encoded, color.d_encoded)
        bias = self.field.options.density_bias
        self.shape.forward(table.encoded, colored, self.harmonics, self.ray_of, self.half_flat, self.flat, bias, self.outputs, count)
        start = self.shape.parameters
        if not self.field.transparent:
            self.shape.background(self.harmonics, self.flat[start:], self.control, self.behind)
        if self.gains is not None:
            log_gains = self._log_gains
            self.gains.copy_(torch.exp(log_gains - log_gains.mean(0, keepdim=True)))
        weights = _Loss(options.distortion_weight, options.depth_weight if self.depths is not None else 0.0, options.opacity_weight, _SCALE)
        kernel(COMPOSITING, "loss_and_gradient")(
            (-(-self.most_rays // 4),), 128, self.outputs, self.positions, self.lengths, self.points, self.ranges, self.truth, self.behind,
            self.view_of, self.wanted, self.gains, self.control, weights, self.field.transparent, self.d_raw,
            None if self.field.transparent else self.d_behind, self.d_gains, self.statistics, self.grid.density, self.grid.limits, self.grid.side, 0.05,
        )  # fmt: skip
        if not self.field.transparent:
            self.shape.background_backward(self.harmonics, self.flat[start:], self.control, self.behind, self.d_behind, self.d_flat[start:])
        if self.gains is not None:
            self._gains_gradient()
        self.shape.backward(
            table.encoded, colored, self.harmonics, self.ray_of, self.half_flat, self.flat, self.d_raw, count, table.d_encoded, d_colored, self.d_flat
        )
        table.learn(self.points, count, self.rates)
        if color is not None and learn_color:
            color.learn(self.points, count, self.rates)
        self.shape.adam(self.flat, self.half_flat, self.d_flat, self.flat_moments, self.rates[4:])
        self._advance()

    def _draw(self) -> None:
        pixels, spacing = self.pixels, self.spacing
        defines = {"MOST": -(-spacing.samples // 32) * 32, "CONTRACTED": spacing.contracted, "TRANSPARENT": self.field.transparent}
        kernel(SAMPLING, "draw", defines)(
            (-(-self.most_rays // 4),), 128, pixels.rgb, pixels.inside, self.depths, pixels.candidates, ctypes.c_longlong(len(pixels.candidates)),
            pixels.offsets, len(pixels.offsets) - 1, self.widths, self.matrices, self.centers, self.near_far, self.guide, spacing.step,
            spacing.cone, spacing.finest, spacing.uniform, spacing.samples, self.grid.side, self.options.seed, self.capacity, self.control,
            self.ranges, self.truth, self.behind, self.view_of, self.wanted, self.harmonics, self.positions, self.lengths, self.ray_of, self.points,
        )  # fmt: skip
        kernel(SAMPLING, "fit", defines)((1,), 1, self.control, self.capacity)

    def _advance(self) -> None:
        options = self.options
        rates = (options.learning_rate, options.network_learning_rate)
        self.shape.advance(
            self.control, self.rates, self.smoothed, max(options.steps, 1), rates, _BETAS, _EPSILON, options.samples_per_step,
            (_LEAST_RAYS, self.most_rays),
        )  # fmt: skip

    @property
    def _log_gains(self) -> Tensor:
        return self.flat[-self.field.log_gains.numel() :].view_as(self.field.log_gains)

    def _gains_gradient(self) -> None:
        assert self.gains is not None
        assert self.d_gains is not None
        centred = self.gains * self.d_gains / self.control[1]
        centred = centred - centred.mean(0, keepdim=True)
        log_gains = self._log_gains
        self.d_flat[-log_gains.numel() :].view_as(log_gains).copy_(centred + 2e-2 * log_gains / log_gains.numel())
        self.d_gains.zero_()
