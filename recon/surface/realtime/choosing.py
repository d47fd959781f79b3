"""The renderer that is fastest on a machine."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import UInt8
from numpy import ndarray

from data.cameras import Cameras
from recon.surface.realtime import software
from recon.surface.realtime.baked import Baked


@runtime_checkable
class Renderer(Protocol):
    """What shows a `Baked`."""

    device: str

    def render(
        self, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
    ) -> UInt8[ndarray, "h w 3"]:
        """The picture of a pinhole camera, without some of the photos."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class SoftwareRenderer:
    """Compiled code alone."""

    device = "CPU"

    def __init__(self, baked: Baked) -> None:
        self.baked = baked

    def render(
        self, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
    ) -> UInt8[ndarray, "h w 3"]:
        """See `software.render`."""
        return software.render(self.baked, cameras, view, background, without)

    def close(self) -> None:
        """Nothing to give back."""


def open_renderer(baked: Baked, device: str = "auto") -> Renderer:
    """CUDA where there is a GPU for it; else OpenGL where a graphics card computes it; else compiled code, which is faster than an
    OpenGL that runs on the CPU too."""
    if device != "cpu":
        if torch.cuda.is_available():
            from recon.surface.realtime.gpu import CudaRenderer

            return CudaRenderer(baked)
        from recon.surface.realtime.opengl import OpenGLRenderer, Unavailable

        try:
            card = OpenGLRenderer(baked)
        except Unavailable:
            return SoftwareRenderer(baked)
        if not any(word in card.device.lower() for word in ("llvmpipe", "softpipe", "swiftshader")):
            return card
        card.close()
    return SoftwareRenderer(baked)
