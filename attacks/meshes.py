"""The mesh that a victim's photos give, and how far an attack moves it: what people export is a mesh, not a view."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from attacks.case import Case, Target
from attacks.victims.protocol import Look
from data.errors import InputError
from recon.depthmaps import DepthMaps
from recon.fields import ray_to_z
from recon.surface.depth import consistent, trusted
from recon.surface.fusion import fuse, voxel_size
from recon.surface.options import SurfaceOptions
from recon.surface.triangles import Triangles

SIDE = 192
"""Longest side of the depth pictures that a mesh is fused from, pixels."""


@dataclass(frozen=True)
class MeshScore:
    """A mesh beside the one from the clean photos."""

    chamfer: float
    """Symmetric chamfer distance as a share of the clean mesh's diagonal; NaN where either has no surface."""
    area: float
    """Area over the clean mesh's."""


def mesh_of(look: Look, case: Case, side: int = SIDE) -> Triangles:
    """Fuse what the look shows from every source view, as the product does with its depth pictures; empty where no two views agree."""
    shrink = np.minimum(1.0, side / case.cameras.sizes.max(1, keepdims=True))
    cameras = case.cameras.resized(np.maximum(np.round(case.cameras.sizes * shrink), 1).astype(np.int64))
    depths = []
    for i in range(len(case)):
        depth = look.picture(Target(case.names[i], cameras.select([i]))).depth * ray_to_z(cameras, i)
        mask = case.masks[i] if case.masks else None
        if mask is not None:
            small = torch.nn.functional.interpolate(mask[None, None].float(), depth.shape, mode="nearest")[0, 0]
            depth = depth * small
        depths.append(depth.numpy().astype(np.float32))
    maps = DepthMaps(cameras, depths)
    everywhere = np.array([[-np.inf] * 3, [np.inf] * 3])
    try:
        voxel = voxel_size(consistent(maps), everywhere, SurfaceOptions(resolution=128))
    except InputError:  # the views agree on nothing: that is a finding, not a fault
        return Triangles(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    return fuse(maps, voxel, trusted(maps))


def compared(now: Triangles, clean: Triangles, points: int = 20_000) -> MeshScore:
    """Distance of two meshes by points spread evenly over each."""
    from recon.metrics import surface_scores

    area = float(now.face_areas.sum()) / max(float(clean.face_areas.sum()), 1e-12)
    if not len(now.faces) or not len(clean.faces):
        return MeshScore(float("nan"), area)
    low, high = np.percentile(clean.vertices, [2, 98], axis=0)
    diagonal = max(float(np.linalg.norm(high - low)), 1e-12)
    return MeshScore(surface_scores(spread(now, points) / diagonal, spread(clean, points) / diagonal, None, 0.01)["chamfer"], area)


def spread(mesh: Triangles, count: int, seed: int = 0) -> Float[ndarray, "count 3"]:
    """Random points on a mesh, the same number for each unit of area."""
    g = np.random.default_rng(seed)
    areas = mesh.face_areas
    chosen = g.choice(len(areas), count, p=areas / areas.sum())
    a, b, c = (mesh.vertices[mesh.faces[chosen, k]] for k in range(3))
    u, v = g.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return np.asarray(a + u * (b - a) + v * (c - a))
