"""Plane sweeping: how well features of other views match those of a reference view, at hypothetical depths.

`correlate` is the entry; `reference` is the plain twin, `cuda` (Triton) and `cpu` (numba) are the fast ones.
"""

from kernels.planesweep.sweep import correlate, correlate_mean

__all__ = ["correlate", "correlate_mean"]
