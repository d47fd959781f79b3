"""`lift`: any 2D prediction of the photos becomes one of the scene, with no training (predict-then-blend; Omni-Recon, Fu et al. 2024).

What the photos' predictions say is blended as their colours are: along a ray with the weights that the field blends colours with, at a point of the
surface with what each photo sees of it. Photos before whose surface something else stands have no say. The blend is taken once, at the surface that
the ray meets: labels jump where things end, and a mean along the ray would mix the thing with what stands behind it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from data.cameras import Cameras
from recon.depthviews import BORDER, TOLERANCE
from recon.fields import RadianceField, Rays, image_rays
from recon.general.engine import GeneralField
from recon.general.marching import to_distance
from recon.surface.triangles import Triangles
from recon.understanding.prediction import Predictions, checked

ALONE = 1e-3
"""Support of what is known without having been seen there: by the colour weights alone, or by its direction."""
FARTHEST = 0.95
"""Of a photo's largest depth: from there on it shows what is as far as can be told."""


@dataclass(frozen=True)
class Lifted:
    """What the photos together say at p places."""

    values: Float[Tensor, "p c"]
    """Blended; scores sum to one, features and normals have unit length (normals: world axes). 0 where no photo sees the place."""
    support: Float[Tensor, "p"]
    """How many photos, weighed by how well they see it, had a say; 0: none."""
    agreement: Float[Tensor, "p"]
    """How far the photos agree, 0 to 1: one minus the mean total variation from the blend for scores, mean cosine for features and normals, one minus
    the mean absolute difference for heat. 1 where only one photo sees the place."""
    uncertainty: Float[Tensor, "p"]
    """Entropy of scores relative to the largest there is; one minus the length of the mean vector; standard deviation of heat. 0 to 1."""

    @classmethod
    def join(cls, parts: list["Lifted"]) -> "Lifted":
        return cls(*(torch.cat([getattr(p, name) for p in parts]) for name in cls.__dataclass_fields__))

    @property
    def labels(self) -> Tensor:
        """The likeliest label of each place; -1 where no photo sees it."""
        return torch.where(self.support > 0, self.values.argmax(1), torch.full_like(self.support, -1, dtype=torch.long))


@dataclass(frozen=True)
class LiftedField:
    """Predictions as a property of the scene."""

    predictions: Predictions
    cameras: Cameras
    """Of the photos."""
    depth: tuple[Float[Tensor, "_ _"], ...]
    """Of each photo, along its axis, scene units; 0 where unknown. Any size."""
    field: RadianceField | None = None
    """What rays are traced through."""

    def at(self, points: Float[Tensor, "p 3"], normals: Float[Tensor, "p 3"] | None = None) -> Lifted:
        """What the photos say at points of the surface, world coordinates.

        Args:
            normals: of the surface there, so that photos that see it from the front have more say.
        """
        return Lifted.join([self._at(p, n) for p, n in zip(points.split(65536), (normals.split(65536) if normals is not None else [None] * len(points)))])

    def on_mesh(self, mesh: Triangles) -> Lifted:
        """What they say at the vertices of a mesh; vertices that no photo sees take what the nearest seen ones have, with support 0."""
        out = self.at(torch.from_numpy(mesh.vertices), torch.from_numpy(mesh.vertex_normals))
        return filled(out, mesh.vertices)

    def render(self, rays: Rays) -> Lifted:
        """What they say where rays meet the scene. A `GeneralField` blends with its colour weights; others by visibility.

        Rays that meet nothing take what the photos show in their direction as far away as can be, the sky for instance, with hardly any support; 0 if no
        photo shows it.
        """
        if self.field is None:
            raise ValueError("this lifted field has no field to trace rays through")
        if isinstance(self.field, GeneralField):
            return self._traced(self.field, rays)
        met = self.field.render(rays, color=False)
        origins, directions = rays.origins.cpu().double(), rays.directions.cpu().double()
        there = (met.depth > 0) & (met.opacity > 0.5)
        out = self.at(origins + directions * met.depth[:, None])
        if there.all():
            return out
        ways, pixels = zip(*(self.behind(i, directions) for i in range(len(self.cameras))))
        return _either(there, out, self._blended(torch.stack(ways, dim=1), torch.stack(pixels, dim=1)))

    def render_view(self, cameras: Cameras, view: int) -> Lifted:
        """Of every pixel of a camera, row by row."""
        near = 0.0 if self.field is None else self.field.near
        device = "cpu" if self.field is None else self.field.device
        return self.render(image_rays(cameras, view, near, device=device))

    # --- inside ------------------------------------------------------------------------------------------------------

    def _at(self, points: Tensor, normals: Tensor | None) -> Lifted:
        weights, pixels = zip(*(self.seen(i, points.double(), normals) for i in range(len(self.cameras))))
        return self._blended(torch.stack(weights, dim=1), torch.stack(pixels, dim=1))

    def seen(self, view: int, points: Tensor, normals: Tensor | None) -> tuple[Tensor, Tensor]:
        """How well a photo sees points, and where in it they are (-1 to 1)."""
        depth = self.depth[view]
        projection = torch.from_numpy(self.cameras.projections[view]).to(points)
        local = points @ projection[:, :3].T + projection[:, 3]
        z = local[:, 2]
        size = torch.from_numpy(self.cameras.sizes[view].astype(np.float64)).to(points)
        pixel = local[:, :2] / z.clamp(min=1e-9)[:, None]
        grid = (pixel / size * 2 - 1).float().clamp(-2, 2)
        there = F.grid_sample(depth[None, None].to(grid), grid[None, None], mode="nearest", padding_mode="zeros", align_corners=False)[0, 0, 0]
        off = (z - there).abs().float() / z.clamp(min=1e-9).float()
        edge = torch.minimum(pixel, size - pixel).amin(1).float() / (BORDER * float(size.max()) / 640)
        weight = ((2 * TOLERANCE - off) / TOLERANCE).clamp(0, 1) * edge.clamp(0, 1)
        weight = torch.where((z > 0) & (there > 0), weight, torch.zeros_like(weight))
        if normals is not None:
            to_eye = torch.from_numpy(self.cameras.centers[view]).to(points) - points
            cosine = (F.normalize(to_eye, dim=1) * normals.to(points)).sum(1).float()
            weight = weight * cosine.clamp(0.03, 1) ** 2
        return weight, grid

    def behind(self, view: int, directions: Float[Tensor, "p 3"]) -> tuple[Tensor, Tensor]:
        """The same for what is infinitely far in some directions: seen where nothing stands before it, or what stands there is as far as the photo's depth reaches."""
        depth = self.depth[view]
        local = directions @ torch.from_numpy(self.cameras.projections[view][:, :3]).to(directions).T
        size = torch.from_numpy(self.cameras.sizes[view].astype(np.float64)).to(directions)
        pixel = local[:, :2] / local[:, 2:].clamp(min=1e-9)
        grid = (pixel / size * 2 - 1).float().clamp(-2, 2)
        there = F.grid_sample(depth[None, None].to(grid), grid[None, None], mode="nearest", padding_mode="zeros", align_corners=False)[0, 0, 0]
        inside = (local[:, 2] > 0) & (grid.abs() < 1).all(1)
        return ALONE * (inside & ((there == 0) | (there > FARTHEST * depth.max()))).float(), grid

    def _traced(self, field: GeneralField, rays: Rays) -> Lifted:
        rays = rays.to(field.device)
        parts, order = [], []
        for index, views in field._groups(rays):
            near, far = field._range(rays[index])
            for piece in zip(index.split(32768), near.split(32768), far.split(32768)):
                some = rays[piece[0]]
                with torch.no_grad():
                    traced = field.trace(some, views, piece[1], piece[2])
                distance = to_distance(traced.coordinate[:, None], piece[1][:, None], piece[2][:, None]).double() * field.scale
                points = some.origins.double() + some.directions.double() * distance
                blend = (traced.weights[..., None] * traced.blend)[:, :-1].sum(1).float()
                seen, pixels = zip(*(self.seen(int(v), points, None) for v in views))
                visible = torch.stack(seen, dim=1)
                weight = blend * visible
                # Where no photo's own surface is there, the colour weights decide alone, but hardly count.
                alone = weight.sum(1, keepdim=True) < ALONE
                weight = torch.where(alone, ALONE * blend, weight)
                grid, nothing = torch.stack(pixels, dim=1), traced.opacity <= 0.5
                if nothing.any():
                    ways, far_pixels = zip(*(self.behind(int(v), some.directions[nothing].double()) for v in views))
                    weight[nothing], grid[nothing] = torch.stack(ways, dim=1).to(weight), torch.stack(far_pixels, dim=1)
                parts.append(self._blended(weight.to(self.predictions.maps[0]), grid, [int(v) for v in views]))
                order.append(piece[0])
        joined, everything = Lifted.join(parts), torch.cat(order).cpu()
        back = torch.empty_like(everything)
        back[everything] = torch.arange(len(rays))
        return Lifted(*(getattr(joined, name)[back.to(joined.values.device)] for name in Lifted.__dataclass_fields__))

    def _blended(self, weights: Float[Tensor, "p v"], grid: Float[Tensor, "p v 2"], views: list[int] | None = None) -> Lifted:
        """Blend what the views say; kept small by going through the views twice, not holding all values at once."""
        views = list(range(len(self.predictions))) if views is None else views
        kind, total = self.predictions.kind, weights.sum(1)
        share = weights / total.clamp(min=1e-9)[:, None]

        def said(k: int, some: Tensor) -> Tensor:
            m = self.predictions.maps[views[k]]
            value = F.grid_sample(m[None].float(), grid[some, k][None, None].to(m.device).float(), mode="bilinear", padding_mode="border", align_corners=False)[0, :, 0].T
            if kind == "normals":
                turn = torch.from_numpy(self.cameras.camera_to_world[views[k], :3, :3]).to(value)
                value = F.normalize(value, dim=1) @ turn.T
            return F.normalize(value, dim=1) if kind == "features" else value

        values = torch.zeros(len(weights), self.predictions.channels, device=weights.device)
        for k in range(len(views)):
            some = share[:, k] > 0
            if some.any():
                values[some] += share[some, k, None] * said(k, some)
        length = values.norm(dim=1)
        mean = values if kind in ("scores", "heat") else F.normalize(values, dim=1)
        agreement, spread = torch.zeros_like(total), torch.zeros_like(total)
        for k in range(len(views)):
            some = share[:, k] > 0
            if not some.any():
                continue
            value = said(k, some)
            if kind == "scores":
                alike = 1 - 0.5 * (value - mean[some]).abs().sum(1)
            elif kind == "heat":
                alike = 1 - (value - mean[some]).abs().mean(1)
                spread[some] += share[some, k] * (value - mean[some]).square().mean(1)
            else:
                alike = (value * mean[some]).sum(1)
            agreement[some] += share[some, k] * alike
        if kind == "scores":
            p = mean.clamp(min=1e-9)
            uncertainty = -(p * p.log()).sum(1) / float(np.log(max(p.shape[1], 2)))
        elif kind == "heat":
            uncertainty = spread.sqrt()
        else:
            uncertainty = 1 - length
        known = total > 0
        zero = torch.zeros_like(total)
        return Lifted(mean * known[:, None], total, torch.where(known, agreement, zero), torch.where(known, uncertainty.clamp(0, 1), zero + 1))


def lift(predictions: Predictions, field: RadianceField | None, cameras: Cameras | None = None, depth: tuple[Tensor, ...] | None = None) -> LiftedField:
    """Predictions of photos as a property of the scene.

    Args:
        field: what was made of the photos. A `GeneralField` knows their cameras and depth.
        cameras: of the photos, where the field is another.
        depth: of the photos, along their axes; likewise.

    Raises:
        InputError: the predictions are not those of the photos.
    """
    if isinstance(field, GeneralField) and cameras is None:
        cameras = field.cameras
        depth = tuple(torch.from_numpy(field.depth(i)[0].copy()) for i in range(len(cameras))) if depth is None else depth
    if cameras is None or depth is None:
        raise ValueError("give the photos' cameras and depth, or a general field")
    return LiftedField(checked(predictions, cameras), cameras, depth, field)


def rendered_first(predict: Callable[[Float[Tensor, "1 3 h w"]], Predictions], field: RadianceField, cameras: Cameras, view: int) -> Predictions:
    """The other strategy, render-then-predict, to compare with: the view is rendered, and the method asked about the rendering.

    What it says of two views is not made one; labels without names share no numbers.
    """
    width, height = (int(v) for v in cameras.sizes[view])
    rgb = field.render(image_rays(cameras, view, field.near, device=field.device)).rgb
    return predict(rgb.view(height, width, 3).permute(2, 0, 1)[None])


def filled(lifted: Lifted, places: Float[np.ndarray, "p 3"]) -> Lifted:
    """Places that no photo sees take the values of the nearest that one does."""
    from scipy.spatial import cKDTree

    known = lifted.support.cpu().numpy() > 0
    if known.all() or not known.any():
        return lifted
    rows = np.flatnonzero(known)[cKDTree(places[known]).query(places[~known])[1]]
    values = lifted.values.clone()
    values[torch.from_numpy(~known)] = values[torch.from_numpy(rows)]
    return Lifted(values, lifted.support, lifted.agreement, lifted.uncertainty)


def _either(first: Tensor, one: Lifted, other: Lifted) -> Lifted:
    """Rows of one where ``first``, of the other elsewhere."""
    return Lifted(torch.where(first[:, None], one.values, other.values), *(torch.where(first, getattr(one, n), getattr(other, n)) for n in ("support", "agreement", "uncertainty")))
