"""Trusting views less that contradict the others: sample by sample (trimmed aggregation) or pixel by pixel (depth-consistency filter)."""

from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from attacks.case import Case
from attacks.victims.general import GeneralLook, GeneralVictim
from attacks.victims.protocol import Look
from recon.general.sources import Sources


def trimmed(distance: Float[Tensor, "n s v"], seen: Bool[Tensor, "n s v"], reach: float = 0.5) -> Bool[Tensor, "n s v"]:
    """Views that may speak at a sample: those whose signed distance to their own surface is near the median of all that see it.

    Args:
        distance: `sources.Shown.distance`, in the networks' unit.
        reach: how far from the median a view may be; where fewer than three views see the sample, all may speak.
    """
    hidden = torch.where(seen, distance.detach(), torch.full_like(distance, torch.nan))
    middle = hidden.nanmedian(-1, keepdim=True)[0]
    keep = seen & ((distance.detach() - middle).abs() <= reach)
    enough = (seen.sum(-1, keepdim=True) >= 3) & keep.any(-1, keepdim=True)
    return torch.where(enough, keep, seen)


def agreement(sources: Sources, tolerance: float = 0.02) -> tuple[Float[Tensor, "1 v h w"], Float[Tensor, "1 v h w"]]:
    """For every surface pixel of every view: how many other views look there, and how many of these found the surface at the same depth."""
    surface, pose, k = sources.surface, sources.camera_to_world[0], sources.intrinsics[0]
    _, v, h, w, _ = surface.shape
    full = torch.tensor([sources.images.shape[-1], sources.images.shape[-2]], device=surface.device)
    step = full / torch.tensor([w, h], device=surface.device)
    y, x = torch.meshgrid(torch.arange(h, device=surface.device) + 0.5, torch.arange(w, device=surface.device) + 0.5, indexing="ij")
    pixels = torch.stack([x * step[0], y * step[1], torch.ones_like(x)], dim=-1)
    z = 1 / surface[0, ..., 0].float().clamp(min=1e-9)
    local = torch.einsum("vij,hwj->vhwi", torch.linalg.inv(k), pixels) * z[..., None]
    world = torch.einsum("vij,vhwj->vhwi", pose[:, :3, :3], local) + pose[:, None, None, :3, 3]
    looked, agreed = torch.zeros_like(z), torch.zeros_like(z)
    inverse = surface[0, ..., 0].float()
    for other in range(v):
        there = torch.einsum("vhwi,ij->vhwj", world - pose[other, :3, 3], pose[other, :3, :3])
        depth = there[..., 2]
        at = torch.einsum("ij,vhwj->vhwi", k[other], there)[..., :2] / depth.clamp(min=1e-6)[..., None]
        inside = (depth > 1e-6) & ((at > 0) & (at < sources.sizes[0, other])).all(-1)
        grid = (2 * at / full - 1).view(1, v * h, w, 2)
        found = F.grid_sample(inverse[other][None, None], grid, mode="nearest", padding_mode="border", align_corners=False).view(v, h, w)
        inside[other] = False
        # A nearer surface there hides this one: that is no contradiction.
        hidden = found * depth > 1 + tolerance
        looked = looked + (inside & ~hidden)
        agreed = agreed + (inside & ((found * depth - 1).abs() <= tolerance))
    return looked[None], agreed[None]


class Consistent(GeneralVictim):
    """The general engine that distrusts surface pixels which other views contradict, and drops views whose surface most views contradict.

    Args:
        least: a view is dropped if less than this share of its surface is confirmed, and less than half of what is usual among the views.
    """

    def __init__(self, victim: GeneralVictim, least: float = 0.25) -> None:
        super().__init__(victim.model, f"{victim.name}+depth-filter", victim.weights)
        self.least = least

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> GeneralLook:
        """See `protocol.Victim.look`."""
        look = self.look_from(case, images, like, colors)
        sources = look.field.sources
        with torch.no_grad():
            looked, agreed = agreement(sources)
            confirmed = ((agreed >= 1) | (looked == 0)).to(sources.surface.dtype)
            share = (agreed >= 1).float().mean((2, 3)) / (looked > 0).float().mean((2, 3)).clamp(min=1e-6)
            bad = (share < self.least) & (share < 0.5 * share.median(1, keepdim=True)[0])
            if int((~bad).sum()) < 2:
                bad = torch.zeros_like(bad)
        surface = torch.cat([sources.surface[..., :3], sources.surface[..., 3:] * confirmed[..., None]], dim=-1)
        look.field.sources = replace(sources, surface=surface, present=sources.present & ~bad)
        return look


class Trimmed(GeneralVictim):
    """The general engine that lets only those views speak at a sample whose surface is near the median of all (`trimmed`)."""

    def __init__(self, victim: GeneralVictim, reach: float = 0.5) -> None:
        import copy

        network = copy.deepcopy(victim.model.network)
        network.heard = lambda distance, seen: trimmed(distance, seen, reach)
        model = type(victim.model)(network, victim.model.options)
        super().__init__(model, f"{victim.name}+trimmed", victim.weights)
