"""The peer of the training benchmark: nerfacc's occupancy grid, sampler and renderer around tiny-cuda-nn's encoding.

The settings are those of nerfacc's example for unbounded scenes (four nested grids of 128 cells a side, step 1e-3, cone 0.004, alpha
threshold 0.01, 2^18 samples a step, Adam at 1e-2). Frame, contraction, networks and background are ours, so that what differs is how
samples are found, encoded, composited and how the optimiser walks. Where tiny-cuda-nn cannot be imported, its place is taken by our
kernel made to walk the table as tiny-cuda-nn is known to (`benchmarks.kernels.STAND_IN`), fed from a master copy in single precision.
"""

import numpy as np
import torch
from torch import Tensor

from benchmarks.kernels import STAND_IN
from data.images import resize
from data.scene import Scene
from kernels.hashgrid.encoding import encode
from kernels.sampling import unit_coordinates
from recon.fields import image_rays
from recon.frame import choose_frame
from recon.hashgrid.field import HashGridField, spherical_harmonics
from recon.hashgrid.options import FieldOptions
from recon.hashgrid.pixels import PixelSource
from recon.hashgrid.training import training_range
from recon.metrics import psnr

STEP, CONE, ALPHA, SAMPLES = 1e-3, 0.004, 1e-2, 1 << 18


class PeerField(HashGridField):
    """Our field on another encoding."""

    def __init__(self, options: FieldOptions, views: int) -> None:
        super().__init__(options, contracted=True, views=views, transparent=False)
        self.encoding: torch.nn.Module | None = None
        try:
            import tinycudann
        except ImportError:
            return
        growth = (options.finest_resolution / options.base_resolution) ** (1 / (options.levels - 1))
        self.encoding = tinycudann.Encoding(3, {
            "otype": "HashGrid", "n_levels": options.levels, "n_features_per_level": options.features, "log2_hashmap_size": options.log2_table_size,
            "base_resolution": options.base_resolution, "per_level_scale": growth,
        })  # fmt: skip

    @property
    def name(self) -> str:
        return f"nerfacc + {'stand-in for tcnn' if self.encoding is None else 'tcnn'}"

    def _density(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        encoded = encode(unit, self.table.half(), self.layout, schedule=STAND_IN) if self.encoding is None else self.encoding(unit)
        with torch.autocast("cuda", torch.float16):
            out = self.density_network(encoded)
        return torch.exp((out[:, 0].float() + self.options.density_bias).clamp(max=11.0)), out[:, 1:]


class NerfaccTrainer:
    """The loop."""

    def __init__(self, scene: Scene, options: FieldOptions, steps: int, device: str) -> None:
        from nerfacc.estimators.occ_grid import OccGridEstimator

        torch.manual_seed(0)
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(0)
        self.frame, self.device, self.step, self.rays = choose_frame(scene), device, 0, 1024
        if not self.frame.contracted:
            raise SystemExit("The peer's settings are for unbounded scenes; this one has an end.")
        self.near_far = training_range(scene, self.frame)
        self.pixels = PixelSource.load(scene, self.near_far, device)
        poses, center = torch.from_numpy(scene.posed().camera_to_world), torch.tensor(self.frame.center)
        self.matrices = (poses[:, :3, :3] @ torch.linalg.inv(torch.from_numpy(scene.posed().intrinsics))).float().to(device)
        self.centers = ((poses[:, :3, 3] - center) / self.frame.radius).float().to(device)
        self.widths = torch.from_numpy(scene.posed().sizes[:, 0]).to(device)
        self.nears = torch.from_numpy(self.near_far[:, 0] / self.frame.radius).float().to(device)
        self.field = PeerField(options, len(scene)).to(device)
        self.estimator = OccGridEstimator([-1.0, -1, -1, 1, 1, 1], resolution=128, levels=4).to(device)
        self.optimizer = torch.optim.Adam([p for p in self.field.parameters() if p.requires_grad], lr=1e-2, eps=1e-15)
        self.scaler = torch.amp.GradScaler("cuda", init_scale=2.0**10)
        warm = torch.optim.lr_scheduler.LinearLR(self.optimizer, start_factor=0.01, total_iters=100)
        falls = torch.optim.lr_scheduler.MultiStepLR(self.optimizer, [steps // 2, steps * 3 // 4, steps * 9 // 10], gamma=0.33)
        self.schedule = torch.optim.lr_scheduler.ChainedScheduler([warm, falls])

    def advance(self) -> None:
        """One step."""
        self.estimator.train()
        self.estimator.update_every_n_steps(self.step, occ_eval_fn=lambda x: self.field.density(x)[:, None] * STEP, occ_thre=1e-2)
        truth, *rays = self._draw()
        self.step += 1
        color, samples = self._render(*rays)
        if samples == 0:
            return
        self.rays = min(max(int(self.rays * SAMPLES / samples), 64), 1 << 17)
        loss = torch.nn.functional.smooth_l1_loss(color, truth)
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.schedule.step()

    def _draw(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Random pixels and their rays in the normalised frame, without a wait for the host: colours, origins, directions, near."""
        pixels = self.pixels
        chosen = torch.randint(len(pixels.rgb), (self.rays,), generator=self.generator, device=self.device)
        views = torch.searchsorted(pixels.offsets, chosen, right=True) - 1
        within, width = chosen - pixels.offsets[views], self.widths[views]
        places = torch.stack([within % width + 0.5, within // width + 0.5, torch.ones_like(within)], -1)
        directions = torch.nn.functional.normalize((self.matrices[views] @ places[:, :, None])[:, :, 0], dim=-1)
        return pixels.rgb[chosen].float() / 255, self.centers[views], directions, self.nears[views]

    def _render(self, origins: Tensor, directions: Tensor, near: Tensor) -> tuple[Tensor, int]:
        from nerfacc.volrend import rendering

        harmonics = spherical_harmonics(directions)

        def points(starts: Tensor, ends: Tensor, index: Tensor) -> Tensor:
            return origins[index] + directions[index] * ((starts + ends) / 2)[:, None]

        def sigma(starts: Tensor, ends: Tensor, index: Tensor) -> Tensor:
            return self.field.density(points(starts, ends, index))

        def both(starts: Tensor, ends: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
            density, geometry = self.field._density(unit_coordinates(points(starts, ends, index), True))
            return self.field.color(geometry, harmonics[index]), density

        with torch.no_grad():
            index, starts, ends = self.estimator.sampling(
                origins, directions, sigma_fn=sigma, t_min=near, render_step_size=STEP, cone_angle=CONE, alpha_thre=ALPHA, stratified=self.estimator.training
            )
        color, *_ = rendering(starts, ends, index, n_rays=len(origins), rgb_sigma_fn=both, render_bkgd=self.field.background(harmonics))
        return color, len(index)

    @torch.no_grad()
    def psnr(self, test: Scene) -> float:
        """Mean over the views of ``test``."""
        self.estimator.eval()
        cameras, near, scores = test.posed(), float(np.median(self.near_far[:, 0])), []
        for i in range(len(test)):
            origins, directions, nears, _ = self.frame.rays(image_rays(cameras, i, near).to(self.device))
            parts = [self._render(o, d, n)[0] for o, d, n in zip(origins.split(16_384), directions.split(16_384), nears.split(16_384), strict=True)]
            width, height = (int(v) for v in cameras.sizes[i])
            truth = resize(test.image(i), width, height).astype(np.float32) / 255
            scores.append(psnr(torch.cat(parts).clamp(0, 1).reshape(height, width, 3).cpu().numpy(), truth))
        return float(np.mean(scores))
