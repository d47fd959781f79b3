"""A mesh on the screen: triangles to pixels, and every pixel's colour blended from photos."""

from kernels.realtime.blending import Blend, Surroundings, blend, blend_reference
from kernels.realtime.rasterizing import Raster, rasterize, rasterize_reference

__all__ = ["Blend", "Raster", "Surroundings", "blend", "blend_reference", "rasterize", "rasterize_reference"]
