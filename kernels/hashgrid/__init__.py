"""Multi-resolution hash encoding (Müller et al. 2022, "Instant Neural Graphics Primitives")."""

from kernels.hashgrid.encoding import available_backends, encode
from kernels.hashgrid.layout import HashGridLayout

__all__ = ["HashGridLayout", "available_backends", "encode"]
