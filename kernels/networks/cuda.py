"""The density and colour networks on NVIDIA tensor cores: launches of `networks.cu`, and the flat parameters it reads.

Encoded points -> width -> 16 (log density, 15 geometry features); 16 (direction) + geometry -> width -> width -> 3. Where colour
has an encoding of its own, that takes the geometry's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kernels.cuda.compiler import Kernel, kernel, multiprocessors

_SOURCE = Path(__file__).with_name("networks.cu")
_PAD, _MAX_SHARED = 8, 227 * 1024


@dataclass(frozen=True)
class NetworkShape:
    """Sizes of the networks."""

    inputs: int
    """Numbers an encoded point has; a multiple of 16."""
    width: int
    """Neurons of the hidden layers; 16, 32, 48 or 64."""
    colored: bool = False
    """Whether colour has an encoding of its own, of 16 numbers."""

    @property
    def supported(self) -> bool:
        """Whether there are kernels for these sizes."""
        return self.inputs % 16 == 0 and self.width % 16 == 0 and self.width <= 64 and self.inputs <= 64

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """Outputs and inputs of the five layers, padded."""
        return (self.width, self.inputs), (16, self.width), (self.width, 32), (self.width, self.width), (16, self.width)

    @property
    def first_bias(self) -> int:
        """Place of the first bias among the parameters; the weights come before it."""
        return sum(a * b for a, b in self.shapes)

    @property
    def parameters(self) -> int:
        """Numbers in the flat parameters."""
        return self.first_bias + sum(a for a, _ in self.shapes)

    def _kernel(self, name: str) -> Kernel:
        return kernel(_SOURCE, name, {"IN": self.inputs, "W": self.width, "BLOCK_ROWS": self._rows, "COLORED": self.colored})

    @property
    def _weight_bytes(self) -> int:
        return 2 * sum(a * (b + _PAD) for a, b in self.shapes)

    @property
    def _rows(self) -> int:
        """Samples of a block on the way back, 16 a warp: as many as fit into shared memory."""
        columns = max(32 + 4 * self.width + 16 + 6 * _PAD, self.inputs + 2 * self.width + 16 + 4 * _PAD)
        return 256 if self._weight_bytes + 2 * 256 * columns <= _MAX_SHARED else 128

    @property
    def _tile_bytes(self) -> int:
        columns = max(32 + 4 * self.width + 16 + 6 * _PAD, self.inputs + 2 * self.width + 16 + 4 * _PAD)
        return 2 * self._rows * columns

    @property
    def _places(self) -> tuple[int, ...]:
        """Where a layer's inputs go on after the direction, if not next to it."""
        return 0, 0, 0 if self.colored else 17, 0, 0

    def pack(self, layers: Sequence[torch.nn.Linear]) -> Tensor:
        """Five linear layers -> flat parameters ``[parameters]``. Place 0 of the geometry, the log density, is no input of the colour."""
        weights, biases = [], []
        for layer, (rows, columns), place in zip(layers, self.shapes, self._places, strict=True):
            padded = torch.zeros(rows, columns, device=layer.weight.device)
            w = layer.weight.detach()
            if place:
                padded[: len(w), :16], padded[: len(w), place:] = w[:, :16], w[:, 16:]
            else:
                padded[: len(w), : w.shape[1]] = w
            weights.append(padded.reshape(-1))
            biases.append(torch.nn.functional.pad(layer.bias.detach(), (0, rows - len(layer.bias))))
        return torch.cat(weights + biases)

    @torch.no_grad()
    def unpack(self, flat: Tensor, layers: Sequence[torch.nn.Linear]) -> None:
        """The reverse of `pack`, into the layers."""
        start, bias = 0, self.first_bias
        for layer, (rows, columns), place in zip(layers, self.shapes, self._places, strict=True):
            padded = flat[start : start + rows * columns].view(rows, columns)
            n = len(layer.weight)
            layer.weight.copy_(torch.cat([padded[:n, :16], padded[:n, place:]], 1) if place else padded[:n, : layer.weight.shape[1]])
            layer.bias.copy_(flat[bias : bias + n])
            start, bias = start + rows * columns, bias + rows

    def forward(
        self, encoded: Tensor, colored: Tensor | None, harmonics: Tensor | None, ray_of: Tensor | None, half: Tensor, flat: Tensor,
        density_bias: float, out: Tensor, count: Tensor | None = None,
    ) -> None:  # fmt: skip
        """Fill ``out [n, 4]`` with red, green, blue, density; without ``ray_of``, ``out [n]`` with the density alone.

        Args:
            encoded: ``[n, inputs]`` half precision.
            colored: ``[n, 16]`` half precision, colour's own encoding, if it has one.
            harmonics: ``[rays, 16]`` half precision, spherical harmonics of the rays' directions.
            ray_of: ``[n]`` int32, the ray of every sample, -1 for none.
            half: the flat parameters in half precision.
            flat: in single precision; the biases are taken from it.
            count: int32 on the device: how many of the samples there really are.
        """
        n = len(encoded)
        blocks = min(-(-n // 64), 8 * multiprocessors())
        if n:
            biases = flat[self.first_bias :]
            self._kernel("networks_forward")(
                (blocks,), 128, encoded, colored, harmonics, ray_of, half, biases, density_bias, count, n, out, shared=self._weight_bytes
            )

    def backward(
        self, encoded: Tensor, colored: Tensor | None, harmonics: Tensor, ray_of: Tensor, half: Tensor, flat: Tensor, d_raw: Tensor, count: Tensor,
        d_encoded: Tensor, d_colored: Tensor | None, d_flat: Tensor,
    ) -> None:  # fmt: skip
        """Fill ``d_encoded`` (and ``d_colored``) and add to ``d_flat`` what follows from the gradients of raw colour and log density, ``d_raw [n, 4]`` half."""
        n = len(encoded)
        blocks = min(-(-n // self._rows), multiprocessors())
        if n:
            self._kernel("networks_backward")(
                (blocks,), 2 * self._rows, encoded, colored, harmonics, ray_of, half, flat[self.first_bias :], d_raw, count, n, d_encoded, d_colored,
                d_flat, shared=self._weight_bytes + self._tile_bytes,
            )  # fmt: skip

    def background(self, harmonics: Tensor, parameters: Tensor, control: Tensor, out: Tensor) -> None:
        """Fill ``out [rays, 3]`` with the colour behind everything: 16 -> 32 -> 3, of the direction alone. ``control[1]`` rays count."""
        self._kernel("background_forward")((-(-len(out) // 128),), 128, harmonics, parameters, control, out)

    def background_backward(self, harmonics: Tensor, parameters: Tensor, control: Tensor, behind: Tensor, d_behind: Tensor, d_parameters: Tensor) -> None:
        """Add the gradient of `background`'s parameters to ``d_parameters``."""
        self._kernel("background_backward")((-(-len(behind) // 128),), 128, harmonics, parameters, control, behind, d_behind, d_parameters)

    def adam(self, flat: Tensor, half: Tensor, grad: Tensor, moments: tuple[Tensor, Tensor], rates: Tensor) -> None:
        """One Adam step on all of ``flat`` (which may be longer than the parameters); clears ``grad``, writes ``half``."""
        self._kernel("adam")((-(-len(flat) // 256),), 256, flat, half, grad, *moments, rates, len(flat))

    def advance(
        self, control: Tensor, rates: Tensor, smoothed: Tensor, steps: int, learning_rates: tuple[float, float], betas: tuple[float, float],
        epsilon: float, samples: int, rays: tuple[int, int],
    ) -> None:  # fmt: skip
        """To the next step: counters, learning rates of table and networks, and the rays that give about ``samples`` samples."""
        self._kernel("advance")((1,), 1, control, rates, smoothed, steps, *learning_rates, *betas, epsilon, samples, *rays)
