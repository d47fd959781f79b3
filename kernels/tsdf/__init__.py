"""Truncated signed distances of blocks of voxels, from depth pictures (Curless & Levoy 1996)."""

from kernels.tsdf.tsdf import SIDE, carve, carve_reference, integrate, integrate_reference

__all__ = ["SIDE", "carve", "carve_reference", "integrate", "integrate_reference"]
