"""The coarse-to-fine depth volumes: for every source view, where along its pixels the surface is, and how sure that is.

A cascade of small cost volumes (Gu et al. 2020) over group-wise correlations (Guo et al. 2019), with the visibility of each
neighbour learned per pixel (Wang et al. 2021). The volumes belong to the source views, not to the view that is rendered:
they are computed once for a scene and shared by every ray that is asked for later.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from kernels.planesweep import correlate, correlate_mean
from kernels.planesweep.reference import weighted_mean
from recon.general.encoder import normalised_groups
from recon.general.layers import Conv3d, GroupNorm
from recon.general.options import ModelOptions


@dataclass(frozen=True)
class DepthLevel:
    """What one volume of the cascade says."""

    inverse_depth: Float[Tensor, "refs h w"]
    """Expected inverse z-depth, per scene unit."""
    confidence: Float[Tensor, "refs h w"]
    """Probability of the bins around the expectation, 0 to 1."""
    logits: Float[Tensor, "refs d h w"]
    hypotheses: Float[Tensor, "refs d h w"]
    """Inverse z-depths of the bins, from far to near."""


class Block3d(nn.Sequential):
    """Convolution, group norm, ReLU."""

    def __init__(self, i: int, o: int, stride: int | tuple[int, int, int] = 1) -> None:
        super().__init__(Conv3d(i, o, 3, stride=stride, padding=1, bias=False), GroupNorm(max(o // 8, 1), o), nn.ReLU(inplace=True))


class Regulariser(nn.Module):
    """A small 3D U-Net over a cost volume, told what the reference picture looks like."""

    def __init__(self, groups: int, context: int, width: int, depth: int) -> None:
        super().__init__()
        self.enter = Conv3d(groups + 1, width, 3, padding=1)
        self.context = nn.Conv2d(context, width, 3, padding=1)
        wide = [width, *(min(2 * width * (i + 1), 48) for i in range(depth))]
        self.down = nn.ModuleList(nn.Sequential(Block3d(a, b, 2), Block3d(b, b)) for a, b in zip(wide[:-1], wide[1:], strict=True))
        self.up = nn.ModuleList(Conv3d(b, a, 1) for a, b in zip(wide[:-1], wide[1:], strict=True))
        self.merge = nn.ModuleList(Block3d(a, a) for a in wide[:-1])
        self.leave = Conv3d(width, 1, 3, padding=1)

    def forward(self, cost: Float[Tensor, "refs g d h w"], features: Float[Tensor, "refs h w c"]) -> Float[Tensor, "refs d h w"]:
        x = F.relu(self.enter(cost) + self.context(features.permute(0, 3, 1, 2))[:, :, None])
        skips = []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for skip, up, merge in zip(reversed(skips), reversed(self.up), reversed(self.merge), strict=True):
            x = merge(skip + _enlarged(up(x), skip))
        return self.leave(x)[:, 0]


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    """Trilinear, in the precision of the volume (autocast would take single)."""
    with torch.autocast(x.device.type, enabled=False):
        return F.interpolate(x.to(like.dtype), size=like.shape[2:], mode="trilinear", align_corners=False)


class Cascade(nn.Module):
    """Three volumes, at 1/8, 1/4 and 1/2 of the photo's size."""

    def __init__(self, options: ModelOptions) -> None:
        super().__init__()
        self.options = options
        self.visibility = nn.Sequential(nn.Linear(options.groups[0], 16), nn.ReLU(), nn.Linear(16, 1))
        self.regularise = nn.ModuleList(
            Regulariser(g, c, w, depth)
            for g, c, w, depth in zip(options.groups, options.features, options.volume_widths, (3, 2, 2), strict=True)
        )

    def forward(
        self, features: tuple[Tensor, Tensor, Tensor], references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"],
        homographies: Float[Tensor, "refs k 3 4"], near: Float[Tensor, "refs"], far: Float[Tensor, "refs"], follow: float = 0.0,
    ) -> list[DepthLevel]:  # fmt: skip
        """Depth of the reference views, from coarse to fine.

        Args:
            features: of all images, at 1/8, 1/4 and 1/2, channels last.
            references: image indices to make volumes for; likewise ``neighbours``.
            homographies: see `kernels.planesweep.correlate`.
            near: nearest z-depth of each volume, scene units; likewise ``far``.
            follow: share of the gradient that passes from a finer volume's depth to the coarser depth around which it was spread. In truth the
                finer volume makes good for a small shift of the coarser one (0, as in training), until the shift leaves its reach (1): an
                attacker looks for such shifts.
        """
        o = self.options
        low, high = 1 / far, 1 / near
        level, weights = self.coarse_level(features[0], references, neighbours, homographies, near, far)
        levels = [level]
        weights = weights.detach()
        spacing = (high - low) / o.hypotheses[0]
        for i, scale in ((1, 4.0), (2, 2.0)):
            maps = features[i]
            h, w = maps.shape[1:3]
            spacing = spacing / o.zoom[i - 1]
            steps = torch.arange(o.hypotheses[i], device=near.device) + 0.5 - 0.5 * o.hypotheses[i]
            # Keep the whole bundle inside the range: a hypothesis behind the far plane teaches nothing.
            slack = 0.5 * o.hypotheses[i] * spacing
            coarser = levels[-1].inverse_depth
            fixed = coarser.detach()
            centre = _resized(fixed + follow * (coarser - fixed) if follow else fixed, h, w)
            centre = torch.minimum(torch.maximum(centre, (low + slack)[:, None, None]), (high - slack)[:, None, None])
            inverse = centre[:, None] + (steps * spacing[:, None])[:, :, None, None]
            weights = _resized(weights.flatten(0, 1), h, w).view(*weights.shape[:2], h, w)
            unit = normalised_groups(maps, o.groups[i])
            depth = 1 / inverse.detach().clamp(min=1e-6)
            cost, total = correlate_mean(unit, references, neighbours, homographies, depth, weights, scale, o.groups[i])
            levels.append(self._regularised(i, cost, total, maps[references], inverse))
        return levels

    def coarse_level(
        self, maps: Float[Tensor, "images h w c"], references: Int[Tensor, "refs"], neighbours: Int[Tensor, "refs k"],
        homographies: Float[Tensor, "refs k 3 4"], near: Float[Tensor, "refs"], far: Float[Tensor, "refs"],
    ) -> tuple[DepthLevel, Float[Tensor, "refs k h w"]]:  # fmt: skip
        """The first volume, over the whole range; and how well each neighbour sees each pixel."""
        groups, bins = self.options.groups[0], self.options.hypotheses[0]
        steps = torch.arange(bins, device=near.device) + 0.5
        inverse = 1 / far[:, None] + steps * ((1 / near - 1 / far) / bins)[:, None]
        inverse = inverse[:, :, None, None].expand(-1, -1, *maps.shape[1:3])
        values, seen = correlate(normalised_groups(maps, groups), references, neighbours, homographies, 1 / inverse.clamp(min=1e-6), 8.0, groups)
        weights = self._visible(values, seen)
        cost, total = weighted_mean(values, seen, weights)
        return self._regularised(0, cost, total, maps[references], inverse), weights

    def _regularised(self, i: int, cost: Tensor, total: Tensor, maps: Tensor, inverse: Tensor) -> DepthLevel:
        volume = torch.cat([cost, total[..., None].to(cost.dtype)], dim=-1).permute(0, 4, 1, 2, 3)
        logits = self.regularise[i](volume, maps).float()
        return _expectation(logits, inverse)

    def _visible(self, values: Float[Tensor, "refs k d h w g"], seen: Float[Tensor, "refs k d h w"]) -> Float[Tensor, "refs k h w"]:
        """How well each neighbour sees each pixel's surface: somewhere along the ray it must match."""
        # Only the best bin of each pixel gets a gradient: the others are looked at without.
        with torch.no_grad():
            score = self._scores(values, seen)
            best = score.argmax(2, keepdim=True)
        torch.clear_autocast_cache()  # some versions would go on with the weights as they were cast here: without a gradient
        if not (torch.is_grad_enabled() and (values.requires_grad or self.visibility[0].weight.requires_grad)):
            return torch.sigmoid(score.amax(2)).clamp(min=0.01)
        chosen = values.gather(2, best[..., None].expand(*best.shape, values.shape[-1]))
        return torch.sigmoid(self._scores(chosen, seen.gather(2, best))[:, :, 0]).clamp(min=0.01)

    def _scores(self, values: Float[Tensor, "refs k d h w g"], seen: Float[Tensor, "refs k d h w"]) -> Float[Tensor, "refs k d h w"]:
        return self.visibility(values)[..., 0].float() - 20 * (1 - seen.float())


def _expectation(logits: Tensor, inverse: Tensor, window: int = 2) -> DepthLevel:
    """Expected inverse depth over the bins around the most probable one, and how much probability they hold."""
    p = torch.softmax(logits, dim=1)
    index = torch.arange(logits.shape[1], device=logits.device)[None, :, None, None]
    near = p * ((index - logits.argmax(1, keepdim=True)).abs() <= window)
    mass = near.sum(1)
    return DepthLevel((near * inverse).sum(1) / mass.clamp(min=1e-6), mass, logits, inverse)


def _resized(maps: Float[Tensor, "n h w"], h: int, w: int) -> Float[Tensor, "n h2 w2"]:
    return F.interpolate(maps[:, None], size=(h, w), mode="bilinear", align_corners=False)[:, 0]


@torch.autocast("cuda", enabled=False)
def plane_homographies(
    intrinsics: Float[Tensor, "n 3 3"], camera_to_world: Float[Tensor, "n 4 4"], references: Int[Tensor, "refs"],
    neighbours: Int[Tensor, "refs k"],
) -> Float[Tensor, "refs k 3 4"]:  # fmt: skip
    """[A | t] with neighbour pixel ~ depth * A (x, y, 1) + t, photo pixels."""
    # Double precision: the difference of far-away centres must keep its digits.
    k, pose = intrinsics.double(), camera_to_world.double()
    rotation, centre = pose[:, :3, :3], pose[:, :3, 3]
    into = k[neighbours] @ rotation[neighbours].transpose(-1, -2)
    out = rotation[references] @ torch.linalg.inv(k[references])
    shift = centre[references][:, None] - centre[neighbours]
    return torch.cat([into @ out[:, None], into @ shift[..., None]], dim=-1).float()
