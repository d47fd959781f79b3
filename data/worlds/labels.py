"""Labelled pictures of worlds: what every pixel belongs to is known, since we made the world. Training data of scene understanding."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, Int8, UInt8
from torch import Tensor
from torch.nn import functional as F

from data.worlds import layout as L
from data.worlds.bank import make_bank
from data.worlds.edits.rerendered import Tables, noun_of
from data.worlds.edits.words import NOUNS
from data.worlds.renderer import Worlds, render

CLASSES = ("sky", "floor", "wall", "ceiling", *NOUNS)
"""What a pixel may show."""
PATTERNS = ("plain", "clouds", "checks", "stripes", "cells", "bricks", "dots", "marble", "blocks", "speckles", "text", "rings")
"""What a material may look like, in the order of `layout`."""
PLACES = 100
"""Segments from this number on are ground and room: it plus the row of the material."""
SKY = 255
_STRAIGHT = 0.9995
"""Length of the mean of the normals in a small window, from which on it counts as flat."""


@dataclass(frozen=True)
class LabelBank:
    """Photographed worlds with labels; tensors live on one device."""

    rgb: UInt8[Tensor, "w v h x 3"]
    depth: Float[Tensor, "w v h x"]
    """Along the ray, half precision; 0 in the sky."""
    normal: Int8[Tensor, "w v h x 3"]
    """World axes, -1 to 1 as -127 to 127."""
    segment: UInt8[Tensor, "w v h x"]
    """Number of the object, from 1; `PLACES` and more: ground and room; `SKY`."""
    material: UInt8[Tensor, "w v h x"]
    cameras: Float[Tensor, "w v 17"]
    classes: UInt8[Tensor, "w 256"]
    """Class of each segment, an index of `CLASSES`."""
    patterns: UInt8[Tensor, "w 256"]
    """Look of each material, an index of `PATTERNS`; 255: none."""

    def __len__(self) -> int:
        return len(self.rgb)


@dataclass(frozen=True)
class Labelled:
    """Pictures with labels, V views of each of B worlds in a row."""

    rgb: Float[Tensor, "n 3 h w"]
    depth: Float[Tensor, "n h w"]
    """Along the ray; 0 in the sky."""
    normal: Float[Tensor, "n 3 h w"]
    """Unit normals in the camera's axes (x right, y down, z forwards); 0 in the sky."""
    segment: Int[Tensor, "n h w"]
    material: Int[Tensor, "n h w"]
    kind: Int[Tensor, "n h w"]
    """Index of `CLASSES`."""
    pattern: Int[Tensor, "n h w"]
    """Index of `PATTERNS`; 255: none."""


def make_label_bank(
    seeds: Sequence[int], width: int, height: int, views: int, device: torch.device | str = "cpu", executor: Executor | None = None, plain: float = 0.3,
) -> LabelBank:  # fmt: skip
    """Photograph worlds and label the pictures.

    Args:
        seeds: one world each.
        views: pictures of each world.
        plain: share of the worlds with unpainted objects.
    """
    bank = make_bank(seeds, width, height, views, device, 1, executor, plain)
    return labelled_bank(bank.worlds, bank.cameras, width, height)


def labelled_bank(worlds: Worlds, cameras: Float[Tensor, "w v 17"], width: int, height: int, samples: int = 2) -> LabelBank:
    """Labelled pictures of worlds from given cameras."""
    w, v = cameras.shape[:2]
    parts = []
    for piece in cameras.reshape(-1, L.CAMERA).split(2048):
        r = render(worlds, piece, width, height, samples)
        segment = torch.where(r.thing > 0, r.thing, torch.where(r.material == SKY, r.material, r.material + PLACES))
        parts.append((r.rgb, r.depth.half(), (r.normal * 127).round().to(torch.int8), segment, r.material))
    rgb, depth, normal, segment, material = (torch.cat(column).unflatten(0, (w, v)) for column in zip(*parts, strict=True))
    classes, patterns = tables_of(worlds)
    device = rgb.device
    return LabelBank(rgb, depth, normal, segment, material, cameras, torch.from_numpy(classes).to(device), torch.from_numpy(patterns).to(device))


def tables_of(worlds: Worlds) -> tuple[UInt8[np.ndarray, "w 256"], UInt8[np.ndarray, "w 256"]]:
    """The class of each segment and the look of each material of some worlds."""
    host = worlds.to("cpu")
    classes, patterns = np.zeros((len(worlds), 256), np.uint8), np.full((len(worlds), 256), 255, np.uint8)
    place = {name: CLASSES.index(name) for name in ("floor", "wall", "ceiling")}
    for i in range(len(worlds)):
        tables = Tables(*(t[i].numpy() for t in (host.headers, host.objects, host.primitives, host.materials)))
        for thing in range(tables.things):
            classes[i, thing + 1] = CLASSES.index(noun_of(tables, thing))
        walls = int(tables.header[L.WALL_MATERIAL])
        for row, name in ((walls, "wall"), (walls + 1, "wall"), (int(tables.header[L.CEILING_MATERIAL]), "ceiling"), (int(tables.header[L.FLOOR_MATERIAL]), "floor")):
            classes[i, PLACES + row] = place[name]
        patterns[i, : len(tables.materials)] = tables.materials[:, L.PATTERN]
    return classes, patterns


def batch(bank: LabelBank, worlds: int, views: int, size: tuple[int, int], g: torch.Generator, zoom: tuple[float, float] = (0.45, 1.0)) -> Labelled:
    """Random crops of random worlds, brought to one size, half of them mirrored (a world's views all or none).

    Args:
        views: pictures of each world.
        size: width and height.
        zoom: range of the crop's side relative to the picture's.
    """
    device, (height, width) = bank.rgb.device, bank.rgb.shape[2:4]
    w = torch.randint(len(bank), (worlds,), generator=g, device=device)
    v = torch.rand(worlds, bank.rgb.shape[1], generator=g, device=device).argsort(1)[:, :views]
    at = w.repeat_interleave(views), v.reshape(-1)
    n = len(at[0])
    shrink = min(width / size[0], height / size[1])
    scale = zoom[0] + (zoom[1] - zoom[0]) * torch.rand(n, generator=g, device=device)
    half = torch.stack([scale * shrink * size[0] / width, scale * shrink * size[1] / height], dim=1)  # of the crop, in grid units
    middle = (1 - half) * (2 * torch.rand(n, 2, generator=g, device=device) - 1)
    mirrored = (torch.rand(worlds, generator=g, device=device) < 0.5).repeat_interleave(views)
    theta = torch.zeros(n, 2, 3, device=device)
    theta[:, 0, 0] = half[:, 0] * torch.where(mirrored, -1.0, 1.0)
    theta[:, 1, 1], theta[:, :, 2] = half[:, 1], middle
    grid = F.affine_grid(theta, [n, 1, size[1], size[0]], align_corners=False)

    def taken(x: Tensor, mode: str = "nearest") -> Tensor:
        return F.grid_sample(x.float(), grid, mode=mode, padding_mode="border", align_corners=False)

    rgb = taken(bank.rgb[at].permute(0, 3, 1, 2), "bilinear") / 255
    to_camera = bank.cameras[at][:, :9].view(-1, 3, 3)
    normal = torch.einsum("nji,njhw->nihw", to_camera, taken(bank.normal[at].permute(0, 3, 1, 2)) / 127)
    normal = torch.where(mirrored[:, None, None, None] & (torch.arange(3, device=device) == 0)[None, :, None, None], -normal, normal)
    depth, segment, material = (taken(x[at][:, None])[:, 0] for x in (bank.depth, bank.segment, bank.material))
    segment, material = segment.long(), material.long()
    rows = at[0]
    kind = bank.classes[rows].long().gather(1, segment.flatten(1)).view_as(segment)
    pattern = bank.patterns[rows].long().gather(1, material.flatten(1)).view_as(material)
    return Labelled(rgb, depth, F.normalize(normal, dim=1), segment, material, kind, pattern)


def outlines(segment: Int[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """1 at pixels with another segment beside them, on either side of the border."""
    edge = torch.zeros(segment.shape, dtype=torch.bool, device=segment.device)
    across, down = segment[:, :, 1:] != segment[:, :, :-1], segment[:, 1:] != segment[:, :-1]
    edge[:, :, 1:] |= across
    edge[:, :, :-1] |= across
    edge[:, 1:] |= down
    edge[:, :-1] |= down
    return edge.float()


def creases(normal: Float[Tensor, "n 3 h w"], depth: Float[Tensor, "n h w"], angle: float = 0.9, jump: float = 0.05) -> Float[Tensor, "n h w"]:
    """1 where the surface bends sharply or breaks off.

    Args:
        angle: cosine between neighbouring normals below which the surface bends.
        jump: relative step of depth from which on it breaks off.
    """
    edge = torch.zeros(depth.shape, dtype=torch.bool, device=depth.device)
    log = depth.clamp(min=1e-3).log()
    for d, (here, there) in ((2, (slice(None, -1), slice(1, None))), (1, (slice(None, -1), slice(1, None)))):
        a = (slice(None),) * d + (here,)
        b = (slice(None),) * d + (there,)
        na, nb = (normal[(i[0], slice(None), *i[1:])] for i in (a, b))
        bends = ((na * nb).sum(1) < angle) | ((log[a] - log[b]).abs() > jump)
        edge[a] |= bends
        edge[b] |= bends
    return edge.float()


def flat(normal: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n h w"]:
    """1 on planar surfaces."""
    mean = F.avg_pool2d(F.pad(normal, (2, 2, 2, 2), mode="replicate"), 5, 1)
    return F.max_pool2d((mean.norm(dim=1, keepdim=True) > _STRAIGHT).float(), 5, 1, 2)[:, 0]
