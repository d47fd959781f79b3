"""A bank: many worlds, each photographed from several places, rendered into memory."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from data.errors import InputError
from data.worlds import layout as L
from data.worlds.generate import Draft, make_world
from data.worlds.renderer import Worlds, distances, render
from data.worlds.walks import candidate_cameras

_CANDIDATES = 3
"""Cameras tried per camera kept."""


@dataclass(frozen=True)
class Bank:
    """Photographed worlds; tensors live on one device."""

    worlds: Worlds
    cameras: Float[Tensor, "worlds views 17"]
    """Rows as `layout` has them; the last column is the world's index here."""
    rgb: UInt8[Tensor, "worlds views height width 3"]
    depth: Float[Tensor, "worlds views height width"]
    """Distance along the ray; 0 in the sky. Half precision."""
    seeds: tuple[int, ...]
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.cameras)


def draft_world(seed: int, width: int, height: int, views: int, plain: float = 0.0) -> tuple[Draft, Float[np.ndarray, "c 17"]]:
    """A world and its candidate cameras from one seed."""
    draft = make_world(seed, plain)
    return draft, candidate_cameras(np.random.default_rng([seed, 1]), draft, width, height, _CANDIDATES * views)


def _draft(arguments: tuple[int, int, int, int, float]) -> tuple[tuple[np.ndarray, ...], np.ndarray, str]:
    draft, cameras = draft_world(*arguments)
    return draft.tables(), cameras, draft.kind


def make_bank(
    seeds: Sequence[int], width: int, height: int, views: int = 12, device: torch.device | str = "cpu", samples: int = 2,
    executor: Executor | None = None, plain: float = 0.0,
) -> Bank:  # fmt: skip
    """Build and photograph worlds; those that cannot be photographed well are left out.

    Args:
        seeds: one world each; the same seeds give the same bank.
        views: photographs of each world.
        samples: colours are means of ``samples`` x ``samples`` rays.
        executor: builds worlds side by side; they are built one after the other if not given.
        plain: see `generate.make_world`.

    Raises:
        InputError: none of the worlds is left.
    """
    jobs = [(int(s), width, height, views, plain) for s in seeds]
    drafts = list(executor.map(_draft, jobs, chunksize=16)) if executor else [_draft(j) for j in jobs]
    columns = zip(*(tables for tables, _, _ in drafts), strict=True)
    worlds = Worlds(*(torch.from_numpy(np.stack(rows)) for rows in columns)).to(device)
    cameras = torch.from_numpy(np.stack([c for _, c, _ in drafts])).to(device)
    index = torch.arange(len(worlds), device=cameras.device, dtype=torch.float32)
    cameras[:, :, L.CAMERA_WORLD] = index[:, None]
    cameras, usable = _choose_cameras(worlds, cameras, width, height, views)
    kept = torch.nonzero(usable)[:, 0]
    if len(kept) == 0:
        raise InputError(f"None of the {len(jobs)} worlds can be photographed from {views} places. Ask for more worlds: about one in eight falls out.")
    cameras = cameras[kept]
    pictures = render(worlds, cameras.reshape(-1, L.CAMERA), width, height, samples)
    rgb = pictures.rgb.view(len(kept), views, height, width, 3)
    depth = pictures.depth.half().view(len(kept), views, height, width)
    # A world that is one flat colour teaches nothing.
    lively = torch.nonzero(rgb[:, :, ::4, ::4].float().flatten(1).std(1) > 8)[:, 0]
    cameras, kept = cameras[lively], kept[lively]
    cameras[:, :, L.CAMERA_WORLD] = torch.arange(len(kept), device=cameras.device, dtype=torch.float32)[:, None]
    left = Worlds(worlds.headers[kept], worlds.objects[kept], worlds.primitives[kept], worlds.materials[kept])
    order = kept.tolist()
    return Bank(left, cameras, rgb[lively], depth[lively], tuple(int(seeds[i]) for i in order), tuple(drafts[i][2] for i in order))


def _choose_cameras(worlds: Worlds, cameras: Tensor, width: int, height: int, views: int) -> tuple[Tensor, Tensor]:
    """The first ``views`` candidates that stand free and see something; and which worlds have enough of them."""
    n, candidates = cameras.shape[:2]
    shrink = max(width, height) / 16
    small = cameras.clone()
    small[:, :, L.CAMERA_FX : L.CAMERA_CY + 1] /= shrink
    flat = small.reshape(-1, L.CAMERA)
    depth = render(worlds, flat, round(width / shrink), round(height / shrink), 1).depth.reshape(n, candidates, -1)
    seen = depth > 0
    near = torch.where(seen, depth, torch.full_like(depth, 1e3)).quantile(0.03, dim=-1)
    places = cameras[:, :, L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3].reshape(-1, 3)
    room = distances(worlds, flat[:, L.CAMERA_WORLD].long(), places).view(n, candidates)
    bad = (near < 0.3).float() * 2 + (seen.float().mean(-1) < 0.1).float() + (room < 0.1).float() * 4
    order = torch.sort(bad, dim=1, stable=True)[1][:, :views]
    chosen = torch.gather(cameras, 1, order[:, :, None].expand(n, views, L.CAMERA)).contiguous()
    return chosen, (torch.gather(bad, 1, order) < 1).sum(1) >= views - 2


def join(banks: Sequence[Bank]) -> Bank:
    """Several banks of equal picture size as one."""
    offset, cameras = 0, []
    for bank in banks:
        rows = bank.cameras.clone()
        rows[:, :, L.CAMERA_WORLD] += offset
        cameras.append(rows)
        offset += len(bank)
    tables = ("headers", "objects", "primitives", "materials")
    worlds = Worlds(*(torch.cat([getattr(b.worlds, t) for b in banks]) for t in tables))
    return Bank(
        worlds, torch.cat(cameras), torch.cat([b.rgb for b in banks]), torch.cat([b.depth for b in banks]),
        tuple(s for b in banks for s in b.seeds), tuple(k for b in banks for k in b.kinds),
    )  # fmt: skip
