"""What an attack is about: photos that somebody could have altered, and the views that a reconstruction of them is asked for."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from data.cameras import Cameras
from data.errors import InputError
from data.masks import masks_mean
from data.prepare import prepare
from data.progress import drained
from data.scene import Scene
from recon.general.photos import photo_tensor, ranges_to_search
from recon.general.views import mean_distance, unlikeness


@dataclass(frozen=True)
class Target:
    """A view whose picture is at stake."""

    name: str
    camera: Cameras
    """One pinhole camera."""
    truth: Float[Tensor, "h w 3"] | None = None
    """The photo taken there, if there is one."""
    mask: Bool[Tensor, "h w"] | None = None
    """Pixels that count; all if there is none."""
    depth: Float[Tensor, "h w"] | None = None
    """True distance along the rays, scene units, 0 where unknown."""

    def needs_truth(self, what: str) -> Tensor:
        """The photo, or an error that says what needed it."""
        if self.truth is None:
            raise InputError(
                f"{what} needs the photo of the attacked view '{self.name}', and there is none. Attack a view that was photographed, or "
                'let the clean render stand for it (knowledge "render").'
            )
        return self.truth


@dataclass(frozen=True)
class Case:
    """Source photos, and the views to be rendered from them."""

    name: str
    photos: Float[Tensor, "s 3 h w"]
    """The source photos, 8 bits a value; where sizes differ, smaller ones stand in the upper left corner."""
    cameras: Cameras
    """Of the source photos, pinhole."""
    names: tuple[str, ...]
    targets: tuple[Target, ...]
    """Views that are attacked (by a view-specific attack) and scored."""
    proxies: tuple[Target, ...] = ()
    """Photographed views that a universal attack may learn from; not scored."""
    masks: tuple[Bool[Tensor, "_ _"] | None, ...] = ()
    near_far: Float[np.ndarray, "s 2"] | None = None
    """Range of z-depths of each source view, where something reliable is known; see `GeneralModel.condition`, likewise the next."""
    within: Float[np.ndarray, "s 2"] | None = None
    scene: Scene | None = field(default=None, compare=False)
    """The source views as a scene, for victims that read files."""
    looks: dict[int, tuple[Any, Any]] = field(default_factory=dict, compare=False, repr=False)
    """What victims made of the clean photos; see `victims.protocol.clean_look`."""

    def __post_init__(self) -> None:
        if len(self.photos) < 2:
            raise InputError(f"{len(self.photos)} source photo is too few to reconstruct from, so there is nothing to attack. Give at least 2.")

    def __len__(self) -> int:
        return len(self.photos)

    @property
    def inside(self) -> Float[Tensor, "s 1 h w"]:
        """1 where a photo's pixels are, 0 beside photos that are smaller than their tensor."""
        out = torch.zeros_like(self.photos[:, :1])
        for plane, (width, height) in zip(out, self.cameras.sizes, strict=True):
            plane[:, :height, :width] = 1
        return out

    def pieces(self, images: Float[Tensor, "s 3 h w"]) -> list[Float[Tensor, "3 _ _"]]:
        """Photos without what stands beside them."""
        return [image[:, : int(height), : int(width)] for image, (width, height) in zip(images, self.cameras.sizes, strict=True)]

    def to(self, device: torch.device | str) -> "Case":
        """The same with its photos elsewhere; targets stay."""
        return self if self.photos.device == torch.device(device) else replace(self, photos=self.photos.to(device), looks={})

    def order(self, target: Target) -> list[int]:
        """Source views, the one nearest to a target first."""
        unlike = unlikeness(self.cameras.centers, self.cameras.forwards, target.camera.centers[0], target.camera.forwards[0], mean_distance(self.cameras))
        return [int(i) for i in np.argsort(unlike)]

    def attackable(self, views: int | None) -> Float[Tensor, "s 1 h w"]:
        """`inside` of the photos that an attacker of some views may change: those nearest to the first target.

        Raises:
            InputError: there are fewer source views.
        """
        inside = self.inside
        if views is None:
            return inside
        if views > len(self):
            raise InputError(f"{views} source views are to be changed, but '{self.name}' has {len(self)}. Give at most {len(self)}.")
        keep = torch.zeros(len(self), device=inside.device)
        keep[self.order(self.targets[0])[:views] if self.targets else list(range(views))] = 1
        return inside * keep[:, None, None, None]


def read_case(scene: Scene, targets: Sequence[int], sources: int = 8, held_out: Sequence[int] = (), proxies: int = 0) -> Case:
    """A case from a prepared scene (`prepared`): its source views are those nearest to the middle of the targets.

    Args:
        targets: views to be attacked and scored; never among the sources.
        sources: how many source views.
        held_out: other views that must not be sources or proxies.
        proxies: how many more photographed views a universal attack may learn from, nearest first; source views count.

    Raises:
        InputError: no such view, or no poses.
    """
    cameras = scene.posed()
    for view in [*targets, *held_out]:
        if not 0 <= view < len(scene):
            raise InputError(f"'{scene.name}' has no view {view}. Its views are numbered from 0 to {len(scene) - 1}.")
    out = set(targets) | set(held_out)
    middle = cameras.centers[list(targets)].mean(0)
    forward = cameras.forwards[list(targets)].mean(0)
    unlike = unlikeness(cameras.centers, cameras.forwards, middle, forward / max(float(np.linalg.norm(forward)), 1e-9), mean_distance(cameras))
    ranked = [int(i) for i in np.argsort(unlike) if int(i) not in out]
    if len(ranked) < 2:
        raise InputError(f"'{scene.name}' leaves {len(ranked)} source views beside those held out; at least 2 are needed. Hold out fewer.")
    chosen = scene.select(ranked[:sources])
    photos = [photo_tensor(chosen, i) for i in range(len(chosen))]
    height, width = (max(p.shape[d] for p in photos) for d in (1, 2))
    stacked = torch.stack([F.pad(p, (0, width - p.shape[2], 0, height - p.shape[1])) for p in photos])
    near_far, within = ranges_to_search(chosen)
    masks = tuple(_mask(chosen, i) for i in range(len(chosen))) if chosen.mask_paths else ()
    return Case(
        scene.name, stacked, chosen.posed(), chosen.names, tuple(target_of(scene, i) for i in targets),
        tuple(target_of(scene, i) for i in ranked[:proxies]), masks, near_far, within, chosen,
    )  # fmt: skip


def target_of(scene: Scene, view: int) -> Target:
    """A photographed view of a prepared scene as a target."""
    truth = photo_tensor(scene, view).permute(1, 2, 0).contiguous()
    depth = scene.depth(view)
    distance = None
    if depth is not None:
        from recon.fields import ray_to_z

        z = torch.from_numpy(depth.astype(np.float32))
        if z.shape != truth.shape[:2]:
            z = F.interpolate(z[None, None], truth.shape[:2], mode="nearest")[0, 0]
        distance = z / ray_to_z(scene.posed(), view)
    return Target(scene.names[view], scene.posed().select([view]), truth, _mask(scene, view), distance)


def _mask(scene: Scene, view: int) -> Tensor | None:
    mask = scene.mask(view)
    return torch.from_numpy(mask.copy()) if mask is not None and mask.any() else None


def prepared(scene: Scene, side: int, folder: Path | None = None) -> Scene:
    """Straightened photos of at most ``side`` pixels, with their depths if there are any: what is attacked are their files.

    Args:
        folder: for the files; a temporary one if not given.
    """
    folder = folder or Path(tempfile.mkdtemp(prefix="lumigraph-attack-"))
    scene = replace(scene, mask_meaning=scene.mask_meaning or masks_mean(scene))
    straight = drained(prepare(scene, folder, side))
    return replace(straight, depth_paths=() if scene.posed().distorted else scene.depth_paths, splits=scene.splits)


def read_cases(scene: Scene, sources: int = 8, hold_out: int = 8, limit: int | None = None) -> list[Case]:
    """A case for each held-out view of a prepared scene, from the views nearest to it (NeRFool's view-specific setting)."""
    split = scene.hold_out(hold_out)
    test = list(split.splits["test"])
    return [read_case(scene, [view], sources, test) for view in test[:limit]]


def read_universal(scene: Scene, sources: int = 8, hold_out: int = 8, limit: int | None = None, proxies: int = 16) -> Case:
    """One case for the held-out views that the middle source set sees: the sources are the same for all of them (NeRFool's universal setting).

    Args:
        limit: at most so many targets, those nearest to the middle camera.
    """
    split = scene.hold_out(hold_out)
    test, cameras = list(split.splits["test"]), scene.posed()
    train = [i for i in range(len(scene)) if i not in test]
    middle = int(train[int(np.argmin(np.linalg.norm(cameras.centers[train] - cameras.centers[train].mean(0), axis=1)))])
    unlike = unlikeness(cameras.centers, cameras.forwards, cameras.centers[middle], cameras.forwards[middle], mean_distance(cameras))
    targets = sorted(test, key=lambda i: float(unlike[i]))[:limit]
    case = read_case(scene, targets[:1], sources, test, proxies)
    return replace(case, targets=tuple(target_of(scene, i) for i in targets), looks={})
