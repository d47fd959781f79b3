"""Tuning on a scene: seconds to minutes of training on its own photos, from the shipped weights.

Photos are rendered from the others and compared with themselves, all but a few, which decide what is kept; if that has helped
them by half of the time, they are trained on as well from then on, and decide nothing more. What changes: the small networks
along the ray, the depth of every source view, pixel by pixel, and a hash grid of corrections (`detail`). The encoder and the
volumes stay as they are, so that a step costs a few rays and no volumes, and what must be kept is small.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import InputError
from data.progress import Progress
from data.scene import Scene
from recon.fields import Rays, pixel_rays
from recon.general.detail import Detail
from recon.general.engine import GeneralField
from recon.general.photos import photo_tensor
from recon.general.sources import Sources, slopes
from recon.general.views import corner_cosine

CHECKS = 6
"""How often, before the end, tuning asks whether it still helps."""
GAIN = 0.05
"""What it must have gained by then to be trusted with every photo, dB."""


@dataclass(frozen=True)
class TuneOptions:
    """Options of per-scene tuning."""

    seconds: float = 60.0
    rays: int | None = None
    """Rays a step; by device if not given: 384 on a CPU, 16384 on a GPU, which would only wait for its orders with fewer."""
    network_rate: float = 4e-4
    """Learning rate of the networks."""
    depth_rate: float = 1e-3
    """Learning rate of the source views' logarithmic depth."""
    grid_rate: float = 1e-2
    """Learning rate of the hash grid of corrections; its networks learn at a fifth of it."""
    own_share: float = 0.25
    """Share of the steps in which a photo may be blended from itself: else tuning would forget to trust a photo that was taken
    from nearly the same place, which leaving photos out never shows."""
    on_subject: float = 0.75
    """Share of the rays that fall on the subject, where masks cut it out."""
    calm: float = 0.005
    """Weight that keeps depth corrections small and smooth."""
    outlier: float = 0.1
    """Error of a colour from which on its cost grows in proportion, not by its square."""
    together: float = 0.5
    """Share of the time after which the photos that were kept aside are trained on as well, if tuning has helped them."""
    seed: int = 0


@dataclass(frozen=True)
class Tuned:
    """What tuning achieved, on rays that were fixed before it began."""

    seconds: float
    steps: int
    psnr_before: float
    psnr_after: float
    held_out: bool
    """Whether the rays belong to held-out views; else to the tuned photos, each rendered from the others."""


class Tuner:
    """Tunes a field in place; its networks become its own."""

    def __init__(self, field: GeneralField, scene: Scene, options: TuneOptions, held_out: Scene | None = None) -> None:
        if len(scene) < 3:
            raise InputError(f"Tuning renders each photo from the others, so it needs at least 3; this scene has {len(scene)}. Add photos, or leave --tune out.")
        self.field, self.options = field, options
        self.device = field.model.device
        field.make_own()
        self.network = field.model.network
        self.views = _Views(scene, self.device)
        self.judged = self.views if held_out is None else _Views(held_out, self.device)
        self.held_out = held_out is not None
        self.generator = torch.Generator().manual_seed(options.seed)
        # Every eighth photo (one at least) is not trained on but says whether tuning helps.
        self.checks = list(range(len(scene) // 2 % 8, len(scene), 8)) or [0]
        self.trained = [i for i in range(len(scene)) if i not in self.checks]
        # Depth is corrected by a factor: exp(change).
        self.change = torch.zeros_like(field.sources.surface[..., 0]).requires_grad_()
        self.untouched = field.sources
        for p in self.network.parameters():
            p.requires_grad_(False)
        modules = (self.network.coarse, self.network.geometry, self.network.blending)
        parameters = [p.requires_grad_(True) for m in modules for p in m.parameters()]
        torch.manual_seed(options.seed)
        if self.network.detail is None:
            self.network.detail = Detail.around(field._points(), _pixel(field))
        detail = self.network.detail
        small = [p.requires_grad_(True) for m in (detail.shape, detail.color) for p in m.parameters()]
        rates = (
            (parameters, options.network_rate), ([self.change], options.depth_rate), ([detail.table.requires_grad_(True)], options.grid_rate),
            (small, 0.2 * options.grid_rate),
        )  # fmt: skip
        self.optimizer = torch.optim.Adam([{"params": p, "lr": rate, "base": rate} for p, rate in rates], betas=(0.9, 0.98), eps=1e-12)

    def tune(self) -> Iterator[Progress]:
        """Train until the time is over; the iterator's last message states the gain, `result` holds it."""
        o = self.options
        judge = self._judge_rays()
        before = self._judged(judge)
        best, kept, asked = self._checked(), self._snapshot(), 0
        least, together = best + GAIN, False
        started, step = time.perf_counter(), 0
        while (spent := time.perf_counter() - started) < o.seconds:
            share = spent / o.seconds
            for group in self.optimizer.param_groups:
                group["lr"] = group["base"] * min(1.0, (step + 1) / 20) * (1 - 0.95 * share)
            loss = self._step()
            step += 1
            if step % 5 == 0:
                yield Progress("tune", share, f"step {step}", {"loss": loss})
            if not together and share * CHECKS > asked + 1:
                asked, score = asked + 1, self._checked()
                if score > best:
                    best, kept = score, self._snapshot()
                if share > o.together and score > least:
                    together, self.trained = True, list(range(len(self.views)))
        if not together and self._checked() < best:
            self._restore(kept)
        self.field.sources = self._sources()
        self.field.sources = replace(self.field.sources, surface=self.field.sources.surface.detach())
        for p in self.network.parameters():
            p.requires_grad_(False)
        self.result = Tuned(round(time.perf_counter() - started, 2), step, before, self._judged(judge), self.held_out)
        yield Progress("tune", 1.0, f"{self.result.psnr_before:.2f} -> {self.result.psnr_after:.2f} dB")

    def _checked(self) -> float:
        """PSNR of photos that are never trained on: what is kept is what was best for them, at worst the field as it came."""
        self.field.sources = self._sources()
        fixed = torch.Generator().manual_seed(2)
        count = 2048 if self.device.type == "cuda" else 512
        return self._judged([(v, *self.views.sample(v, count, fixed)) for v in self.checks], left_out=True)

    def _snapshot(self) -> list[Tensor]:
        return [p.detach().clone() for group in self.optimizer.param_groups for p in group["params"]]

    @torch.no_grad()
    def _restore(self, values: list[Tensor]) -> None:
        for p, value in zip((p for group in self.optimizer.param_groups for p in group["params"]), values, strict=True):
            p.copy_(value)

    def _sources(self) -> Sources:
        """The source views with their depths corrected."""
        inverse = self.untouched.surface[..., 0] * torch.exp(self.change)
        surface = torch.cat([slopes(inverse), self.untouched.surface[..., 3:]], dim=-1)
        return replace(self.untouched, surface=surface)

    def _step(self) -> float:
        count = self.options.rays or (16384 if self.device.type == "cuda" else 384)
        view = self.trained[int(torch.randint(len(self.trained), (1,), generator=self.generator))]
        rays, truth = self.views.sample(view, count, self.generator, self.options.on_subject)
        self.field.sources = self._sources()
        own = float(torch.rand((), generator=self.generator)) < self.options.own_share
        rgb = self._rendered(self.views, view, rays, leave_out=None if own else view)
        color = ((rgb - truth).square() + self.options.outlier**2).sqrt().mean()
        c = self.change
        rough = c.square().mean() + (c[..., 1:, :] - c[..., :-1, :]).abs().mean() + (c[..., 1:] - c[..., :-1]).abs().mean()
        loss = color + self.options.calm * rough
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.optimizer.param_groups[0]["params"], 1.0)
        self.optimizer.step()
        return float(color.detach()) if self.device.type == "cpu" else 0.0

    def _rendered(self, views: "_Views", view: int, rays: Rays, leave_out: int | None) -> Float[Tensor, "n 3"]:
        center, forward = views.cameras.centers[view], views.cameras.forwards[view]
        chosen = self.field.nearest_views(center, forward, corner_cosine(views.cameras, view), leave_out)
        near, far = self.field._range(rays)
        return self.field.trace(rays, chosen, near, far).rgb

    def _judge_rays(self) -> list[tuple[int, Rays, Tensor]]:
        """Up to 2048 fixed rays of up to 8 views."""
        pick = np.unique(np.linspace(0, len(self.judged) - 1, min(8, len(self.judged))).round().astype(int))
        fixed = torch.Generator().manual_seed(1)
        return [(int(v), *self.judged.sample(int(v), 256, fixed)) for v in pick]

    @torch.no_grad()
    def _judged(self, rays: list[tuple[int, Rays, Tensor]], left_out: bool = False) -> float:
        """Mean PSNR of views by fixed rays: of the judged views, or of the tuned photos, each rendered from the others."""
        own = left_out or not self.held_out
        views = self.views if own else self.judged
        errors = [(self._rendered(views, v, r, v if own else None).clamp(0, 1) - truth).square().mean() for v, r, truth in rays]
        return float(-10 * torch.log10(torch.stack(errors) + 1e-10).mean())


def _pixel(field: GeneralField) -> float:
    """Typical size of a photo's pixel on the surfaces it shows, internal units."""
    surface, k = field.sources.surface[0, :, ::8, ::8, 0].detach(), field.sources.intrinsics[0]
    return float((1 / (surface.clamp(min=1e-9) * k[:, 0, 0, None, None])).median())


class _Views:
    """Photos to be rendered, with rays through random pixels of them."""

    def __init__(self, scene: Scene, device: torch.device) -> None:
        self.cameras = scene.posed()
        self.photos = [photo_tensor(scene, i) for i in range(len(scene))]
        self.masks = [scene.mask(i) for i in range(len(scene))]
        self.subject = scene.mask_meaning == "object"
        self.device = device

    def __len__(self) -> int:
        return len(self.photos)

    def sample(self, view: int, count: int, generator: torch.Generator, on_subject: float = 1.0) -> tuple[Rays, Tensor]:
        """Rays through random pixels that count, and their colours.

        Args:
            on_subject: share of them inside the mask, where masks cut out a subject; the others fall anywhere.
        """
        _, h, w = self.photos[view].shape
        index = torch.randint(h * w, (count,), generator=generator)
        mask = self.masks[view]
        if mask is not None and mask.any():
            allowed = torch.from_numpy(np.flatnonzero(mask))
            inside = round(count * on_subject) if self.subject else count
            index[:inside] = allowed[torch.randint(len(allowed), (inside,), generator=generator)]
        pixels = torch.stack([index % w + 0.5, index // w + 0.5], dim=-1).to(self.device)
        near, far = torch.zeros(count, device=self.device), torch.full((count,), torch.inf, device=self.device)
        views = torch.zeros(count, dtype=torch.long, device=self.device)
        truth = self.photos[view].flatten(1)[:, index].T.to(self.device)
        return pixel_rays(self.cameras.select([view]), views, pixels, near, far), truth


def save_tuning(field: GeneralField, folder: Path) -> None:
    """Write `tuned.safetensors`: the networks along the ray, the corrections, and each view's depth."""
    from safetensors.torch import save_file

    tensors = {f"network.{k}": v for k, v in field.model.network.state_dict().items() if k.split(".")[0] in {"coarse", "geometry", "blending", "detail"}}
    if "network.detail.table" in tensors:  # half of the file's size, and more digits than it needs
        tensors["network.detail.table"] = tensors["network.detail.table"].half()
    tensors["inverse_depth"] = field.sources.surface[..., 0]
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / ".tuned.safetensors.part"
    save_file({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, partial)
    partial.replace(folder / "tuned.safetensors")


def load_tuning(field: GeneralField, folder: Path) -> None:
    """Apply what `save_tuning` wrote to a field that has just looked at the same photos.

    Raises:
        InputError: the file does not fit.
    """
    from safetensors.torch import load_file

    try:
        tensors = load_file(folder / "tuned.safetensors")
        inverse = tensors.pop("inverse_depth").to(field.model.device)
        field.make_own()
        network = field.model.network
        weights = {k.removeprefix("network."): v for k, v in tensors.items()}
        corrections = {k.removeprefix("detail."): v for k, v in weights.items() if k.startswith("detail.")}
        network.detail = Detail.stored(corrections).to(field.model.device).requires_grad_(False) if corrections else None
        network.load_state_dict(weights, strict=False)
        surface = torch.cat([slopes(inverse), field.sources.surface[..., 3:]], dim=-1)
    except Exception as error:  # safetensors has an exception of its own for damaged files
        raise InputError(f"The tuning in '{folder}' does not fit ({str(error).splitlines()[0]}). Reconstruct it again.") from None
    field.sources = replace(field.sources, surface=surface)
