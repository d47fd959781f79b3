"""Training on procedural worlds: on one GPU, on many (torchrun), or, at toy size, on a CPU."""

import math
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from data.errors import InputError
from data.files import write_json
from data.worlds import layout as L
from data.worlds.bank import Bank, make_bank
from data.worlds.renderer import distances
from recon.general.batches import Batch, enlarged, make_batch
from recon.general.losses import ray_losses, volume_losses
from recon.general.marching import to_distance
from recon.general.model import GeneralNetwork
from recon.general.options import LossOptions, TrainOptions
from recon.general.validation import SEEDS, real_scores, validate
from recon.general.weights import SHIPPED, load_network, read_card, save_weights


class Objective(nn.Module):
    """The network and its losses as one module, so that DDP sees one forward pass."""

    def __init__(self, network: GeneralNetwork, options: LossOptions) -> None:
        super().__init__()
        self.network, self.options = network, options

    def forward(self, batch: Batch, bank: Bank, follow: float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
        """The whole loss and its terms; ``follow``: see `volume.Cascade`."""
        device = batch.images.device
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
            sources, levels = self.network.sources(
                batch.images, batch.intrinsics, batch.camera_to_world, batch.neighbours, batch.view_near, batch.view_far, batch.present,
                follow,
            )  # fmt: skip
            traced = self.network.trace(sources, batch.origins, batch.directions, batch.near, batch.far, jitter=True)
        classes, errors = volume_losses(levels, batch)
        terms = ray_losses(traced, batch, true_distances(bank, batch, traced.coarse_samples), true_distances(bank, batch, traced.samples))
        o = self.options
        total = (
            o.color * terms["color"] + o.ray_depth * (terms["depth"] + 0.5 * terms["depth_coarse"]) + o.distance * terms["distance"]
            + o.volume_class * classes + o.volume_depth * errors
        )  # fmt: skip
        return total, {"total": total, **terms, "classes": classes, "errors": errors}


@torch.no_grad()
def true_distances(bank: Bank, batch: Batch, samples: Tensor) -> Tensor:
    """Exact signed distance at samples of the rays, scene units."""
    t = to_distance(samples, batch.near.reshape(-1, 1), batch.far.reshape(-1, 1))
    points = batch.origins[:, :, None] + batch.directions[:, :, None] * t.view(*batch.near.shape, -1, 1)
    index = bank.cameras[batch.worlds, 0, L.CAMERA_WORLD].long()
    return distances(bank.worlds, index[:, None, None].expand(points.shape[:3]).reshape(-1), points.reshape(-1, 3)).view(samples.shape)


def freeze(network: GeneralNetwork, parts: tuple[str, ...]) -> None:
    """Take named parts of a network out of training.

    Raises `InputError` for a name that the network has not, and where nothing would be left to train.
    """
    known = [name for name, _ in network.named_children()]
    unknown = [name for name in parts if name not in known]
    if unknown:
        raise InputError(f"The model has no part named '{unknown[0]}' that could be `frozen`. Its parts are {', '.join(known)}.")
    for name in parts:
        network.get_submodule(name).requires_grad_(False)
    if not any(p.requires_grad for p in network.parameters()):
        raise InputError("All parts of the model are `frozen`, so nothing is left to train. Leave one out.")


class Trainer:
    """Steps, checkpoints, validation; one process of one or many."""

    def __init__(self, options: TrainOptions, out: Path, device: torch.device, rank: int = 0, processes: int = 1) -> None:
        self.options, self.out, self.device, self.rank, self.processes = options, out, device, rank, processes
        if options.batch < 1 or options.views < 3 or options.world_views <= options.views:
            raise InputError("Training needs batch >= 1, views >= 3 and world_views > views. Correct the configuration.")
        if not options.enlargements or min(options.enlargements) < 1:
            raise InputError("`enlargements` are whole factors of at least 1. Correct the configuration.")
        if any(side % 16 for size in options.sizes for side in size):
            raise InputError("Picture sizes for training must be multiples of 16. Correct `sizes`.")
        out.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(options.seed)
        start = options.start_from
        self.earlier_runs: list[dict[str, Any]] = []
        if start is not None:
            self.earlier_runs = read_card(SHIPPED if str(start) == "shipped" else start).get("runs", [])
        self.network = GeneralNetwork(options.model) if start is None else load_network(None if str(start) == "shipped" else start)
        self.network.to(device).train()
        freeze(self.network, options.frozen)
        if device.type == "cuda":
            self.network.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for module in self.network.cascade.regularise.modules():
                if isinstance(module, nn.Conv3d):
                    module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(), options.learning_rate, betas=(0.9, 0.98), weight_decay=options.weight_decay, fused=device.type == "cuda"
        )
        self.step, self.elapsed, self.clock = 0, 0.0, 0.0
        self.rows: list[dict[str, float]] = []
        self.scores: list[dict[str, float]] = []
        self.generator = torch.Generator(device).manual_seed(options.seed * 1000 + rank)
        if (out / "training.safetensors").exists():
            self._load()
        workers = max(min((os.cpu_count() or 1) - 1, 12), 1)
        self.pool = ProcessPoolExecutor(workers, mp_context=get_context("forkserver")) if options.worlds >= 100 else None
        # Seeds never repeat: each process counts upwards in a range of its own.
        self.next_seed = options.seed * 100_000 + rank * 1_000_000 + self.step * 7
        if SEEDS.start - 1_000_000 < self.next_seed < SEEDS.stop:
            raise InputError(f"With seed {options.seed}, process {rank} would come to train on the held-out worlds. Choose a seed below 80.")
        self.banks = [self._bank(options.worlds, size) for size in options.sizes]
        objective = Objective(self.network, options.loss)
        if options.compile:
            for module in (*self.network.cascade.regularise, self.network.coarse, self.network.geometry, self.network.blending, self.network.encoder):
                module.compile(dynamic=False)
        self.objective = DistributedDataParallel(objective) if processes > 1 else objective

    def train(self) -> Iterator[dict[str, float]]:
        """Run to the end of the schedule; yields a row of numbers now and then. Every row and score is in `OUT/*.csv`."""
        started = time.perf_counter() - self.elapsed
        sums: dict[str, Tensor] = {}
        since = 0
        while self.progress < 1:
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()
            self._refresh()
            terms, norm = self._step()
            self.step += 1
            since += 1
            for name, value in {**terms, "gradient": norm}.items():
                sums[name] = sums.get(name, 0) + value.detach()
            if self.step % self.options.log_every == 0:
                # One synchronisation for all numbers, and the only one.
                values = {name: float(v) / since for name, v in sums.items()}
                self.elapsed = time.perf_counter() - started
                row = {"step": self.step, "seconds": self.elapsed, "rate": self._rate(), **values}
                if not math.isfinite(values["total"]):
                    raise RuntimeError(f"The loss became {values['total']} at step {self.step}. Go on from the last checkpoint with a lower learning_rate.")
                self.rows.append(row)
                sums, since = {}, 0
                yield row
            self._tick(started)
            if self.step % self.options.checkpoint_every == 0 and self.rank == 0:
                self.save()
            if self.options.validation_worlds and self.step % self.options.validate_every == 0 and self.rank == 0:
                yield self.validate()
        if self.rank == 0:
            self.save()  # first of all: nothing that validation meets may cost the run
            if self.options.validation_worlds:
                yield self.validate()
                self.save()

    @property
    def progress(self) -> float:
        """Share of the schedule that is done."""
        if self.options.minutes is None:
            return self.step / self.options.steps
        return self.clock / (60 * self.options.minutes)

    def _tick(self, started: float) -> None:
        """Tell the time; all processes go by the first one's clock, so that they stop at the same step."""
        self.elapsed = time.perf_counter() - started
        if self.processes == 1:
            self.clock = self.elapsed
        elif self.step % 20 == 0:  # not at every step: an answer from the GPU waits for all its work
            clock = torch.tensor(self.elapsed, device=self.device, dtype=torch.float64)
            dist.broadcast(clock, 0)
            self.clock = float(clock)

    def _rate(self) -> float:
        o, p = self.options, min(self.progress, 1.0)
        if p < o.warm_up:
            return o.learning_rate * max(p / o.warm_up, 1e-3)
        return o.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (p - o.warm_up) / (1 - o.warm_up))))

    def _step(self) -> tuple[dict[str, Tensor], Tensor]:
        o = self.options
        # The jitter of the samples belongs to the step, so that a resumed run draws what the whole run would have drawn.
        torch.manual_seed((o.seed * 4096 + self.rank) * 10_000_019 + self.step)
        bank = self.banks[self.step % len(self.banks)]
        # Banks take turns within one factor, so that every picture size meets every factor; the same in all processes.
        factor = o.enlargements[self.step // len(self.banks) % len(o.enlargements)]
        batch = make_batch(bank, max(o.batch // factor, 1), o.views, factor * o.rays, o.neighbours, o.flaws, self.generator)
        batch = enlarged(self.hardened(batch, bank, factor), factor)
        total, terms = self.objective(batch, bank)
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), o.clip)
        self.optimizer.step()
        with torch.no_grad():
            decay = min(o.average, (1 + self.step) / (10 + self.step))
            state = self.network.state_dict()
            torch._foreach_lerp_(list(self.average.values()), [state[k] for k in self.average], 1 - decay)
        return terms, norm

    def hardened(self, batch: Batch, bank: Bank, factor: int) -> Batch:
        """A place for training that makes its batches harder (`attacks.defences.training`): before photos are enlarged by ``factor``."""
        return batch

    def _bank(self, worlds: int, size: tuple[int, int]) -> Bank:
        seeds = range(self.next_seed, self.next_seed + worlds)
        self.next_seed += worlds
        return make_bank(seeds, *size, self.options.world_views, self.device, executor=self.pool, plain=self.options.plain)

    def _refresh(self) -> None:
        """Replace some worlds of one bank by new ones."""
        o = self.options
        if not self.step or self.step % o.refresh_every or not o.refresh_worlds:
            return
        at = self.step // o.refresh_every
        bank = self.banks[at % len(self.banks)]
        fresh = self._bank(o.refresh_worlds, o.sizes[at % len(self.banks)])
        count = min(len(fresh), len(bank))
        place = (at // len(self.banks) * o.refresh_worlds + torch.arange(count, device=self.device)) % len(bank)
        for name in ("headers", "objects", "primitives", "materials"):
            getattr(bank.worlds, name)[place] = getattr(fresh.worlds, name)[:count]
        cameras = fresh.cameras[:count].clone()
        cameras[:, :, L.CAMERA_WORLD] = place[:, None].float()
        bank.cameras[place], bank.rgb[place], bank.depth[place] = cameras, fresh.rgb[:count], fresh.depth[:count]

    def validate(self) -> dict[str, float]:
        """Scores of the averaged weights on the held-out worlds."""
        network = GeneralNetwork(self.network.options).to(self.device).eval()
        network.load_state_dict(self.average)
        if not hasattr(self, "held_out"):
            self.held_out = make_bank(SEEDS, 256, 192, 12, self.device)
        started = time.perf_counter()
        scores = validate(network, self.held_out, self.options.views, self.options.neighbours, self.options.validation_worlds)
        real = real_scores(network, self.options.real_scenes) if self.options.real_scenes is not None and self.options.real_scenes.is_dir() else {}
        row = {"step": self.step, "seconds": self.elapsed, **asdict(scores), **real, "validation_seconds": time.perf_counter() - started}
        self.scores.append(row)
        return row

    # --- checkpoints -------------------------------------------------------------------------------------------------

    def save(self) -> None:
        """Write the averaged weights with their card, everything needed to resume, the tables and the curves."""
        from safetensors.torch import save_file

        run = {
            "steps": self.step, "minutes": round(self.elapsed / 60, 2), "processes": self.processes,
            "device": torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU",
        }  # fmt: skip
        runs = [*self.earlier_runs, run]
        card: dict[str, Any] = {
            "licence": "Apache-2.0", "data": "procedural worlds made by this program (data/worlds); no photograph was seen",
            "runs": runs, "gpu_minutes": round(sum(r["minutes"] * r["processes"] for r in runs if r["device"] != "CPU"), 2),
            "validation": self.scores[-1] if self.scores else None,
        }  # fmt: skip
        save_weights(self.out / "general.safetensors", self.network.options, self.average, card)
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()} | {f"average.{k}": v for k, v in self.average.items()}
        for i, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{i}.{k}": v for k, v in state.items()}
        tensors["generator"] = self.generator.get_state()
        partial = self.out / ".training.safetensors.part"
        save_file({k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}, partial)
        partial.replace(self.out / "training.safetensors")
        write_json(self.out / "training.json", {"step": self.step, "elapsed": self.elapsed, "rows": self.rows, "scores": self.scores})
        from recon.general.curves import draw_curves, write_table

        write_table(self.out / "losses.csv", self.rows)
        write_table(self.out / "scores.csv", self.scores)
        draw_curves(self.out / "curves.png", self.rows, self.scores)

    def _load(self) -> None:
        import json

        from safetensors.torch import load_file

        tensors = load_file(self.out / "training.safetensors")
        meta = json.loads((self.out / "training.json").read_text())
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}}
        states: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            head, _, rest = name.partition(".")
            if head in parts:
                parts[head][rest] = value.to(self.device)
            elif head == "optimizer":
                index, _, key = rest.partition(".")
                states.setdefault(int(index), {})[key] = value.to(self.device) if key != "step" else value
        try:
            self.network.load_state_dict(parts["network"])
        except RuntimeError:
            raise InputError(f"'{self.out}' holds the training of another model. Choose another folder, or the same options.") from None
        self.average = parts["average"]
        # Moments take the layout of their parameters: the fused optimiser insists on it.
        parameters = list(self.network.parameters())
        for number, state in states.items():
            for key in ("exp_avg", "exp_avg_sq"):
                state[key] = torch.empty_like(parameters[number], requires_grad=False).copy_(state[key])
        self.optimizer.load_state_dict({"state": states, "param_groups": self.optimizer.state_dict()["param_groups"]})
        self.step, self.elapsed, self.rows, self.scores = meta["step"], meta["elapsed"], meta["rows"], meta["scores"]
        self.clock = self.elapsed
        if self.rank == 0:
            self.generator.set_state(tensors["generator"])
        else:  # the checkpoint is the first process's; the others go on with numbers that no process has drawn
            self.generator.manual_seed((self.options.seed * 1000 + self.rank) * 1_000_003 + self.step)


def distributed() -> tuple[int, int, torch.device]:
    """Rank, number of processes and device of this process, as torchrun set them up."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    cuda = torch.cuda.is_available()
    if processes == 1:
        return 0, 1, torch.device("cuda" if cuda else "cpu")
    dist.init_process_group("nccl" if cuda else "gloo")
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if cuda:
        torch.cuda.set_device(local)
    return dist.get_rank(), processes, torch.device("cuda", local) if cuda else torch.device("cpu")
