"""What cameras do to pictures: exposure, white balance, noise, blur, vignetting, JPEG, poses that are slightly wrong."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from data.worlds.options import DegradeOptions


def recolor(images: Float[Tensor, "worlds views 3 h w"], generator: torch.Generator) -> Float[Tensor, "worlds views 3 h w"]:
    """Another palette for a whole world, the same for all its views: channels permuted, gains, gamma."""
    n, device = len(images), images.device
    order = torch.stack([torch.randperm(3, generator=generator, device=device) for _ in range(n)])
    order = torch.where(_rand(n, 1, generator=generator, like=images) < 0.5, order, torch.arange(3, device=device)[None])
    images = images.gather(2, order[:, None, :, None, None].expand_as(images))
    gain = torch.exp(_randn(n, 1, 3, 1, 1, generator=generator, like=images) * 0.12 + _randn(n, 1, 1, 1, 1, generator=generator, like=images) * 0.15)
    gamma = torch.exp(_randn(n, 1, 1, 1, 1, generator=generator, like=images) * 0.2)
    return (images * gain).clamp(1e-4, 1) ** gamma


def degrade(
    images: Float[Tensor, "worlds views 3 h w"], options: DegradeOptions, generator: torch.Generator
) -> Float[Tensor, "worlds views 3 h w"]:
    """Each view's own flaws; about a third of the worlds stay clean of each kind."""
    n, v, _, h, w = images.shape

    def sometimes(share: float, *shape: int) -> Tensor:
        return (_rand(n, *([1] * len(shape)), generator=generator, like=images) < share).float().expand(n, *shape)

    gain = 1 + _randn(n, v, 1, 1, 1, generator=generator, like=images) * options.exposure * sometimes(0.5, v, 1, 1, 1)
    balance = 1 + _randn(n, v, 3, 1, 1, generator=generator, like=images) * options.white_balance * sometimes(0.4, v, 3, 1, 1)
    y, x = torch.meshgrid(torch.linspace(-1, 1, h, device=images.device), torch.linspace(-1, 1, w, device=images.device), indexing="ij")
    corners = _rand(n, 1, 1, 1, 1, generator=generator, like=images) * options.vignetting * sometimes(0.4, 1, 1, 1, 1)
    images = images * gain * balance * (1 - corners * 0.5 * (x * x + y * y))
    images = _blurred(images, _rand(n, 1, generator=generator, like=images).expand(n, v) * options.blur * sometimes(0.5, v))
    sigma = _rand(n, 1, 1, 1, 1, generator=generator, like=images) * options.noise * sometimes(0.6, 1, 1, 1, 1)
    images = images + _randn(*images.shape, generator=generator, like=images) * sigma
    if h % 8 == 0 and w % 8 == 0:
        coarse = sometimes(options.jpeg, 1, 1, 1, 1)
        if bool((coarse > 0).any()):
            chosen = coarse[:, 0, 0, 0, 0] > 0
            images = images.clone()
            images[chosen] = jpeg_like(images[chosen], 0.02 + 0.05 * _rand(1, generator=generator, like=images).item())
    return images.clamp(0, 1)


def jpeg_like(images: Float[Tensor, "*n 3 h w"], step: float) -> Float[Tensor, "*n 3 h w"]:
    """Cosine coefficients of 8 x 8 blocks rounded to multiples that grow with frequency, as JPEG's tables do."""
    k = torch.arange(8, device=images.device, dtype=images.dtype)
    basis = torch.cos((2 * k[None] + 1) * k[:, None] * torch.pi / 16) * 0.5
    basis[0] *= 0.5**0.5
    quantum = step * (1 + 0.7 * (k[:, None] + k[None]))
    *lead, h, w = images.shape
    blocks = images.reshape(*lead, h // 8, 8, w // 8, 8).transpose(-2, -3)
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ (torch.round(coefficients / quantum) * quantum) @ basis
    return blocks.transpose(-2, -3).reshape(*lead, h, w)


def shaken(
    camera_to_world: Float[Tensor, "worlds views 4 4"], distance: Float[Tensor, "worlds"], options: DegradeOptions, generator: torch.Generator
) -> Float[Tensor, "worlds views 4 4"]:
    """Poses with small errors, as structure from motion leaves them; half of the worlds keep theirs exact."""
    n, v = camera_to_world.shape[:2]
    wrong = (_rand(n, 1, 1, generator=generator, like=camera_to_world) < 0.5).float()
    w = _randn(n, v, 3, generator=generator, like=camera_to_world) * options.pose_rotation * wrong
    zero = torch.zeros_like(w[..., 0])
    cross = torch.stack([zero, -w[..., 2], w[..., 1], w[..., 2], zero, -w[..., 0], -w[..., 1], w[..., 0], zero], dim=-1).view(n, v, 3, 3)
    out = camera_to_world.clone()
    out[..., :3, :3] = camera_to_world[..., :3, :3] @ torch.linalg.matrix_exp(cross)
    out[..., :3, 3] += _randn(n, v, 3, generator=generator, like=camera_to_world) * options.pose_translation * wrong * distance[:, None, None]
    return out


def _blurred(images: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur with one width a view, by two passes of a five-tap kernel."""
    n, v, c, h, w = images.shape
    at = torch.arange(-2, 3, device=images.device, dtype=images.dtype)
    kernel = torch.exp(-0.5 * (at / sigma.reshape(-1, 1).clamp(min=0.05)) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).repeat_interleave(c, 0)
    flat = images.reshape(1, n * v * c, h, w)
    flat = F.conv2d(F.pad(flat, (2, 2, 0, 0), mode="replicate"), kernel[:, None, None, :], groups=n * v * c)
    flat = F.conv2d(F.pad(flat, (0, 0, 2, 2), mode="replicate"), kernel[:, None, :, None], groups=n * v * c)
    return flat.reshape(n, v, c, h, w)


def _rand(*shape: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.rand(*shape, generator=generator, device=like.device)


def _randn(*shape: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(*shape, generator=generator, device=like.device)
