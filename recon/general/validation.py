"""How good a network is on worlds that it was not trained on, beside what simple baselines reach."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import data
from data.scene import Scene
from data.worlds.bank import Bank
from recon.general.batches import Batch, make_batch
from recon.general.marching import to_distance
from recon.general.model import GeneralNetwork, Traced
from recon.general.sources import Sources, fetch, look
from recon.general.views import mean_distance, unlikeness

SEEDS = range(10_000_000, 10_000_032)
"""The held-out worlds, 256 x 192; training keeps away from these seeds."""


SAMPLE = Path(data.__file__).parent / "sample" / "still_life"


@dataclass(frozen=True)
class Scores:
    """Means over held-out target views; dB and fractions."""

    psnr: float
    within_1: float
    """Fraction of surface pixels whose depth is right to 1%; likewise 3%."""
    within_3: float
    volume_within_1: float
    """The same of the source views' volumes at half resolution."""
    volume_within_3: float
    copy: float
    """PSNR of the nearest source view itself."""
    plane_nearest: float
    """Of the nearest view, moved to the plane of the true median depth."""
    plane_mean: float
    """Of the mean of all views there."""
    true_depth: float
    """Of the mean of those views that see the true surface: what blending can reach without a network."""


def validate(network: GeneralNetwork, bank: Bank, views: int = 8, neighbours: int = 4, count: int = 24) -> Scores:
    """Render one target view of each of the first ``count`` worlds from its ``views`` nearest others."""
    rows = [_score(network, bank, i, views, neighbours) for i in range(min(count, len(bank)))]
    return Scores(**{name: float(np.mean([getattr(r, name) for r in rows])) for name in Scores.__dataclass_fields__})


@torch.no_grad()
def render_target(network: GeneralNetwork, bank: Bank, world: int, views: int, neighbours: int) -> tuple[Batch, Sources, list, Traced]:
    """Everything about one target view: the batch of all its rays, the conditioned sources, the volumes, the rays traced."""
    device = bank.cameras.device
    target = (torch.tensor([world], device=device), torch.tensor([0], device=device))
    batch = make_batch(bank, 1, views, 0, neighbours, None, torch.Generator(device), target)
    with torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.type == "cuda"):
        sources, levels = network.sources(
            batch.images, batch.intrinsics, batch.camera_to_world, batch.neighbours, batch.view_near, batch.view_far, batch.present
        )
        parts = []
        for piece in _pieces(batch, 8192):
            parts.append(network.trace(sources, batch.origins[:, piece], batch.directions[:, piece], batch.near[:, piece], batch.far[:, piece]))
    return batch, sources, levels, Traced(*(torch.cat([getattr(p, name).float() for p in parts]) for name in Traced.__dataclass_fields__))


def sample_psnr(network: GeneralNetwork) -> float:
    """PSNR of one view of the bundled sample from eight neighbours at 192 x 144: a quick check that weights are whole, dB."""
    from torch.nn import functional as F

    from data.readers import read_scene
    from recon.general.engine import ConditionOptions, GeneralModel
    from recon.general.photos import known_ranges, photo_tensor
    from recon.pictures import render_picture

    scene = read_scene(SAMPLE, SAMPLE).select(range(9))
    images = [F.interpolate(photo_tensor(scene, i)[None], (144, 192), mode="bilinear", antialias=True)[0] for i in range(9)]
    cameras = scene.posed().resized(np.tile([192, 144], (9, 1)))
    model = GeneralModel(network, ConditionOptions(side=192))
    with torch.no_grad():
        field = model.condition(images[1:], cameras.select(range(1, 9)), known_ranges(scene.select(range(1, 9))))
        rgb = render_picture(field, cameras, 0).rgb
    return psnr(rgb, images[0].permute(1, 2, 0).to(rgb.device))


def nearest_sources(scene: Scene, target: int, held_out: Sequence[int], count: int = 8) -> list[int]:
    """The views nearest to a target among those that are not held out."""
    cameras = scene.posed()
    unlike = unlikeness(cameras.centers, cameras.forwards, cameras.centers[target], cameras.forwards[target], mean_distance(cameras))
    unlike[list(held_out)] = np.inf
    return [int(v) for v in np.argsort(unlike)[: min(count, len(scene) - len(held_out))]]


def real_scores(network: GeneralNetwork, folder: Path, limit: int = 2) -> dict[str, float]:
    """PSNR of every 8th view (the first ``limit`` of them) of each posed set in a folder, from its 8 nearest others, dB.

    Photos are taken as they are: bring them to the size that is wanted, undistorted.
    """
    from data.readers import read_scene
    from recon.general.engine import GeneralModel
    from recon.general.photos import condition_scene, photo_tensor
    from recon.pictures import render_picture

    scores = {}
    for path in sorted(p for p in folder.iterdir() if p.is_dir()):
        scene = read_scene(path, path)
        held, values = list(range(0, len(scene), 8)), []
        for target in held[:limit]:
            with torch.no_grad():
                field = condition_scene(GeneralModel(network), scene, nearest_sources(scene, target, held))
                rgb = render_picture(field, scene.posed(), target).rgb
            truth = photo_tensor(scene, target).permute(1, 2, 0)
            values.append(psnr(rgb, truth.to(rgb.device)))
        scores[path.name] = float(np.mean(values))
    return scores


def _score(network: GeneralNetwork, bank: Bank, world: int, views: int, neighbours: int) -> Scores:
    batch, sources, levels, traced = render_target(network, bank, world, views, neighbours)
    near, far = batch.near.reshape(-1, 1), batch.far.reshape(-1, 1)
    truth, depth = batch.rgb[0], batch.depth[0]
    hit = depth > 0
    found = to_distance(traced.coordinate[:, None], near, far)[:, 0]
    relative = ((found - depth).abs() / depth.clamp(min=1e-3))[hit]
    z = batch.source_depth[0, :, ::2, ::2]
    solid = z > 0
    volume = (1 / levels[-1].inverse_depth.clamp(min=1e-6) / z.clamp(min=1e-6) - 1).abs()[solid]

    def warped(t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        points = batch.origins + batch.directions * t[None, :, None]
        sighting = look(sources, points[:, :, None], batch.origins, 0.02)
        pictures = fetch(batch.images.permute(0, 1, 3, 4, 2), sighting.grid)[0, :, :, 0]
        true = fetch(batch.source_depth[..., None], sighting.grid, mode="nearest")[0, :, :, 0, 0]
        local = torch.einsum("vri,vij->vrj", points - batch.camera_to_world[0, :, None, :3, 3], batch.camera_to_world[0, :, :3, :3])[..., 2]
        seen = sighting.seen[0, :, 0].T
        clear = seen & (((true - local).abs() < 0.04 * local) | ~hit[None])
        return pictures, seen, clear

    flat, seen, _ = warped(depth[hit].median().expand_as(depth))
    exact, inside, clear = warped(torch.where(hit, depth, far[:, 0]))
    best = torch.where(clear.any(0), clear, inside)
    nearest = bank.rgb[world].flatten(1, 2).float() / 255
    other = _nearest_view(bank, world)
    return Scores(
        psnr(traced.rgb.clamp(0, 1), truth), _share(relative, 0.01), _share(relative, 0.03), _share(volume, 0.01), _share(volume, 0.03),
        psnr(nearest[other], truth), psnr(flat[0], truth), psnr(_mean(flat, seen), truth), psnr(_mean(exact, best), truth),
    )  # fmt: skip


def _nearest_view(bank: Bank, world: int) -> int:
    from recon.general.batches import camera_matrices, view_distance

    unlike = view_distance(camera_matrices(bank.cameras[world])[1][None])[0, 0].clone()
    unlike[0] = torch.inf
    return int(unlike.argmin())


def _mean(pictures: Tensor, seen: Tensor) -> Tensor:
    w = seen[..., None].float()
    return torch.where(w.sum(0) > 0, (pictures * w).sum(0) / w.sum(0).clamp(min=1), pictures.mean(0))


def _share(error: Tensor, limit: float) -> float:
    return float((error < limit).float().mean()) if error.numel() else float("nan")


def psnr(image: Tensor, truth: Tensor) -> float:
    """dB of values in 0 to 1."""
    return float(-10 * torch.log10((image - truth).square().mean() + 1e-10))


def _pieces(batch: Batch, size: int) -> Iterator[slice]:
    for start in range(0, batch.near.shape[1], size):
        yield slice(start, start + size)
