"""`Scene`: photos and all that is known about them, loaded only when asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data import images
from data.cameras import Cameras
from data.errors import InputError

MaskMeaning = Literal["object", "ignore"]
"""`object`: outside the mask there is nothing to reconstruct; `ignore`: outside the mask is unknown."""


@dataclass(frozen=True)
class Dropped:
    """A photo that was left out, and why."""

    file: str
    why: str


@dataclass(frozen=True)
class SceneReport:
    """What a reader noticed."""

    dropped: tuple[Dropped, ...] = ()
    warnings: tuple[str, ...] = ()
    format: str = "photos"
    """Which reader made the scene."""

    def extended(self, dropped: Sequence[Dropped] = (), warnings: Sequence[str] = ()) -> "SceneReport":
        return replace(self, dropped=(*self.dropped, *dropped), warnings=(*self.warnings, *warnings))


@dataclass(frozen=True)
class SparsePoints:
    """Coloured points on surfaces, in world coordinates."""

    xyz: Float[ndarray, "p 3"]
    rgb: UInt8[ndarray, "p 3"]

    def __len__(self) -> int:
        return len(self.xyz)


@dataclass(frozen=True)
class Scene:
    """Photos with, as far as known, cameras, masks, depths, points and splits."""

    name: str
    root: Path
    image_paths: tuple[Path, ...]
    cameras: Cameras | None = None
    mask_paths: tuple[Path | None, ...] = ()
    mask_meaning: MaskMeaning | None = None
    """None: decided from the masks by `data.masks`."""
    depth_paths: tuple[Path | None, ...] = ()
    depth_scale: float = 0.001
    """Scene units per depth-picture step."""
    points: SparsePoints | None = None
    near_far: Float[ndarray, "n 2"] | None = None
    """Depth range of each view, scene units."""
    box: Float[ndarray, "2 3"] | None = None
    """Lower and upper corner of the region of interest."""
    applied_transform: Float[ndarray, "3 4"] | None = None
    """What an earlier tool did to the original world to reach this one (nerfstudio's `applied_transform`); carried along."""
    splits: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Named lists of view indices, such as `train` and `test`."""
    report: SceneReport = SceneReport()

    def __len__(self) -> int:
        return len(self.image_paths)

    @property
    def names(self) -> tuple[str, ...]:
        """Photo names relative to the root, with forward slashes."""
        return tuple(
            path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else path.name
            for path in self.image_paths
        )

    def posed(self) -> Cameras:
        """The cameras, or an error where they are not known yet."""
        if self.cameras is None:
            raise InputError(f"'{self.name}' has no camera poses. Estimate them first (data.poses.estimate_poses).")
        return self.cameras

    def image(self, index: int) -> UInt8[ndarray, "h w 3"]:
        """Upright picture; transparent pixels keep the colour stored in the file."""
        return images.load_rgba(self.image_paths[index])[0]

    def mask(self, index: int) -> Bool[ndarray, "h w"] | None:
        """True where the photo counts: from the mask file, else from the alpha channel, else None."""
        if self.mask_paths and (path := self.mask_paths[index]) is not None:
            return images.load_mask(path)
        alpha = images.load_rgba(self.image_paths[index])[1]
        return None if alpha is None else alpha > 127

    def depth(self, index: int) -> Float[ndarray, "h w"] | None:
        """Depth along the optical axis in scene units, 0 where unknown, or None."""
        if self.depth_paths and (path := self.depth_paths[index]) is not None:
            return images.load_depth(path, self.depth_scale)
        return None

    def sizes(self) -> Int[ndarray, "n 2"]:
        """Width and height of every upright photo."""
        return np.array([images.image_size(path) for path in self.image_paths], dtype=np.int64)

    def select(self, indices: Sequence[int]) -> "Scene":
        """The views at ``indices``, with the splits re-counted."""
        order = list(indices)
        position = {old: new for new, old in enumerate(order)}
        splits = {
            name: tuple(position[i] for i in members if i in position) for name, members in self.splits.items()
        }
        return replace(
            self,
            image_paths=tuple(self.image_paths[i] for i in order),
            cameras=None if self.cameras is None else self.cameras.select(order),
            mask_paths=tuple(self.mask_paths[i] for i in order) if self.mask_paths else (),
            depth_paths=tuple(self.depth_paths[i] for i in order) if self.depth_paths else (),
            near_far=None if self.near_far is None else self.near_far[order],
            splits={name: members for name, members in splits.items() if members},
        )

    def hold_out(self, every: int) -> "Scene":
        """The scene with a `test` split: its own if it has one, else every ``every``-th view from the first."""
        if self.splits.get("test") and self.splits.get("train"):
            return self
        test = tuple(range(0, len(self), every))
        train = tuple(i for i in range(len(self)) if i not in test)
        if len(train) < 2:
            raise InputError(f"Holding out every {every}th of {len(self)} views leaves {len(train)} to train on. Hold out fewer.")
        return replace(self, splits={"train": train, "test": test})
