"""The set of photos that a threat model allows: starts in it, steepest steps through it, the way back into it, and its 8-bit members."""

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.threat import Norm, ThreatModel


def radius(threat: ThreatModel, values: Tensor) -> Tensor:
    """Euclidean radius of each photo's ball in the l2 norm.

    Args:
        values: how many values each photo has.
    """
    return threat.eps * values.sqrt()


def into_ball(delta: Float[Tensor, "s 3 h w"], threat: ThreatModel, inside: Float[Tensor, "s 1 h w"]) -> Float[Tensor, "s 3 h w"]:
    """The nearest allowed change: clipped values (linf), or each photo's change scaled back onto its ball (l2).

    Args:
        inside: 1 where a change is allowed at all, 0 elsewhere (beside a photo that is smaller than its tensor, or not the attacker's).
    """
    delta = delta * inside
    if threat.norm == "linf":
        return delta.clamp(-threat.eps, threat.eps)
    norm = delta.flatten(1).norm(dim=1)
    scale = (radius(threat, 3 * inside.flatten(1).sum(1)) / norm.clamp(min=1e-12)).clamp(max=1)
    return delta * scale[:, None, None, None]


def allowed(images: Float[Tensor, "s 3 h w"], clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, inside: Tensor) -> Float[Tensor, "s 3 h w"]:
    """The nearest allowed photos: in the ball, then in the range of a photo.

    The second does not undo the first: clean values lie in the range, so clipping only shrinks a change.
    """
    return (clean + into_ball(images - clean, threat, inside)).clamp(0, 1)


def random_start(clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, inside: Tensor, generator: torch.Generator) -> Float[Tensor, "s 3 h w"]:
    """Allowed photos at random: uniform changes (linf), or a random direction with a radius uniform in volume (l2)."""
    if threat.norm == "linf":
        noise = (2 * uniform(clean.shape, generator, clean.device) - 1) * threat.eps
    else:
        noise = normal(clean.shape, generator, clean.device) * inside
        count = 3 * inside.flatten(1).sum(1)
        share = uniform((len(clean),), generator, clean.device) ** (1 / count.clamp(min=1))
        noise = noise * (radius(threat, count) * share / noise.flatten(1).norm(dim=1).clamp(min=1e-12))[:, None, None, None]
    return allowed(clean + noise, clean, threat, inside)


def steepest(gradient: Float[Tensor, "s 3 h w"], norm: Norm, inside: Tensor) -> Float[Tensor, "s 3 h w"]:
    """Direction of steepest ascent of unit size: signs (linf), or each photo's gradient with a root mean square of 1 (l2)."""
    gradient = gradient * inside
    if norm == "linf":
        return gradient.sign()
    size = gradient.flatten(1).norm(dim=1) / (3 * inside.flatten(1).sum(1)).clamp(min=1).sqrt()
    return gradient / size.clamp(min=1e-20)[:, None, None, None]


def rounded(images: Float[Tensor, "s 3 h w"], clean: Float[Tensor, "s 3 h w"], threat: ThreatModel, inside: Tensor) -> Float[Tensor, "s 3 h w"]:
    """Photos of 8 bits a value that are still allowed: rounded to nearest, what leaves the ball then rounded towards the clean photo.

    Args:
        clean: photos of 8 bits a value.
    """
    levels = torch.round((images - clean) * 255)
    if threat.norm == "linf":
        most = float(int(threat.eps * 255 + 1e-6))
        levels = levels.clamp(-most, most)
    else:
        count = 3 * inside.flatten(1).sum(1)
        over = levels.flatten(1).norm(dim=1) > 255 * radius(threat, count) * (1 + 1e-6)
        levels = torch.where(over[:, None, None, None], torch.trunc((images - clean) * 255), levels)
    changed = ((torch.round(clean * 255) + levels) / 255).clamp(0, 1)
    return torch.where(levels == 0, clean, changed)  # to the last bit: a GPU divides by multiplying


def uniform(shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Numbers from 0 to 1, the same on every device: drawn on the generator's, then moved."""
    return torch.rand(shape, generator=generator, device=generator.device).to(device)


def normal(shape: tuple[int, ...] | torch.Size, generator: torch.Generator, device: torch.device) -> Tensor:
    """Standard normal numbers; see `uniform`."""
    return torch.randn(shape, generator=generator, device=generator.device).to(device)
