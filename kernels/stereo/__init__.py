"""Regularising a volume of matching costs along paths through the picture."""

from kernels.stereo.semiglobal import aggregate, aggregate_reference

__all__ = ["aggregate", "aggregate_reference"]
