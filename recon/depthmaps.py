"""Depth pictures of a set of views."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from data.cameras import Cameras


@dataclass(frozen=True)
class DepthMaps:
    """Depth along the optical axis for every camera; 0 where unknown."""

    cameras: Cameras
    depth: list[Float[ndarray, "_ _"]]

    def __len__(self) -> int:
        return len(self.depth)

    def save(self, path: Path) -> None:
        """Write the depths (not the cameras) as safetensors."""
        from safetensors.numpy import save_file

        partial = path.with_name(f".{path.name}.part")
        save_file({f"{i:05d}": np.ascontiguousarray(d) for i, d in enumerate(self.depth)}, partial)
        partial.replace(path)

    @classmethod
    def load(cls, path: Path, cameras: Cameras) -> "DepthMaps":
        """Read what `save` wrote; the cameras are scaled to the pictures' sizes."""
        from safetensors.numpy import load_file

        tensors = load_file(path)
        depth = [tensors[key] for key in sorted(tensors)]
        sizes = np.array([[d.shape[1], d.shape[0]] for d in depth])
        return cls(cameras.resized(sizes), depth)

    def select(self, views: Sequence[int]) -> "DepthMaps":
        return DepthMaps(self.cameras.select(views), [self.depth[i] for i in views])
