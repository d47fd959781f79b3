"""A `Baked` made better on its own photos: its vertices are moved along their normals.

Every photo is predicted from the others, ray by ray: where a ray meets its triangle follows from the triangle's corners, so that the
error's gradient reaches them; no rasterizer needs a gradient, and a CPU does thousands of rays in a few hundredths of a second. What
hides what is taken from the mesh as it is, and looked up anew now and then.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from data.progress import Progress
from kernels.realtime import rasterize
from kernels.realtime.blending import BORDER, LEAST_COSINE, TOLERANCE
from recon.surface.realtime.baked import Baked
from recon.surface.triangles import Triangles


@dataclass(frozen=True)
class RefineOptions:
    """How a mesh is refined."""

    seconds: float = 60.0
    rays: int = 4096
    """Pixels a step, all of one photo."""
    learning_rate: float = 0.03
    """Of vertices, in mean edge lengths."""
    damping: float = 1.0
    """Added to Adam's denominator, in root mean squares of a step's gradient: where photos say little, a vertex moves little."""
    stiffness: float = 15.0
    """Weight of what differs between a vertex's offset and its neighbours', against the mean error of colours."""
    refresh: int = 150
    """Steps after which the mesh is looked at anew: which face each pixel shows, what hides what."""
    seed: int = 0


def refine(baked: Baked, options: RefineOptions, masks: Sequence[Bool[ndarray, "_ _"] | None] = ()) -> Generator[Progress, None, Baked]:
    """The refined one; faces and texture coordinates stay as they are.

    Args:
        masks: of the photos, where they count; everywhere if not given.

    The value's ``asset`` has the moved vertices; its texture should be painted anew.
    """
    work = _Refinement(baked, options, masks)
    begun = time.monotonic()
    step, error = 0, 0.0
    while (elapsed := time.monotonic() - begun) < options.seconds:
        if step % options.refresh == 0:
            work.refresh()
        # The rate falls to a twentieth, as the time runs out.
        work.rate(0.05 + 0.95 * 0.5 * (1 + np.cos(np.pi * elapsed / options.seconds)))
        error = 0.98 * error + 0.02 * work.step() if step else work.step()
        step += 1
        if step % 10 == 0:
            yield Progress("refine", elapsed / options.seconds, f"step {step}", {"error": error})
    return work.result()


class _Refinement:
    def __init__(self, baked: Baked, options: RefineOptions, masks: Sequence[Bool[ndarray, "_ _"] | None]) -> None:
        self.baked, self.options = baked, options
        around = baked.around
        self.front = (*around.layers, len(around.faces))[0]
        self.count = len(baked.asset.mesh.vertices)
        self.random = np.random.default_rng(options.seed)
        mesh = baked.asset.mesh
        edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
        self.edges = torch.from_numpy(np.unique(np.sort(edges, axis=1), axis=0))
        length = float(np.linalg.norm(mesh.vertices[edges[:, 0]] - mesh.vertices[edges[:, 1]], axis=1).mean())
        self.unit = max(length, 1e-12)
        self.fixed = torch.from_numpy(around.vertices)
        self.normals = torch.from_numpy(around.normals)
        self.photos = torch.from_numpy(around.photos[..., :3]).permute(0, 3, 1, 2)
        self.projections = torch.from_numpy(around.projections).float()
        self.centers = torch.from_numpy(around.centers).float()
        self.colors = torch.from_numpy(around.colors).float() / 255
        self.trust = torch.from_numpy(around.trust).float() / 255
        self.offset = torch.zeros(self.count, requires_grad=True)
        self.optimizer = torch.optim.Adam([self.offset], lr=options.learning_rate, betas=(0.9, 0.99))
        self.typical = 0.0
        """Running mean of a step's gradient, as a root mean square."""
        size = (int(around.photos.shape[2]), int(around.photos.shape[1]))
        self.masks = [None if m is None else cv2.resize(m.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0 for m in masks]
        # A photo is predicted from the others.
        self.chosen = [baked.chosen(baked.cameras, k, [k]) for k in range(len(baked.names))]

    def rate(self, factor: float) -> None:
        self.optimizer.param_groups[0]["lr"] = self.options.learning_rate * factor

    def moved(self) -> Float[Tensor, "v 3"]:
        """All vertices, those of the mesh along their normals."""
        shift = self.normals[: self.count] * (self.offset * self.unit)[:, None]
        return torch.cat([self.fixed[: self.count] + shift, self.fixed[self.count :]])

    @torch.no_grad()
    def refresh(self) -> None:
        around, vertices = self.baked.around, self.moved().numpy()
        size = (int(around.photos.shape[2]), int(around.photos.shape[1]))
        rasters = [rasterize(vertices @ p[:, :3].T.astype(np.float32) + p[:, 3].astype(np.float32), around.faces, size, around.layers) for p in around.projections]
        self.depths = torch.from_numpy(np.stack([r.depth for r in rasters]))
        self.face = [r.face for r in rasters]
        for face, mask in zip(self.face, self.masks, strict=False):
            if mask is not None:
                face[~mask] = -1

    def step(self) -> float:
        """One photo, some of its pixels."""
        around = self.baked.around
        photo = int(self.random.integers(len(self.face)))
        shown = np.flatnonzero(self.face[photo] >= 0)
        if len(shown) == 0:
            return 0.0
        pick = self.random.choice(shown, min(self.options.rays, len(shown)), replace=False)
        width = around.photos.shape[2]
        number = torch.from_numpy(self.face[photo].reshape(-1)[pick].astype(np.int64))
        pixels = torch.from_numpy(np.stack([pick % width + 0.5, pick // width + 0.5], axis=1)).float()
        corners = torch.from_numpy(around.faces)[number].long()
        vertices = self.moved()
        weights = self._barycentric(vertices, corners, pixels, photo)
        point = (vertices[corners] * weights[..., None]).sum(1)
        predicted = self._blended(point, corners, weights.detach(), number, photo)
        truth = self.photos[photo].reshape(3, -1)[:, torch.from_numpy(pick)].T.float() / 255
        # Huber: outlines and highlights must not pull.
        loss = F.smooth_l1_loss(predicted, truth, beta=0.05) + self.options.stiffness * (self.offset[self.edges[:, 0]] - self.offset[self.edges[:, 1]]).square().mean() * 0.01
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        assert self.offset.grad is not None
        size = float(self.offset.grad.square().mean().sqrt())
        self.typical = 0.95 * self.typical + 0.05 * size if self.typical else size
        self.optimizer.param_groups[0]["eps"] = max(self.options.damping * self.typical, 1e-12)
        self.optimizer.step()
        return float((predicted.detach() - truth).square().mean())

    def _barycentric(self, vertices: Tensor, corners: Int[Tensor, "r 3"], pixels: Float[Tensor, "r 2"], photo: int) -> Float[Tensor, "r 3"]:
        """Where rays meet the planes of their triangles; differentiable by the corners."""
        m = self.projections[photo]
        p = vertices[corners] @ m[:, :3].T + m[:, 3]
        a, b, c = p.unbind(1)
        q = torch.cat([pixels, torch.ones_like(pixels[:, :1])], dim=1)
        w = torch.stack([(torch.cross(b, c, dim=1) * q).sum(1), (torch.cross(c, a, dim=1) * q).sum(1), (torch.cross(a, b, dim=1) * q).sum(1)], dim=1)
        total = w.sum(1, keepdim=True)
        return (w / torch.where(total.abs() < 1e-20, torch.full_like(total, -1e-20), total)).clamp(-1, 2)

    def _blended(self, point: Float[Tensor, "r 3"], corners: Tensor, weights: Tensor, number: Tensor, photo: int) -> Float[Tensor, "r 3"]:
        """What `kernels.realtime.blending` says, with gradients for points."""
        height, width = self.photos.shape[2:]
        normal = F.normalize((self.normals[corners] * weights[..., None]).sum(1), dim=1)
        ray = F.normalize(point.detach() - self.centers[photo], dim=1)
        lining = number >= self.front
        total = torch.full((len(number),), self.baked.how.floor)
        color = total[:, None] * (self.colors[corners] * weights[..., None]).sum(1)
        chosen, importance = self.chosen[photo]
        for k, important in zip(chosen.tolist(), importance.tolist(), strict=True):
            local = point @ self.projections[k, :, :3].T + self.projections[k, :, 3]
            z = local[:, 2]
            xy = local[:, :2] / torch.where(z > 0, z, torch.ones_like(z))[:, None]
            with torch.no_grad():
                x, y = xy.unbind(1)
                inside = (z > 0) & (x > 0) & (x < width) & (y > 0) & (y < height)
                i, j = y.clamp(0, height - 0.5).long(), x.clamp(0, width - 0.5).long()
                behind = z / self.depths[k, i, j] - 1
                visible = ((2 * TOLERANCE - behind) / TOLERANCE).clamp(0, 1)
                edge = (torch.minimum(torch.minimum(x, width - x), torch.minimum(y, height - y)) / (BORDER * max(height, width))).clamp(0, 1)
                toward = F.normalize(self.centers[k] - point, dim=1)
                cosine = (normal * toward).sum(1).clamp(LEAST_COSINE, 1)
                view = important * cosine * torch.exp(-self.baked.how.sharpness * (1 + (toward * ray).sum(1)))
                view = torch.where(z > 0, view, 0)
            trusted = (self.trust[:, k][corners] * weights).sum(1)
            own = torch.where(inside, trusted * visible * edge, 0)
            weight = view * torch.where(lining, own.clamp(min=self.baked.how.floor), own)
            grid = (2 * xy / torch.tensor([width, height]) - 1)[None, None]
            sample = F.grid_sample(self.photos[k][None].float() / 255, grid, mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T
            color = color + weight[:, None] * sample
            total = total + weight
        return color / total[:, None]

    def result(self) -> Baked:
        with torch.no_grad():
            self.refresh()
            vertices = self.moved().numpy()
        faces = self.baked.around.faces
        asset = replace(self.baked.asset, mesh=Triangles(vertices[: self.count].astype(np.float64) + self.baked.origin, self.baked.asset.mesh.faces))
        normals = Triangles(vertices.astype(np.float64), faces.astype(np.int64)).vertex_normals.astype(np.float32)
        around = replace(self.baked.around, vertices=vertices, normals=normals, depths=self.depths.numpy())
        return replace(self.baked, asset=asset, around=around)
