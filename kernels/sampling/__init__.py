"""Where along its rays a field is worth evaluating, judged from a coarse grid of its density."""

from kernels.sampling.grid import contract, uncontract, unit_coordinates
from kernels.sampling.sampling import PackedSamples, Spacing, occupied_bits, sample_rays, sample_rays_reference

__all__ = ["PackedSamples", "Spacing", "contract", "occupied_bits", "sample_rays", "sample_rays_reference", "uncontract", "unit_coordinates"]
