"""Training a hash-grid field on a scene: a generator that can be stopped after any step and resumed exactly."""

import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from data.errors import InputError
from data.progress import Progress
from data.scene import Scene
from kernels.compositing import accumulate, distortion, render_weights
from kernels.hashgrid.adam import adam_touched
from kernels.sampling import PackedSamples, Spacing, occupied_bits, sample_rays
from recon.depthmaps import DepthMaps
from recon.frame import Frame, choose_frame, subject_box
from recon.hashgrid.engine import HashGridRadianceField
from recon.hashgrid.field import HashGridField, spherical_harmonics
from recon.hashgrid.fused import FusedTrainer
from recon.hashgrid.fused import supports as can_fuse
from recon.hashgrid.occupancy import OccupancyGrid, allowed_cells
from recon.hashgrid.options import HashGridOptions
from recon.hashgrid.pixels import PixelBatch, PixelSource
from recon.hashgrid.tables import TrainedTable
from recon.hashgrid.tiled import supports as can_tile
from recon.hashgrid.tiled import tiled_step

_WARMUP_STEPS = 200
_GRID_EVERY = 16
_BURST = 25
"""Steps that a GPU takes before the host looks; a divisor of the usual distances of previews and checkpoints."""


class HashGridTrainer:
    """Owns the field, its optimiser and its random numbers; `train` advances them."""

    def __init__(self, scene: Scene, options: HashGridOptions, device: torch.device | str = "cpu", maps: DepthMaps | None = None) -> None:
        """
        Args:
            scene: posed pinhole views (see `data.prepare`), with sparse points or masks if there are any.
            maps: depths that stereo found, one picture a view (see `recon.surface.stereo`).
        """
        if len(scene) < 2:
            raise InputError(f"Training needs at least 2 posed photos, not {len(scene)}. Add photos.")
        if options.train.color_every < 1:
            raise InputError(f"color_every is the number of steps between updates of colour's own grid, at least 1, not {options.train.color_every}.")
        self.options, self.device = options, torch.device(device)
        torch.manual_seed(options.train.seed)
        self.generator = torch.Generator(device=self.device)
        self.generator.manual_seed(options.train.seed)
        self.frame = choose_frame(scene)
        cell = (4.0 if self.frame.contracted else 2.0) / options.train.occupancy_side
        self.spacing = Spacing(
            0.7 * cell, options.train.cone if self.frame.contracted else 0.0, options.train.samples_per_ray, 0.125, 0.25, self.frame.contracted
        )
        self.near_far = training_range(scene, self.frame)
        self.pixels = PixelSource.load(scene, self.near_far, self.device, maps)
        transparent = scene.mask_meaning == "object"
        finest = options.field.finest_resolution or pixel_resolution(scene, self.frame)
        try:
            field = HashGridField(replace(options.field, finest_resolution=finest), self.frame.contracted, len(scene), transparent)
        except ValueError as error:
            raise InputError(f"The hash grid cannot be made: {error}") from None
        self.field = field.to(self.device)
        self.grid = OccupancyGrid(allowed_cells(scene, self.frame, options.train.occupancy_side, self.device), self.frame.contracted)
        self.tables = TrainedTable.of(self.field, options.train.color_every)
        if self.device.type == "cpu":
            self.field.grad_buffer = torch.zeros_like(self.field.table.data)
            self.field.color_grad_buffer = None if self.field.color_table is None else torch.zeros_like(self.field.color_table.data)
        networks = [p for name, p in self.field.named_parameters() if name not in self.tables and p.requires_grad]
        self.optimizer = torch.optim.Adam(networks, lr=options.train.network_learning_rate, betas=(0.9, 0.99), eps=1e-15)
        self.step = 0
        self._occupied: Tensor | None = None
        self.guide: Tensor | None = None
        """What rays are sampled by; follows the grid every few steps."""
        self.samples_per_ray = float(options.train.samples_per_ray)
        self.subject_box = subject_box(scene, self.frame)
        fused = self.device.type == "cuda" and can_fuse(self.field, self.spacing)
        self.fused = FusedTrainer(self.field, self.tables, self.grid, self.pixels, self.frame, self.spacing, options.train) if fused else None
        """Takes the steps on a GPU, where it can."""
        self.tiled = can_tile(self.field)
        """Whether steps on a CPU are taken tile by tile; else plainly, by autograd."""

    def train(self) -> Iterator[Progress]:
        """Run to the last step, yielding after each (on a GPU, after each `_BURST`); `values` has loss, PSNR of the batch, rays and samples."""
        total = self.options.train.steps
        while self.step < total:
            values = self.train_step() if self.fused is None else self._burst(min(_BURST - self.step % _BURST, total - self.step))
            yield Progress("train", self.step / total, f"step {self.step} of {total}", values)

    def train_step(self) -> dict[str, float]:
        """One optimiser step."""
        settings = self.options.train
        if self.step % _GRID_EVERY == 0 and self.step > 0:
            self.grid.refresh(self.field.density, 0.1 if self.step < _WARMUP_STEPS else 0.03, self.generator)
        rays = int(min(max(settings.samples_per_step / max(self.samples_per_ray, 1.0), 256), 32_768))
        batch = self.pixels.draw(rays, self.generator)
        self.optimizer.zero_grad(set_to_none=True)
        if self.tiled:
            loss, error, samples = self._tiled(batch)
        else:
            total, error, samples = self._loss(batch)
            total.backward()
            loss = float(total.detach())
        self._check(loss)
        self._apply_gradients()
        self.samples_per_ray = 0.9 * self.samples_per_ray + 0.1 * samples / rays
        self.step += 1
        return {"loss": loss, "psnr": _psnr(error), "rays": rays, "samples": samples}

    def _burst(self, steps: int) -> dict[str, float]:
        """Several steps by the fused kernels."""
        assert self.fused is not None
        values = self.fused.run(steps, self.generator)
        self.step = self.fused.step
        self._check(values.loss)
        return {"loss": values.loss, "psnr": _psnr(values.error), "rays": values.rays, "samples": values.samples}

    def _check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise InputError(f"Training diverged at step {self.step} (loss {loss}). Check the poses, or lower learning_rate.")

    def _sampled(self, batch: PixelBatch) -> tuple[Tensor, Tensor, PackedSamples]:
        """Origins, directions and samples of a batch's rays, in the normalised frame."""
        origins, directions, near, far = self.frame.rays(batch.rays)
        jitter = torch.rand(len(batch.rays), generator=self.generator, device=self.device)
        if self.step % 4 == 0 or self.guide is None:
            self.guide = self.grid.sampling_density
            self._occupied = occupied_bits(self.guide) if self.device.type == "cpu" else None
        return origins, directions, sample_rays(origins, directions, near, far, jitter, self.guide, self.spacing, self._occupied)

    def _tiled(self, batch: PixelBatch) -> tuple[float, float, int]:
        """Loss, error and samples of a batch; its gradients are where `_apply_gradients` looks for them."""
        origins, directions, samples = self._sampled(batch)
        truth, behind = batch.rgb, None
        if self.field.transparent:
            behind = torch.rand(len(truth), 3, generator=self.generator)
            truth = torch.where(batch.inside[:, None], truth, behind)
        found = tiled_step(
            self.field, samples, origins, directions, batch.views, truth, behind, batch.depth / self.frame.radius, self.options.train,
            self.step > _WARMUP_STEPS,
        )  # fmt: skip
        self.grid.observe_unit(found.points, found.density, rate=0.05)
        return found.loss, found.error, len(samples.positions)

    def _loss(self, batch: PixelBatch) -> tuple[Tensor, float, int]:
        """The plain step, by autograd; the twin of the others."""
        settings, count = self.options.train, len(batch.rays)
        origins, directions, samples = self._sampled(batch)
        index, middle, lengths = samples.ray_indices, samples.positions, samples.lengths
        points = origins[index] + middle[:, None] * directions[index]
        encoded = spherical_harmonics(directions)
        density, geometry = self.field.geometry(points, learn_color=self.step % settings.color_every == 0)
        color = self.field.color(geometry, encoded[index])
        self.grid.observe(points, density, rate=0.05)
        weights = render_weights(density * lengths, samples.ray_offsets)
        rgb = accumulate(weights, color, index, count)
        opacity = accumulate(weights, torch.ones_like(weights)[:, None], index, count)[:, 0]
        truth = batch.rgb
        gains = self.field.gains(batch.views) if self.field.options.appearance else None
        if gains is not None:
            rgb = rgb * gains
        if self.field.transparent:
            # A background that changes with every ray cannot be imitated by fog.
            behind = torch.rand(count, 3, generator=self.generator, device=self.device)
            truth = torch.where(batch.inside[:, None], truth, behind)
        else:
            behind = self.field.background(encoded)
            if gains is not None:
                behind = behind * gains  # the photo's exposure holds for what it shows behind, but not for our stand-in
        rgb = rgb + (1 - opacity)[:, None] * behind
        loss = torch.nn.functional.huber_loss(rgb, truth, delta=0.1) / 0.1
        if settings.distortion_weight > 0 and self.step > _WARMUP_STEPS:
            near_t = 1 / (1 + middle)  # in disparity, so that what is far does not dominate
            spread = distortion(weights, 1 - near_t, lengths * near_t**2, samples.ray_offsets)
            loss = loss + settings.distortion_weight * spread.mean()
        if settings.depth_weight > 0 and self.pixels.depth is not None:
            known = batch.depth > 0
            wanted = (batch.depth / self.frame.radius).clamp(min=1e-6)
            # The mean distance alone could be met by fog on both sides; the mean deviation cannot.
            deviation = ((middle - wanted[index]) / wanted[index]).abs().clamp(max=0.5)
            off = accumulate(weights, deviation[:, None], index, count)[:, 0] + 0.5 * (1 - opacity)
            loss = loss + settings.depth_weight * (off * known).mean()
        if settings.opacity_weight > 0 and self.field.transparent:
            clamped = opacity.clamp(1e-4, 1 - 1e-4)
            entropy = -(clamped * clamped.log() + (1 - clamped) * (1 - clamped).log())
            loss = loss + settings.opacity_weight * entropy.mean()
        if self.field.options.appearance:
            loss = loss + 1e-2 * self.field.log_gains.square().mean()
        error = float((rgb.detach() - truth).square().mean())
        return loss, error, len(weights)

    def _apply_gradients(self) -> None:
        settings = self.options.train
        progress = self.step / max(settings.steps, 1)
        scale = min((self.step + 1) / 20, 1.0) * (1 / 30) ** progress
        for group in self.optimizer.param_groups:
            group["lr"] = settings.network_learning_rate * scale
        self.optimizer.step()
        buffers = {"table": self.field.grad_buffer, "color_table": self.field.color_grad_buffer}
        for name, table in self.tables.items():
            grad = table.parameter.grad if buffers[name] is None else buffers[name]
            if grad is not None and self.step % table.every == 0:
                adam_touched(table.parameter.data, grad, table.moments, self.step + 1, settings.learning_rate * scale)

    def radiance_field(self) -> HashGridRadianceField:
        """The field as it is now; shares its parameters with the trainer."""
        if self.fused is not None:
            self.fused.write_back()
        finer = replace(self.spacing, samples=int(1.5 * self.spacing.samples), uniform=0.15)
        return HashGridRadianceField(self.field, self.frame, self.grid.sampling_density, finer, self.subject_box, self.near)

    @property
    def near(self) -> float:
        """Where rays of a view that was not trained on start, scene units."""
        return float(np.median(self.near_far[:, 0]))

    def save(self, path: Path) -> None:
        """Write everything that the next step depends on, to a temporary name first."""
        from safetensors.torch import save_file

        if self.fused is not None:
            self.fused.write_back()
        tensors = {f"field.{k}": v.detach().contiguous() for k, v in self.field.state_dict().items()}
        tensors |= {f"{name}.{key}": v for name, table in self.tables.items() for key, v in table.state().items()}
        tensors["grid.density"] = self.grid.density
        tensors["guide"] = self.grid.sampling_density if self.guide is None else self.guide
        tensors["generator"] = self.generator.get_state()
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v.contiguous() for k, v in state.items()}
        if self.fused is not None:
            tensors |= {f"fused.{k}": v for k, v in self.fused.state().items()}
        meta = {"step": self.step, "samples_per_ray": self.samples_per_ray, "options": repr(self.options), "frame": repr(self.frame)}
        partial = path.with_name(f".{path.name}.part")
        save_file(tensors, partial, metadata={"trainer": json.dumps(meta)})
        partial.replace(path)

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote, bit for bit.

        Raises:
            InputError: the file is damaged, or belongs to other options or another scene.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt", device=str(self.device)) as file:
                meta = json.loads(file.metadata()["trainer"])
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise InputError(f"The checkpoint '{path.name}' is damaged ({error}). Delete it and train again.") from None
        if meta["options"] != repr(self.options) or meta["frame"] != repr(self.frame):
            raise InputError(f"The checkpoint '{path.name}' belongs to other options or photos. Use --overwrite to start again.")
        self.field.load_state_dict({k.removeprefix("field."): v for k, v in tensors.items() if k.startswith("field.")})
        self.grid.density.copy_(tensors["grid.density"])
        for name, table in self.tables.items():
            for key, own in table.state().items():
                own.copy_(tensors[f"{name}.{key}"])
        self.generator.set_state(tensors["generator"].cpu())
        state = self.optimizer.state_dict()
        state["state"] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, i, name = key.split(".")
                state["state"].setdefault(int(i), {})[name] = value
        self.optimizer.load_state_dict(state)
        self.guide = tensors["guide"]
        self._occupied = occupied_bits(self.guide) if self.device.type == "cpu" else None
        if self.fused is not None:
            if "fused.flat" not in tensors:
                raise InputError(f"The checkpoint '{path.name}' was written without a GPU. Use --device cpu to go on, or --overwrite to start again.")
            self.fused.load_state({k.removeprefix("fused."): v for k, v in tensors.items() if k.startswith("fused.")}, meta["step"])
        self.step, self.samples_per_ray = meta["step"], meta["samples_per_ray"]


def _psnr(error: float) -> float:
    return float(-10 * np.log10(max(error, 1e-10)))


def pixel_resolution(scene: Scene, frame: Frame) -> int:
    """Cells a side of a grid whose cells are half as large as a pixel's footprint at the subject.

    Finer levels could only hold noise: no photo says anything about them.
    """
    cameras = scene.posed()
    distance = np.linalg.norm(cameras.centers - np.array(frame.center), axis=1)
    footprint = float(np.median(distance / cameras.intrinsics[:, 0, 0])) / frame.radius
    extent = 4.0 if frame.contracted else 2.0
    return int(np.clip(2 * extent / footprint, 128, 4096))


def training_range(scene: Scene, frame: Frame) -> np.ndarray:
    """Near and far of every view in scene units, from what is known of the depths, with room to spare ``[n, 2]``."""
    cameras = scene.posed()
    distance = np.linalg.norm(cameras.centers - np.array(frame.center), axis=1)
    if not frame.contracted:
        return np.stack([np.zeros(len(cameras)), np.full(len(cameras), np.inf)], axis=1)
    near = np.full(len(cameras), 0.05 * float(np.median(distance)))
    if scene.near_far is not None:
        near = np.maximum(0.5 * scene.near_far[:, 0], 1e-3 * frame.radius)
    return np.stack([near, np.full(len(cameras), np.inf)], axis=1)
