"""What is looked at: the photos of a result, small, with depth, and what the network says about them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.errors import InputError
from recon.depthviews import DepthViews, Links, depths, link, nearest, resized, small_photos
from recon.result import Result
from recon.understanding.instances import NEIGHBOURS
from recon.understanding.selecting import Click


@dataclass(frozen=True)
class Asked:
    """N photos of one size, an even number of pixels wide and high. Photos of other shapes are squeezed to it."""

    result: Result
    photos: Float[Tensor, "n 3 h w"]
    views: DepthViews
    """The same at half the size, where the networks answer."""

    @property
    def names(self) -> list[str]:
        """File names of the photos without their suffix."""
        return [path.stem for path in self.result.scene.image_paths]

    @cached_property
    def links(self) -> Links | None:
        """Where each photo's pixels are in those most like it; None for a lone photo."""
        return link(self.views, nearest(self.views.cameras, min(NEIGHBOURS, len(self.views) - 1))) if len(self.views) > 1 else None

    @cached_property
    def depth(self) -> tuple[Float[Tensor, "h w"], ...]:
        """Along the optical axes."""
        return tuple(self.views.depth.cpu())


def look(result: Result, side: int, device: torch.device | str = "cpu") -> Asked:
    """The photos of a result, the longest side at most ``side``.

    Args:
        device: where photos are compared; `Asked.photos` and `Asked.depth` are on the processor.

    Raises:
        InputError: the side is too small to see anything.
    """
    if side < 64:
        raise InputError(f"--side {side} is too small to see anything. Give 64 or more; 640 is usual.")
    sizes = result.scene.posed().sizes
    scale = min(side / float(sizes.max()), 1.0)
    width, height = (max(2 * int(round(float(np.median(sizes[:, d])) * scale / 2)), 16) for d in (0, 1))
    photos = small_photos(result.scene, (width, height))
    half = resized(result.scene.posed(), (width // 2, height // 2))
    return Asked(result, photos, DepthViews(torch.nn.functional.avg_pool2d(photos, 2), depths(result.baked, half), half).to(device))


def full(labels: Int[ndarray, "h w"], size: tuple[int, int]) -> Int[ndarray, "h2 w2"]:
    """A label map at the size of its photo."""
    import cv2

    return cv2.resize(labels.astype(np.int32).astype(np.float32), size, interpolation=cv2.INTER_NEAREST).astype(np.int64)


def parsed(clicks: tuple[str, ...], result: Result) -> list[Click]:
    """Clicks as they are written on a command line; see `UnderstandOptions.clicks`.

    Raises:
        InputError: one that cannot be understood, or a photo that is not there.
    """
    paths, sizes = result.scene.image_paths, result.scene.posed().sizes
    places = {name: i for i, path in enumerate(paths) for name in (path.name, path.stem)}
    out = []
    for text in clicks:
        words = text.replace(",", " ").replace(":", " ").split()
        away = words[:1] == ["-"]  # what does not belong to it: with a space, since a place may begin with a minus
        words = words[away:]
        try:
            if len(words) != 3:
                raise ValueError
            numbers = [float(w) for w in words[1:]]
            if not np.isfinite(numbers).all():
                raise ValueError
        except ValueError:
            raise InputError(f"The click '{text}' cannot be read. Write 'PHOTO X Y' with pixels, such as '{paths[0].name} 320 240', or 'X Y Z' for a point of the scene; '- ' before it for what does not belong to the thing.") from None
        minus = words[0].startswith("-") and words[0] not in places
        name, inside = words[0][minus:], not (away or minus)
        if name in places:
            i = places[name]
            width, height = (int(v) for v in sizes[i])
            if not (0 <= numbers[0] < width and 0 <= numbers[1] < height):
                raise InputError(f"The click '{text}' lies beside the photo, which has {width} x {height} pixels. Give pixels of the photo in '{result.scene.root}'.")
            out.append(Click(i, ((numbers[0] + 0.5) / width if numbers[0] == int(numbers[0]) else numbers[0] / width, (numbers[1] + 0.5) / height if numbers[1] == int(numbers[1]) else numbers[1] / height), inside))
            continue
        try:
            out.append(Click(-1, (float(words[0]), *numbers), not away))
        except ValueError:
            raise InputError(f"The click '{text}' names no photo of this result. Its photos are named like '{paths[0].name}'.") from None
    return out
