"""A bank of worlds with edits, and batches of before/after pairs with their sentences."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from data.worlds import layout as L
from data.worlds.bank import make_bank
from data.worlds.edits.filters import FILTERS, Views, background, color_weight, hue, named_color, painted, tint
from data.worlds.edits.rerendered import Tables, any_edit
from data.worlds.edits.words import COLORS, Instruction
from data.worlds.renderer import Worlds, render

SEEN = (0.012, 0.97)
"""Share of a picture that an edit of things must change to be kept."""
FILTERED = ("adjust", "weather", "season", "time", "style", "swap", "tint", "background")
_SHARES = (0.13, 0.14, 0.11, 0.07, 0.24, 0.19, 0.06, 0.06)


@dataclass(frozen=True)
class EditBank:
    """Photographed worlds and some edits of each, rendered anew; tensors live on one device."""

    rgb: UInt8[Tensor, "n h w 3"]
    depth: Float[Tensor, "n h w"]
    """Along the ray, half precision; 0 in the sky."""
    up: UInt8[Tensor, "n h w"]
    """Vertical part of the normals, -1 to 1 as 0 to 254."""
    things: Bool[Tensor, "n h w"]
    after: UInt8[Tensor, "m h w 3"]
    """The edits made in the worlds."""
    of: Int[Tensor, "m"]
    """Which picture each is an edit of."""
    instructions: tuple[Instruction, ...]

    def __len__(self) -> int:
        return len(self.rgb)


@dataclass(frozen=True)
class Pairs:
    """Training or test pairs."""

    before: Float[Tensor, "b 3 h w"]
    after: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b 1 h w"]
    """Along the ray; 0 in the sky."""
    instructions: tuple[Instruction, ...]
    changed: Float[Tensor, "b 1 h w"]
    """How much each pixel changed, the mean over the channels."""
    up: Float[Tensor, "b 1 h w"]
    """See `filters.Views`, likewise ``things``."""
    things: Bool[Tensor, "b 1 h w"]


def make_edit_bank(
    seeds: Sequence[int], side: int, views: int, edits: int, device: torch.device | str = "cpu", executor: Executor | None = None,
) -> EditBank:  # fmt: skip
    """Photograph worlds, edit each picture's world some times, and photograph those.

    Args:
        seeds: one world each.
        side: of the square pictures, pixels.
        views: pictures of each world.
        edits: edits of each picture.
    """
    bank = make_bank(seeds, side, side, views, device, 1, executor, plain=0.35)
    cameras = bank.cameras.reshape(-1, L.CAMERA)
    parts = [render(bank.worlds, piece, side, side) for piece in cameras.split(4096)]
    rgb, things = torch.cat([p.rgb for p in parts]), torch.cat([p.mask for p in parts])
    depth = torch.cat([p.depth.half() for p in parts])
    up = torch.cat([((p.normal[..., 2] + 1) * 127).round().to(torch.uint8) for p in parts])
    del parts
    host = bank.worlds.to("cpu")
    after, of, instructions = [], [], []
    for piece in np.array_split(np.arange(len(cameras)), max(len(cameras) // 1500, 1)):
        made, said, which = [], [], []
        for at in piece:
            w = int(cameras[at, L.CAMERA_WORLD])
            tables = Tables(*(t[w].numpy() for t in (host.headers, host.objects, host.primitives, host.materials)))
            g = np.random.default_rng([bank.seeds[w], 5, int(at)])
            salient = _salient(tables, cameras[at].cpu().numpy())
            for _ in range(edits):
                changed, instruction = any_edit(tables, salient, g)
                made.append(changed)
                said.append(instruction)
                which.append(int(at))
        columns = (np.stack([getattr(m, name) for m in made]) for name in ("header", "objects", "primitives", "materials"))
        worlds = Worlds(*(torch.from_numpy(c) for c in columns)).to(device)
        rows = cameras[which].clone()
        rows[:, L.CAMERA_WORLD] = torch.arange(len(rows), device=rows.device, dtype=rows.dtype)
        pictures = render(worlds, rows, side, side).rgb
        moved = (pictures.float() - rgb[which].float()).abs().amax(-1) > 12
        share = moved.flatten(1).float().mean(1)
        kept = torch.nonzero((share > SEEN[0]) & (share < SEEN[1]) | (share >= SEEN[1]) & _whole(said, share.device))[:, 0]
        after.append(pictures[kept])
        of.append(torch.tensor(which, device=rgb.device)[kept])
        instructions += [said[i] for i in kept.tolist()]
    return EditBank(rgb, depth, up, things, torch.cat(after), torch.cat(of), tuple(instructions))


def _whole(said: Sequence[Instruction], device: torch.device) -> Bool[Tensor, "m"]:
    return torch.tensor([i.kind in ("time", "all_material") for i in said], device=device)


def _salient(tables: Tables, camera: np.ndarray) -> int:
    """The thing that fills most of the middle of a picture."""
    if tables.things == 0:
        return 0
    spheres = tables.objects[: tables.things, L.SPHERE : L.SPHERE + 4]
    local = (spheres[:, :3] - camera[L.CAMERA_CENTRE : L.CAMERA_CENTRE + 3]) @ camera[:9].reshape(3, 3)
    z = np.maximum(local[:, 2], 1e-3)
    aside = np.linalg.norm(local[:, :2], axis=1) / z
    radius = spheres[:, 3] / z
    return int(np.argmax(np.where(local[:, 2] > 0.1, radius / (0.35 + aside), -1)))


def batch(bank: EditBank, count: int, size: tuple[int, int], g: torch.Generator, choice: np.random.Generator, rerendered: float = 0.45, groups: int = 10, flips: bool = True) -> Pairs:
    """Random pairs: some photographed anew, the others edited in the picture.

    Args:
        size: width and height of the random crop.
        rerendered: share of pairs whose world was edited.
        groups: filters used for the others.
        flips: mirror half of them.
    """
    first = round(count * rerendered)
    device = bank.rgb.device
    edit = torch.randint(len(bank.after), (first,), generator=g, device=device)
    views = torch.cat([bank.of[edit], torch.randint(len(bank), (count - first,), generator=g, device=device)])
    width, height = size
    left, top = (int(choice.integers(0, bank.rgb.shape[1] - s + 1)) for s in (width, height))
    cut = (slice(None), slice(top, top + height), slice(left, left + width))
    look = Views(
        bank.rgb[views][cut].permute(0, 3, 1, 2).float() / 255, bank.depth[views][cut].float()[:, None],
        bank.up[views][cut].float()[:, None] / 127 - 1, bank.things[views][cut][:, None],
    )  # fmt: skip
    after = torch.empty_like(look.rgb)
    after[:first] = bank.after[edit][cut].permute(0, 3, 1, 2).float() / 255
    instructions = [bank.instructions[i] for i in edit.tolist()]
    for rows in torch.arange(first, count, device=device).chunk(groups):
        part = Views(look.rgb[rows], look.depth[rows], look.up[rows], look.things[rows])
        made, said = filtered(part, str(choice.choice(FILTERED, p=_SHARES)), g, choice)
        after[rows] = made
        instructions += said
    after = after.clamp(0, 1)
    flip = torch.nonzero(torch.rand(count, generator=g, device=device) < 0.5)[:, 0] if flips else torch.empty(0, dtype=torch.long, device=device)
    for picture in (look.rgb, after, look.depth, look.up, look.things):
        picture[flip] = picture[flip].flip(-1)
    changed = (after - look.rgb).abs().mean(1, keepdim=True)
    return Pairs(look.rgb, after, look.depth, tuple(instructions), changed, look.up, look.things)


def filtered(views: Views, kind: str, g: torch.Generator, choice: np.random.Generator) -> tuple[Tensor, list[Instruction]]:
    """One kind of edit on some pictures."""
    names = list(COLORS)
    if kind in ("tint", "background"):
        to = [str(choice.choice(names)) for _ in range(len(views))]
        color = torch.cat([named_color(name, views.rgb, g) for name in to])
        return (tint if kind == "tint" else background)(views, color, g), [Instruction(kind, "", name) for name in to]
    if kind == "swap":
        return _swapped(views, g, choice)
    options = [name for k, name in FILTERS if k == kind]
    one = str(choice.choice(options))
    return FILTERS[kind, one](views, g), [Instruction(kind, "", one)] * len(views)


def _swapped(views: Views, g: torch.Generator, choice: np.random.Generator) -> tuple[Tensor, list[Instruction]]:
    """A colour that each picture has, replaced by another; the commonest one where it has nearly none."""
    names = list(COLORS)
    seen = hue(views.rgb)
    weights = torch.stack([color_weight(views.rgb, name, seen) for name in names], dim=1)
    shares = weights.flatten(2).mean(2).cpu().numpy()  # pictures, colours
    old = []
    for share in shares:
        there = np.flatnonzero(share > 0.02)
        old.append(int(choice.choice(there)) if len(there) else int(share.argmax()))
    to = [str(choice.choice([n for n in names if n != names[o]])) for o in old]
    color = torch.cat([named_color(name, views.rgb, g) for name in to])
    chosen = weights[torch.arange(len(views), device=weights.device), torch.tensor(old, device=weights.device)]
    return painted(views.rgb, chosen, color), [Instruction("swap", names[o], name) for o, name in zip(old, to, strict=True)]
