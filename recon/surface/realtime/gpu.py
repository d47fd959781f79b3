"""Pictures of a `Baked` by CUDA."""

from collections.abc import Sequence

import torch
from jaxtyping import UInt8
from numpy import ndarray

from data.cameras import Cameras
from kernels.realtime.cuda import Resident
from recon.surface.realtime.baked import Baked


class CudaRenderer:
    """A `Baked` in a GPU's memory."""

    def __init__(self, baked: Baked, device: torch.device | str = "cuda") -> None:
        self.baked = baked
        self._resident = Resident(baked.around, baked.how, torch.device(device))
        self.device = torch.cuda.get_device_name(torch.device(device))

    def close(self) -> None:
        """Give the memory back."""
        del self._resident

    def render(
        self, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
    ) -> UInt8[ndarray, "h w 3"]:
        """The picture of a pinhole camera; see `software.render`."""
        return self.picture(cameras, view, background, without).cpu().numpy()  # type: ignore[no-any-return]

    def picture(
        self, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
    ) -> torch.Tensor:
        """The same, left on the GPU."""
        projection = cameras.projections[view].copy()
        projection[:, 3] += projection[:, :3] @ self.baked.origin
        chosen, importance = self.baked.chosen(cameras, view, without)
        size = (int(cameras.sizes[view, 0]), int(cameras.sizes[view, 1]))
        return self._resident.picture(projection, cameras.centers[view] - self.baked.origin, size, chosen, importance, background)
