"""Samples along rays, only where an occupancy grid says that something may be."""

from kernels.marching.marching import PackedSamples, Spacing, march

__all__ = ["PackedSamples", "Spacing", "march"]
