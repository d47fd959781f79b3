"""The normalised frame in which a scene is trained, chosen from the scene and undone on the way out."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.cameras import Cameras, focus_point
from data.scene import Scene
from kernels.reprojection import silhouette
from recon.fields import Rays
from recon.paths import surrounds


@dataclass(frozen=True)
class Frame:
    """World = ``center + radius * normalised``; the region of interest is the cube [-1, 1]^3."""

    center: tuple[float, float, float]
    radius: float
    contracted: bool
    """Whether space outside the cube exists (contracted) or is empty."""

    def rays(self, rays: Rays) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Origins, directions, near and far in normalised units; far is cut where nothing more can be."""
        center = torch.tensor(self.center, device=rays.origins.device)
        origins = (rays.origins - center) / self.radius
        near, far = rays.near / self.radius, rays.far / self.radius
        if self.contracted:
            return origins, rays.directions, near, torch.clamp(far, max=origins.norm(dim=-1) + 60.0)
        inverse = 1.0 / torch.where(rays.directions.abs() < 1e-9, torch.full_like(rays.directions, 1e-9), rays.directions)
        a, b = (-1 - origins) * inverse, (1 - origins) * inverse
        enter, leave = torch.minimum(a, b).amax(-1), torch.maximum(a, b).amin(-1)
        return origins, rays.directions, torch.maximum(near, enter.clamp(min=0)), torch.minimum(far, leave)

    def normalise(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
        """World -> normalised."""
        return (points - torch.tensor(self.center, device=points.device)) / self.radius

    @property
    def box(self) -> Float[np.ndarray, "2 3"]:
        """The cube in world coordinates."""
        return np.stack([np.array(self.center) - self.radius, np.array(self.center) + self.radius])


def choose_frame(scene: Scene) -> Frame:
    """Where the subject is: its silhouettes' hull if masks cut it out, else the middle of the sparse points.

    Without either: where the cameras look, as far as they stand from it.
    """
    cameras = scene.posed()
    if scene.mask_meaning == "object":
        low, high = hull_box(scene)
        center, half = (low + high) / 2, (high - low).max() / 2
        return Frame(_tuple(center), float(half * 1.05), contracted=False)
    focus = focus_point(cameras)
    spread = float(np.degrees(np.arccos(np.clip(cameras.forwards @ _unit(cameras.forwards.mean(0)), -1, 1))).max())
    if scene.points is not None and len(scene.points) >= 30:
        xyz = scene.points.xyz
        center = focus if spread > 25 and _in_front(cameras, focus) else np.median(xyz, axis=0)
        distance = np.abs(xyz - center).max(1)
        radius = float(np.percentile(distance, 75))
        if spread > 25:
            # Around a subject the cameras' ring bounds it; points on far walls must not inflate the cube.
            radius = min(radius, float(np.median(np.linalg.norm(cameras.centers - center, axis=1))))
        return Frame(_tuple(center), max(radius, 1e-6), contracted=True)
    distance = np.linalg.norm(cameras.centers - focus, axis=1)
    return Frame(_tuple(focus), float(max(np.median(distance) * 0.7, 1e-6)), contracted=True)


def hull_box(scene: Scene, side: int = 48, rounds: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Axis-aligned box of the visual hull: points of a grid that no silhouette excludes, refined a few times."""
    cameras = scene.posed()
    masks = [scene.mask(i) for i in range(len(scene))]
    focus = focus_point(cameras)
    reach = np.linalg.norm(cameras.centers - focus, axis=1).max()
    low, high = (scene.box[0], scene.box[1]) if scene.box is not None else (focus - reach, focus + reach)
    for _ in range(rounds):
        axes = [np.linspace(low[d], high[d], side) for d in range(3)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        inside = inside_hull(cameras, masks, grid, slack=float((high - low).max() / side))
        if not inside.any():
            break
        cell = (high - low) / side
        low, high = grid[inside].min(0) - 1.5 * cell, grid[inside].max(0) + 1.5 * cell
    return low, high


def inside_hull(
    cameras: Cameras, masks: list[np.ndarray | None], points: Float[np.ndarray, "p 3"], slack: float = 0.0
) -> np.ndarray:
    """Which points project into every silhouette that could see them (up to ``slack`` scene units beside it).

    Where a silhouette does not touch its picture's border, the whole subject is in the picture: points outside are
    excluded as well. Otherwise they are not, but one that fewer than two pictures see is no part of the subject.
    """
    import cv2

    kept = np.ones(len(points), dtype=bool)
    seen = np.zeros(len(points), dtype=np.int64)
    projections = cameras.projections
    few = points[:: max(len(points) // 1000, 1)]  # enough for what is typical
    for i, mask in enumerate(masks):
        if mask is None:
            continue
        typical = max(float(np.median(np.abs(few @ projections[i, 2, :3] + projections[i, 2, 3]))), 1e-9) if len(few) else 1.0
        grow = int(np.ceil(slack * cameras.intrinsics[i, 0, 0] / typical)) if slack else 0
        wide = cv2.dilate(mask.astype(np.uint8), np.ones((2 * grow + 1, 2 * grow + 1), np.uint8)) > 0 if grow else mask
        whole = not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())
        silhouette(points, projections[i], wide, whole, kept, seen)
    return kept & (seen >= min(2, len(masks)))


def subject_box(scene: Scene, frame: Frame) -> np.ndarray:
    """The region worth meshing ``[2, 3]``: the cube itself for objects; else around the bulk of the sparse points."""
    if not frame.contracted:
        return frame.box
    if scene.box is not None:
        return np.stack([scene.box.min(0), scene.box.max(0)])
    if scene.points is None or len(scene.points) < 30:
        return frame.box
    low, high = np.percentile(scene.points.xyz, [3, 97], axis=0)
    margin = 0.1 * (high - low).max()
    outer = np.stack([np.array(frame.center) - 3 * frame.radius, np.array(frame.center) + 3 * frame.radius])
    if surrounds(scene.posed()):
        # Whoever walks around something means what is inside the circle, not the floor beyond it.
        reach = 0.6 * float(np.median(np.linalg.norm(scene.posed().centers - np.array(frame.center), axis=1)))
        # The points do not narrow it: what is plain (the neck of a vase) has none.
        return np.stack([np.array(frame.center) - reach, np.array(frame.center) + reach])
    return np.stack([np.maximum(low - margin, outer[0]), np.minimum(high + margin, outer[1])])


def _in_front(cameras: Cameras, point: np.ndarray) -> bool:
    return bool((((point - cameras.centers) * cameras.forwards).sum(1) > 0).mean() > 0.9)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / max(float(np.linalg.norm(v)), 1e-12)


def _tuple(v: np.ndarray) -> tuple[float, float, float]:
    return float(v[0]), float(v[1]), float(v[2])
