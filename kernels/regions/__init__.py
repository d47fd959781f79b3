"""Pictures to regions: pixels that belong together by how strong the borders between them are (`growing`), and sums over them (`adding`)."""

from kernels.regions.adding import totals, totals_reference
from kernels.regions.growing import flood, flood_reference, grow, grow_reference

__all__ = ["flood", "flood_reference", "grow", "grow_reference", "totals", "totals_reference"]
