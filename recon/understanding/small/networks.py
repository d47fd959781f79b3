"""The shipped understanding network: one photo in; segments, materials, classes, normals, depth and edges out, at half the photo's size."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

import data
from data.errors import InputError
from data.worlds.labels import CLASSES, PATTERNS
from recon.general.encoder import Residual
from recon.general.layers import GroupNorm

SHIPPED = Path(data.__file__).parent / "weights" / "understanding.safetensors"
VERSION = 1
MULTIPLE = 32
"""Sides of the pictures that it works on."""


@dataclass(frozen=True)
class UnderstandingOptions:
    """Everything that decides the shapes of the weights."""

    widths: tuple[int, int, int, int, int] = (32, 64, 112, 184, 232)
    """Channels at 1/2 to 1/32 of the photo's size."""
    blocks: tuple[int, int, int] = (3, 3, 2)
    """Blocks at 1/8, 1/16 and 1/32."""
    decoder: tuple[int, int, int] = (80, 64, 40)
    """Channels of the decoder at 1/16 and 1/8, at 1/4, and at 1/2."""
    instance: int = 24
    """Length of the feature that says which pixels belong to one thing."""
    material: int = 12
    """The same for one material."""


@dataclass(frozen=True)
class Understood:
    """What the network says about n pictures, at half their size."""

    instance: Float[Tensor, "n e h w"]
    """Unit features: alike on one thing, in whichever view, unlike on two."""
    material: Float[Tensor, "n m h w"]
    outline: Float[Tensor, "n 1 h w"]
    """Log-odds that a thing ends here; likewise the next three."""
    crease: Float[Tensor, "n 1 h w"]
    """The surface bends sharply or breaks off."""
    thing: Float[Tensor, "n 1 h w"]
    """An object, not ground, wall or sky."""
    flat: Float[Tensor, "n 1 h w"]
    """The surface is planar."""
    classes: Float[Tensor, "n c h w"]
    """Scores (logits) of `data.worlds.labels.CLASSES`."""
    patterns: Float[Tensor, "n p h w"]
    """Scores of `data.worlds.labels.PATTERNS`."""
    normal: Float[Tensor, "n 3 h w"]
    """Unit normals, camera axes (x right, y down, z forwards)."""
    depth: Float[Tensor, "n 1 h w"]
    """Logarithm of the distance along the ray, up to a constant for each picture."""


class ConvBlock(nn.Module):
    """Depthwise convolution, then a perceptron for each pixel (ConvNeXt, Liu et al. 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = GroupNorm(1, channels)
        self.widen, self.narrow = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(3 * channels, channels, 1)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.narrow(F.gelu(self.widen(self.norm(self.mix(x)))))


class Attention(nn.Module):
    """Every place of the coarsest map asks all others (Vaswani et al. 2017); a depthwise convolution tells them apart."""

    def __init__(self, channels: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.place = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1, self.norm2 = GroupNorm(1, channels), GroupNorm(1, channels)
        self.ask, self.answer = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(channels, channels, 1)
        self.widen, self.narrow = nn.Conv2d(channels, 3 * channels, 1), nn.Conv2d(3 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.place(x)
        n, c, h, w = x.shape
        q, k, v = self.ask(self.norm1(x)).view(n, 3, self.heads, c // self.heads, h * w).transpose(-1, -2).unbind(1)
        told = F.scaled_dot_product_attention(q, k, v).transpose(-1, -2).reshape(n, c, h, w)
        x = x + self.answer(told)
        return x + self.narrow(F.gelu(self.widen(self.norm2(x))))


class UnderstandingNetwork(nn.Module):
    """See the module. Only a photo goes in: what it says does not depend on other views, so that views can be compared."""

    def __init__(self, options: UnderstandingOptions | None = None) -> None:
        super().__init__()
        self.options = o = options or UnderstandingOptions()
        a, b, c, d, e = o.widths
        n8, n16, n32 = o.blocks
        p, q, r = o.decoder
        self.at2 = nn.Sequential(nn.Conv2d(3, a, 4, stride=2, padding=1), Residual(a))
        self.at4 = nn.Sequential(nn.Conv2d(a, b, 4, stride=2, padding=1), Residual(b), Residual(b))
        self.at8 = nn.Sequential(GroupNorm(1, b), nn.Conv2d(b, c, 2, stride=2), *(ConvBlock(c) for _ in range(n8)))
        self.at16 = nn.Sequential(GroupNorm(1, c), nn.Conv2d(c, d, 2, stride=2), *(ConvBlock(d) for _ in range(n16)))
        self.at32 = nn.Sequential(GroupNorm(1, d), nn.Conv2d(d, e, 2, stride=2), *(Attention(e) for _ in range(n32)))
        self.from32, self.from16, self.from8, self.from4, self.from2 = (nn.Conv2d(i, j, 1) for i, j in ((e, p), (d, p), (c, p), (b, q), (a, r)))
        self.to4, self.to2 = nn.Conv2d(p, q, 1), nn.Conv2d(q, r, 1)
        self.refine16, self.refine8, self.refine4, self.refine2 = Residual(p), Residual(p), Residual(q), Residual(r)
        self.sizes = (o.instance, o.material, 1, 1, 1, 1, len(CLASSES), len(PATTERNS), 3, 1)
        self.out = nn.Conv2d(r, sum(self.sizes), 3, padding=1)

    def raw(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t h2 w2"]:
        """All outputs in a row; sides are multiples of 32."""
        x2 = self.at2(2 * images - 1)
        x4 = self.at4(x2)
        x8 = self.at8(x4)
        x16 = self.at16(x8)
        x32 = self.at32(x16)
        y16 = self.refine16(self.from16(x16) + _doubled(self.from32(x32)))
        y8 = self.refine8(self.from8(x8) + _doubled(y16))
        y4 = self.refine4(self.from4(x4) + _doubled(self.to4(y8)))
        y2 = self.refine2(self.from2(x2) + _doubled(self.to2(y4)))
        return self.out(F.relu(y2))  # type: ignore[no-any-return]

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Understood:
        """What it says about pictures, sRGB 0 to 1."""
        return self.split(self.raw(images))

    def split(self, raw: Float[Tensor, "n t h w"]) -> Understood:
        """The outputs by name, what should have unit length normalised."""
        instance, material, outline, crease, thing, flat, classes, patterns, normal, depth = raw.float().split(list(self.sizes), dim=1)
        return Understood(F.normalize(instance, dim=1), F.normalize(material, dim=1), outline, crease, thing, flat, classes, patterns, F.normalize(normal, dim=1), depth)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def save_network(network: UnderstandingNetwork, path: Path, card: dict[str, Any]) -> None:
    """Write half-precision weights, and the model card beside them."""
    from safetensors.torch import save

    from data.files import atomic_write, write_json

    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: value.detach().half().contiguous().cpu() for name, value in network.state_dict().items()}
    atomic_write(path, save(tensors))
    write_json(path.with_suffix(".json"), {"format": "lumigraph understanding", "version": VERSION, "options": asdict(network.options), **card})


def read_card(path: Path) -> dict[str, Any]:
    """The card beside some weights.

    Raises:
        InputError: it is missing, or of something else.
    """
    try:
        card = json.loads(path.with_suffix(".json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"The model card '{path.with_suffix('.json')}' cannot be read ({error}). It belongs beside the weights; take an intact copy.") from None
    if card.get("format") != "lumigraph understanding" or card.get("version") != VERSION:
        raise InputError(f"'{path}' holds version {card.get('version')} of '{card.get('format')}', not version {VERSION} of 'lumigraph understanding'. Train it again, or take the program that belongs to it.")
    return card  # type: ignore[no-any-return]


def load_network(path: Path | None = None, device: torch.device | str = "cpu") -> UnderstandingNetwork:
    """The shipped network, or another of its kind.

    Raises:
        InputError: its files are missing, damaged or of another version.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = path or SHIPPED
    card = read_card(path)
    options: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in card["options"].items()}
    network = UnderstandingNetwork(UnderstandingOptions(**options))
    try:
        network.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise InputError(f"The weights '{path}' cannot be read ({str(error).splitlines()[0]}). Take an intact copy, or train them again.") from None
    network.requires_grad_(False)
    return network.eval().to(device)
