"""A trained hash-grid field as the `RadianceField` that the rest of the product speaks to."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from data.errors import InputError
from data.files import write_json
from kernels.compositing import accumulate, render_weights
from kernels.cores import each_on_a_core
from kernels.networks.cpu import TILE, FieldTile
from kernels.sampling import PackedSamples, Spacing, sample_rays
from kernels.sampling.cpu import unit_points
from recon.fields import Rays, RenderedRays
from recon.frame import Frame
from recon.hashgrid.field import HashGridField, spherical_harmonics
from recon.hashgrid.options import FieldOptions

FORMAT_VERSION = 1


@dataclass
class HashGridRadianceField:
    """Field + frame + occupancy: all that is needed to render a scene."""

    field: HashGridField
    frame: Frame
    guide: Float[Tensor, "side side side"]
    """Coarse density that says where to sample; zero in empty cells."""
    spacing: Spacing
    subject_box: Float[np.ndarray, "2 3"]
    near: float = 0.0
    """Distance from a camera at which its rays start, scene units; what is nearer was never seen well."""
    background: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """Colour behind transparent scenes."""
    chunk_samples: int = 400_000

    @property
    def device(self) -> torch.device:
        return self.field.table.device

    @property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        return self.subject_box

    @property
    def empty_background(self) -> tuple[float, float, float] | None:
        """Colour that photos must be composited on to be comparable, or None where the background belongs to the scene."""
        return self.background if self.field.transparent else None

    @torch.no_grad()
    def density(self, points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
        """Extinction per scene unit; zero outside the cube of a scene that ends there."""
        normalised = self.frame.normalise(points.to(self.device))
        parts = [self.field.density(p) for p in normalised.split(262_144)]
        density = torch.cat(parts) / self.frame.radius
        if not self.frame.contracted:
            density = density * (normalised.abs().amax(-1) <= 1)
        return density.to(points.device)

    @torch.no_grad()
    def render(self, rays: Rays, color: bool = True) -> RenderedRays:
        """Render in pieces of about ``chunk_samples`` samples; without ``color``, depth and opacity alone (rgb is zero)."""
        parts, start, size = [], 0, 8192
        while start < len(rays):
            piece = rays[start : start + size].to(self.device)
            rendered, samples = self._render_piece(piece, color)
            parts.append(rendered.cpu())
            start += size
            size = int(min(max(self.chunk_samples / max(samples / len(piece), 1.0), 2048), 65_536))
        return RenderedRays.join(parts)

    def _render_piece(self, rays: Rays, color: bool) -> tuple[RenderedRays, int]:
        origins, directions, near, far = self.frame.rays(rays)
        half = torch.full_like(near, 0.5)
        samples = sample_rays(origins, directions, near, far, half, self.guide, self.spacing)
        index = samples.ray_indices
        if self.field.table.device.type == "cpu" and self.field.usual:
            return self._render_tiled(origins, directions, samples, color), len(samples.positions)
        density, geometry = self.field.geometry(origins[index] + samples.positions[:, None] * directions[index])
        weights = render_weights(density * samples.lengths, samples.ray_offsets)
        opacity = accumulate(weights, torch.ones_like(weights)[:, None], index, len(rays))[:, 0]
        depth = median_depth(weights, samples, opacity) * self.frame.radius
        if not color:
            return RenderedRays(torch.zeros_like(directions), depth, opacity.clamp(0, 1), torch.ones_like(depth)), len(weights)
        # Most samples are hidden or empty: only those that show are worth a colour.
        shown = weights > 1e-3
        rows = index[shown]
        encoded = spherical_harmonics(directions)
        rgb = accumulate(weights[shown], self.field.color(geometry[shown], encoded[rows]), rows, len(rays))
        behind = torch.tensor(self.background, device=rgb.device) if self.field.transparent else self.field.background(encoded)
        rgb = rgb + (1 - opacity)[:, None] * behind
        return RenderedRays(rgb.clamp(0, 1), depth, opacity.clamp(0, 1), torch.ones_like(depth)), len(weights)

    def _render_tiled(self, origins: Tensor, directions: Tensor, samples: PackedSamples, color: bool) -> RenderedRays:
        """The same on a CPU: each core takes tiles of samples through encoding and networks."""
        index, rays, n = samples.ray_indices, len(origins), len(samples.positions)
        field, points, encoded = self.field, torch.empty(3, n), spherical_harmonics(directions)
        unit_points(origins.numpy(), directions.numpy(), samples.positions.numpy(), index.numpy(), field.contracted, points.numpy())
        tile = FieldTile(field.table, field.layout, field.options.density_bias, field.network_parameters)
        half, density, rgb = encoded.to(torch.bfloat16), torch.empty(n), torch.zeros(n, 3)
        geometry = torch.empty(n, 16, dtype=torch.bfloat16)

        def look(part: slice) -> None:
            density[part], (_, geometry[part], _) = tile.density(points, part)

        def paint(chosen: Tensor) -> None:
            rgb[chosen] = tile.color(geometry[chosen], half, index[chosen])[0]

        each_on_a_core([slice(start, min(start + TILE, n)) for start in range(0, n, TILE)], look)
        weights = render_weights(density * samples.lengths, samples.ray_offsets)
        if color:  # most samples are hidden or empty
            each_on_a_core(torch.nonzero(weights > 1e-3)[:, 0].split(TILE), paint)
        values = torch.cat([rgb, torch.ones(n, 1)], dim=1) if color else torch.ones(n, 1)
        sums = accumulate(weights, values, index, rays)
        opacity = sums[:, -1]
        depth = median_depth(weights, samples, opacity) * self.frame.radius
        if not color:
            return RenderedRays(torch.zeros(rays, 3), depth, opacity.clamp(0, 1), torch.ones(rays))
        behind = torch.tensor(self.background) if field.transparent else field.background(encoded)
        out = sums[:, :3] + (1 - opacity)[:, None] * behind
        return RenderedRays(out.clamp(0, 1), depth, opacity.clamp(0, 1), torch.ones(rays))

    def save(self, folder: Path) -> None:
        """Write `field.safetensors` and `field.json`."""
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.field.state_dict().items()}
        tensors["guide"] = self.guide.cpu().contiguous()
        partial = folder / ".field.safetensors.part"
        save_file(tensors, partial)
        partial.replace(folder / "field.safetensors")
        write_json(folder / "field.json", {
            "format": "lumigraph hashgrid field", "version": FORMAT_VERSION, "field": asdict(self.field.options),
            "contracted": self.field.contracted, "transparent": self.field.transparent, "views": len(self.field.log_gains),
            "frame": asdict(self.frame), "spacing": asdict(self.spacing), "subject_box": self.subject_box.tolist(),
            "near": self.near, "background": list(self.background),
        })  # fmt: skip

    @classmethod
    def load(cls, folder: Path, device: torch.device | str = "cpu") -> "HashGridRadianceField":
        """Read what `save` wrote.

        Raises:
            InputError: there is no field, or one of another version.
        """
        from safetensors.torch import load_file

        try:
            meta = json.loads((folder / "field.json").read_text())
            tensors = load_file(folder / "field.safetensors")
        except (OSError, ValueError) as error:
            raise InputError(f"'{folder}' holds no field that can be read ({error}). Run `lumigraph reconstruct` again.") from None
        if meta.get("version") != FORMAT_VERSION:
            raise InputError(f"The field in '{folder}' has version {meta.get('version')}, not {FORMAT_VERSION}. Reconstruct it again.")
        field = HashGridField(FieldOptions(**meta["field"]), meta["contracted"], meta["views"], meta["transparent"])
        guide = tensors.pop("guide")
        tensors["table"] = field.layout.aligned(tensors["table"])
        field.load_state_dict(tensors)
        frame = Frame(tuple(meta["frame"]["center"]), meta["frame"]["radius"], meta["frame"]["contracted"])
        return cls(
            field.to(device).eval(), frame, guide.to(device), Spacing(**meta["spacing"]),
            np.array(meta["subject_box"]), float(meta["near"]), tuple(meta["background"]),
        )  # fmt: skip


def median_depth(
    weights: Float[Tensor, "samples"], samples: PackedSamples, opacity: Float[Tensor, "rays"]
) -> Float[Tensor, "rays"]:
    """Distance at which a ray's weights reach half of their sum; 0 where the opacity stays below one half.

    The crossing is interpolated inside its interval: surfaces would otherwise come in steps.
    """
    if weights.device.type == "cpu":
        from kernels.compositing.cpu import median_positions

        depth = torch.empty_like(opacity)
        median_positions(
            weights.numpy(), samples.positions.numpy(), samples.lengths.numpy(), samples.ray_offsets.numpy(), opacity.contiguous().numpy(), depth.numpy()
        )
        return depth
    total = torch.cat([weights.new_zeros(1, dtype=torch.float64), weights.double().cumsum(0)])
    index = samples.ray_indices
    start = total[samples.ray_offsets[:-1]]
    target = 0.5 * opacity.double()
    before = (total[:-1] - start[index]).float()
    after = (total[1:] - start[index]).float()
    crossing = (before < target[index].float()) & (after >= target[index].float())
    fraction = (target[index].float() - before) / (after - before).clamp(min=1e-8)
    value = samples.positions + (fraction.clamp(0, 1) - 0.5) * samples.lengths
    depth = torch.zeros_like(opacity)
    depth[index[crossing]] = value[crossing]
    return torch.where(opacity > 0.5, depth, torch.zeros_like(depth))
