"""The photos as one flat list of pixels to draw training rays from."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from data.cameras import Cameras
from data.parallel import mapped
from data.scene import Scene
from recon.depthmaps import DepthMaps
from recon.fields import Rays, pixel_rays, ray_to_z


@dataclass(frozen=True)
class PixelBatch:
    """Training rays and what the photos show there."""

    rays: Rays
    views: Int[Tensor, "rays"]
    rgb: Float[Tensor, "rays 3"]
    inside: Bool[Tensor, "rays"]
    """Whether the pixel belongs to the subject (always true without silhouettes)."""
    depth: Float[Tensor, "rays"]
    """Distance along the ray at which stereo saw a surface, scene units; 0 where it did not."""


@dataclass(frozen=True)
class PixelSource:
    """All pixels worth training on, of pictures of any sizes."""

    cameras: Cameras
    rgb: UInt8[Tensor, "pixels 3"]
    inside: Bool[Tensor, "pixels"]
    offsets: Int[Tensor, "offsets"]
    candidates: Int[Tensor, "chosen"]
    near_far: Float[Tensor, "views 2"]
    depth: Float[Tensor, "pixels"] | None = None
    """Distance along the ray to a surface seen by stereo, scene units; 0 where unknown."""

    @classmethod
    def load(cls, scene: Scene, near_far: Float[np.ndarray, "n 2"], device: torch.device | str, maps: DepthMaps | None = None) -> "PixelSource":
        """Read every picture once. With silhouettes, only a band around them is kept; ignored pixels never are."""
        colors, insides, useful, depths, offsets = [], [], [], [], [0]
        pictures = mapped(lambda i: (scene.image(i), scene.mask(i)), range(len(scene)))
        for i, (picture, mask) in enumerate(pictures):
            height, width = picture.shape[:2]
            inside = np.ones((height, width), dtype=bool)
            wanted = inside
            if mask is not None and scene.mask_meaning == "object":
                inside = mask
                band = max(height, width) // 12 * 2 + 1
                wanted = cv2.dilate(mask.astype(np.uint8), np.ones((band, band), np.uint8)) > 0
            elif mask is not None:
                wanted = mask
            colors.append(picture.reshape(-1, 3))
            insides.append(inside.reshape(-1))
            useful.append(np.flatnonzero(wanted.reshape(-1)) + offsets[-1])
            offsets.append(offsets[-1] + height * width)
            if maps is not None:
                full = cv2.resize(maps.depth[i], (width, height), interpolation=cv2.INTER_NEAREST)
                depths.append(torch.from_numpy(full) / ray_to_z(scene.posed(), i))
        return cls(
            scene.posed(),
            torch.from_numpy(np.concatenate(colors)).to(device),
            torch.from_numpy(np.concatenate(insides)).to(device),
            torch.tensor(offsets, device=device),
            torch.from_numpy(np.concatenate(useful)).to(device),
            torch.from_numpy(near_far).float().to(device),
            torch.cat([d.reshape(-1) for d in depths]).to(device) if depths else None,
        )

    def draw(self, count: int, generator: torch.Generator) -> PixelBatch:
        """``count`` random pixels with replacement, through their centres."""
        device = self.rgb.device
        chosen = self.candidates[torch.randint(len(self.candidates), (count,), generator=generator, device=device)]
        views = torch.searchsorted(self.offsets, chosen, right=True) - 1
        within = chosen - self.offsets[views]
        width = torch.from_numpy(self.cameras.sizes[:, 0]).to(device)[views]
        pixels = torch.stack([within % width, within // width], dim=-1) + 0.5
        near, far = self.near_far[views].unbind(-1)
        rays = pixel_rays(self.cameras, views, pixels, near, far)
        depth = torch.zeros(count, device=device) if self.depth is None else self.depth[chosen]
        return PixelBatch(rays, views, self.rgb[chosen].float() / 255, self.inside[chosen], depth)
