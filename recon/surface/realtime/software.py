"""Pictures of a `Baked` by compiled code alone: what every machine can do, and what the other renderers are held to."""

from collections.abc import Sequence

from jaxtyping import UInt8
from numpy import ndarray

from data.cameras import Cameras
from kernels.realtime import blend, rasterize
from recon.surface.realtime.baked import Baked


def render(
    baked: Baked, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
) -> UInt8[ndarray, "h w 3"]:
    """The picture of a pinhole camera.

    Args:
        without: photos that must not be used.
    """
    width, height = (int(v) for v in cameras.sizes[view])
    corners = baked.corners(cameras, view)
    raster = rasterize(corners, baked.around.faces, (width, height), baked.around.layers)
    chosen, importance = baked.chosen(cameras, view, without)
    return blend(baked.around, raster, corners, cameras.centers[view] - baked.origin, chosen, importance, baked.how, background)
