"""Weighted mean and variance over the source views: what the branches do most often to their largest tensors.

`pooled` is the entry; `reference` is the plain twin, `cuda` (Triton) reads each number once forwards and once backwards.
"""

from kernels.pooling.pooling import pooled

__all__ = ["pooled"]
