"""`rasterizing` and `blending` on an NVIDIA GPU, in one go: the picture's pixels alone leave it."""

from pathlib import Path

import numpy as np
import torch

from kernels.cuda.compiler import kernel
from kernels.realtime.blending import BORDER, LEAST_COSINE, TOLERANCE, Blend, Surroundings

_SOURCE = Path(__file__).with_name("realtime.cu")
MOST = 8
"""Photos that a picture can be blended from."""


class Resident:
    """`Surroundings` in the GPU's memory."""

    def __init__(self, around: Surroundings, how: Blend, device: torch.device) -> None:
        self.how, self.device = how, device
        self.size = (int(around.photos.shape[2]), int(around.photos.shape[1]))
        self.mesh = (*around.layers, len(around.faces))[0]
        layer = np.searchsorted(around.layers, np.arange(len(around.faces)), side="right").astype(np.uint8)

        def sent(array: np.ndarray, kind: type) -> torch.Tensor:
            return torch.from_numpy(np.ascontiguousarray(array, kind)).to(device)

        self.vertices, self.normals = sent(around.vertices, np.float32), sent(around.normals, np.float32)
        self.faces, self.layer = sent(around.faces, np.int32), sent(layer, np.uint8)
        self.colors = sent(around.colors, np.uint8)
        self.photos, self.depths = sent(around.photos, np.uint8), sent(around.depths, np.float32)
        self.projections, self.centers = sent(around.projections, np.float32), sent(around.centers, np.float32)
        self.trust = sent(around.trust, np.uint8)

    def picture(
        self, projection: np.ndarray, eye: np.ndarray, size: tuple[int, int], chosen: np.ndarray, importance: np.ndarray,
        background: tuple[int, int, int],
    ) -> torch.Tensor:  # fmt: skip
        """The picture of a camera, uint8 [h, w, 3], on the GPU.

        Args:
            projection: world (as the vertices) to pixels times z-depth, [3, 4].
            chosen: at most `MOST` photos.
        """
        width, height = size
        count = min(len(chosen), MOST)
        frame = np.zeros(32, np.float32)
        frame[:12], frame[12:15], frame[16 : 16 + count] = projection.reshape(-1), eye, importance[:count]
        frame[24:].view(np.int32)[:count] = chosen[:count]
        with torch.cuda.device(self.device):
            sent = torch.from_numpy(frame).to(self.device)
            keys = torch.full((height, width), -1, dtype=torch.int64, device=self.device)
            picture = torch.empty((height, width, 3), dtype=torch.uint8, device=self.device)
            faces = len(self.faces)
            kernel(_SOURCE, "rasterize")((-(-faces // 8),), 256, sent, self.vertices, self.faces, self.layer, faces, width, height, keys)
            kernel(_SOURCE, "blend")(
                (-(-width // 16), -(-height // 16)), 256, sent, self.vertices, self.normals, self.faces, self.mesh, self.colors,
                self.photos, *self.size, self.depths, self.projections, self.centers, self.trust, int(self.trust.shape[1]), keys, width, height, count,
                float(self.how.sharpness), float(self.how.floor), TOLERANCE, BORDER, LEAST_COSINE,
                int(background[0] | background[1] << 8 | background[2] << 16), picture,
            )  # fmt: skip
        return picture
