"""Encoding and the two networks on a CPU: tile after tile of samples while it is in cache, multiplied in bfloat16.

The same as `HashGridField.geometry` and `.color` under autocast, without what autograd would keep, cast and copy on the way.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from kernels.hashgrid import cpu as hashgrid
from kernels.hashgrid.encoding import level_arrays
from kernels.hashgrid.layout import HashGridLayout

TILE = 16_384
"""Samples a core works on at a time. A quarter would stay in its cache, but then the cores wait for the interpreter."""
_HALF = torch.bfloat16


class FieldTile:
    """Density and colour of the samples that one core works on, and the way back through them.

    Usable by several threads at once, each for its own samples.
    """

    def __init__(self, table: Float[Tensor, "entries features"], layout: HashGridLayout, density_bias: float, parameters: Sequence[Tensor]) -> None:
        """
        Args:
            parameters: weight and bias of the five layers (two of density, three of colour).
        """
        self._table, self._layout, self._bias = table.detach().view(-1).numpy(), level_arrays(layout), density_bias
        self._columns = layout.output_features
        self._layers = _layers(parameters)
        self._shapes = [p.shape for p in parameters]

    @torch.no_grad()
    def forward(
        self, points: Float[Tensor, "3 n"], part: slice, directions: Tensor, rays: Int[Tensor, "m"]
    ) -> tuple[Float[Tensor, "m"], Float[Tensor, "m 3"], tuple[Tensor, ...]]:
        """Density and colour of ``points[:, part]`` (of the unit cube), and what `backward` needs.

        Args:
            directions: spherical harmonics of the rays' directions ``[rays, 16]``, bfloat16.
            rays: which ray each sample lies on.
        """
        density, (x, out, h1) = self.density(points, part)
        color, kept = self.color(out, directions, rays)
        return density, color, (x, h1, *kept)

    @torch.no_grad()
    def density(self, points: Float[Tensor, "3 n"], part: slice) -> tuple[Float[Tensor, "m"], tuple[Tensor, ...]]:
        """Density at ``points[:, part]``; also their encoding, the geometry features for `color`, and the hidden layer."""
        (w1, b1), (w2, b2) = self._layers[:2]
        encoded = torch.empty(part.stop - part.start, self._columns)
        hashgrid.encode_rows(points.numpy(), part.start, len(encoded), self._table, *self._layout, encoded.numpy())
        x = encoded.to(_HALF)
        h1 = torch.addmm(b1, x, w1.T).relu_()
        out = torch.addmm(b2, h1, w2.T)
        return (out[:, 0].float() + self._bias).clamp_(max=15.0).exp_(), (x, out, h1)

    @torch.no_grad()
    def color(self, geometry: Tensor, directions: Tensor, rays: Int[Tensor, "m"]) -> tuple[Float[Tensor, "m 3"], tuple[Tensor, ...]]:
        """Colour of samples, and the inputs of the three layers."""
        (w3, b3), (w4, b4), (w5, b5) = self._layers[2:]
        y = torch.cat([directions[rays], geometry], 1)
        h3 = torch.addmm(b3, y, w3.T).relu_()
        h4 = torch.addmm(b4, h3, w4.T).relu_()
        return torch.addmm(b5, h4, w5.T)[:, :3].float().sigmoid_(), (y, h3, h4)

    @torch.no_grad()
    def backward(
        self, kept: tuple[Tensor, ...], d_logit: Float[Tensor, "m"], d_raw: Float[Tensor, "m 3"], d_encoded: Float[Tensor, "m encoded"]
    ) -> list[Tensor]:
        """Fill ``d_encoded``; the gradients of the padded layers are returned, for `unpadded`.

        Args:
            d_logit: gradient of the log density.
            d_raw: gradient of the colour before its sigmoid.
        """
        x, h1, y, h3, h4 = kept
        weights, mask = [w for w, _ in self._layers], torch.ops.aten.threshold_backward
        ones = torch.ones(1, len(x), dtype=_HALF)
        d5 = torch.zeros(len(x), 16, dtype=_HALF)
        d5[:, :3] = d_raw
        d4 = mask(d5 @ weights[4], h4, 0)
        d3 = mask(d4 @ weights[3], h3, 0)
        d2 = (d3 @ weights[2])[:, 16:].contiguous()
        d2[:, 0] = d_logit
        d1 = mask(d2 @ weights[1], h1, 0)
        d_encoded.copy_(d1 @ weights[0])
        return [g.float() for d, a in ((d1, x), (d2, h1), (d3, y), (d4, h3), (d5, h4)) for g in (d.T @ a, ones @ d)]

    def unpadded(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Gradients of the layers in the parameters' own shapes."""
        out: list[Tensor] = []
        for layer in range(len(self._layers)):
            rows, columns = self._shapes[2 * layer]
            d_weight, d_bias = gradients[2 * layer], gradients[2 * layer + 1]
            d_weight = torch.cat([d_weight[:, :16], d_weight[:, 17:]], 1) if layer == 2 else d_weight
            out += [d_weight[:rows, :columns].contiguous(), d_bias[0, :rows].contiguous()]
        return out


def _layers(parameters: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Padded weights and biases in bfloat16; the log density, the first output of the second layer, is no input of the third."""
    out = []
    for layer, (weight, bias) in enumerate(zip(parameters[::2], parameters[1::2], strict=True)):
        rows = 16 if layer in (1, 4) else len(weight)
        w, b = torch.zeros(rows, weight.shape[1] + (layer == 2), dtype=_HALF), torch.zeros(rows, dtype=_HALF)
        if layer == 2:
            w[:, :16], w[:, 17:] = weight.detach()[:, :16], weight.detach()[:, 16:]
        else:
            w[: len(weight)] = weight.detach()
        b[: len(bias)] = bias.detach()
        out.append((w, b))
    return out
