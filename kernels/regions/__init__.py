"""Pictures to regions: pixels that belong together by how strong the borders between them are (`growing`)."""

from kernels.regions.growing import flood, flood_reference, grow, grow_reference

__all__ = ["flood", "flood_reference", "grow", "grow_reference"]
