"""The hash-grid engine as a victim: trained anew on the photos, by their files; no gradient reaches them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attacks.case import Case, Target
from attacks.victims.files import written
from attacks.victims.protocol import Look, Seen
from data.points import with_points
from data.progress import drained
from recon.fields import RadianceField, pixel_rays
from recon.hashgrid.training import HashGridTrainer
from recon.options import ReconstructOptions
from recon.pictures import Picture, render_picture
from recon.surface.depth import consistent
from recon.surface.stereo import sweep_depths, sweep_ranges


@dataclass
class HashGridVictim:
    """Stereo, then training at draft quality: what `lumigraph reconstruct --engine hashgrid --quality draft` does before it meshes."""

    where: torch.device
    steps: int | None = None
    """Training steps; the draft's own number if not given."""
    seed: int = 0
    gradients: bool = False
    name: str = "hashgrid"

    @property
    def device(self) -> torch.device:
        return self.where

    @torch.enable_grad()  # training needs gradients, whatever the caller does with the look
    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> "FieldLook":
        """See `protocol.Victim.look`; ``like`` and ``colors`` mean nothing to a field that is trained."""
        options = ReconstructOptions(engine="hashgrid", quality="draft", steps=self.steps, seed=self.seed).resolved(len(case))
        with tempfile.TemporaryDirectory(prefix="lumigraph-victim-") as folder:
            scene = written(case, images, Path(folder))
            scene = scene if scene.points is not None or scene.mask_meaning == "object" else with_points(scene)
            maps = consistent(drained(sweep_depths(scene, options.surface.depth_side, sweep_ranges(scene))))
            trainer = HashGridTrainer(scene, options.hashgrid, self.where, maps)
            for _ in trainer.train():
                pass
        field = trainer.radiance_field()
        return FieldLook(field, field.near)


@dataclass
class FieldLook:
    """Any `RadianceField` behind the protocol."""

    field: RadianceField
    near: float = 0.0

    def trace(self, target: Target, pixels: Tensor, anchor: Any = None) -> Seen:
        """See `protocol.Look.trace`; without gradients."""
        at = pixels.to(self.field.device).float() + 0.5
        ones = torch.ones(len(at), device=at.device)
        rays = self.field.render(pixel_rays(target.camera, torch.zeros(len(at), dtype=torch.long, device=at.device), at, self.near * ones, ones * torch.inf))
        background = self.field.empty_background
        where = torch.where(rays.depth > 0, rays.depth, rays.depth.max() if background is None else torch.zeros_like(rays.depth))
        return Seen(rays.rgb, where, rays.opacity)

    @torch.no_grad()
    def picture(self, target: Target) -> Picture:
        """See `protocol.Look.picture`."""
        picture = render_picture(self.field, target.camera, 0, self.near)
        return Picture(picture.rgb.cpu(), picture.depth.cpu(), picture.opacity.cpu(), picture.seen.cpu())


@dataclass
class FieldVictim:
    """Any `RadianceField` conditioned on images, through a function from photos and cameras to a field.

    If the field's ``render`` keeps the graph (as `recon.general.engine.GeneralField` does), gradients reach the photos.
    """

    condition: Any
    """Function of a list of photos [3, h, w] and `Cameras`."""
    where: torch.device
    gradients: bool = True
    name: str = "field"

    @property
    def device(self) -> torch.device:
        return self.where

    def look(self, case: Case, images: Float[Tensor, "s 3 h w"], like: Look | None = None, colors: Float[Tensor, "s 3 h w"] | None = None) -> FieldLook:
        """See `protocol.Victim.look`."""
        return FieldLook(self.condition(case.pieces(images), case.cameras))
