"""What blending cannot say about a scene: corrections of distance and colour from a hash grid, learned by tuning.

The general model answers from the photos alone; whatever is wrong with its answer for every view in the same place (a surface a
little off, a highlight, a colour that no nearby photo shows) is a function of the place, which a multi-resolution hash grid
(Müller et al. 2022) learns within seconds. It starts at zero: an untuned field and one with an untrained grid are the same.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from kernels.hashgrid.encoding import encode
from kernels.hashgrid.layout import HashGridLayout
from kernels.sampling import unit_coordinates

HANDED = 15
"""Numbers that the distance network hands to the colour network."""
SAME_SIDE = 0.004
"""Angle cue (`sources.ANGLE`) below which colours are hardly corrected: two and a half degrees."""


class Detail(nn.Module):
    """Corrections at points of one scene."""

    center: Tensor
    radius: Tensor
    sizes: Tensor
    """Options of the layout, so that a file of weights is complete."""

    def __init__(self, layout: HashGridLayout, center: Float[Tensor, "3"], radius: float, width: int = 64) -> None:
        """
        Args:
            center: of the cube that holds the bulk of the scene, internal units; the space outside is contracted.
            radius: half of its side.
        """
        super().__init__()
        self.layout = layout
        self.table = nn.Parameter(torch.empty(layout.entries, layout.features).uniform_(-1e-4, 1e-4))
        self.shape = nn.Sequential(nn.Linear(layout.output_features, width), nn.ReLU(), nn.Linear(width, 1 + HANDED))
        self.color = nn.Sequential(nn.Linear(HANDED + 8, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3))
        for network in (self.shape, self.color):
            last = network[-1]
            assert isinstance(last, nn.Linear)
            with torch.no_grad():
                rows = slice(0, 1) if network is self.shape else slice(None)
                last.weight[rows] = 0
                last.bias[rows] = 0
        self.register_buffer("center", center.detach().clone().float())
        self.register_buffer("radius", torch.tensor(float(radius)))
        sizes = (layout.levels, layout.features, layout.log2_table_size, layout.base_resolution, layout.finest_resolution)
        self.register_buffer("sizes", torch.tensor(sizes))

    @classmethod
    def around(cls, points: Float[Tensor, "p 3"], pixel: float) -> "Detail":
        """For a scene whose surfaces pass through ``points``; ``pixel`` is the size of a photo's pixel there, internal units."""
        center = points.median(0).values
        radius = max(float((points - center).abs().amax(1).quantile(0.75)), 1e-6)
        finest = int(min(max(4 * radius / pixel, 64), 2048))
        return cls(HashGridLayout(10, 2, 18, 16, finest), center, radius).to(points.device)

    @classmethod
    def stored(cls, tensors: dict[str, Tensor]) -> "Detail":
        """From the tensors of its `state_dict`."""
        levels, features, log2_size, base, finest = (int(v) for v in tensors["sizes"])
        layout = HashGridLayout(levels, features, log2_size, base, finest)
        tensors = {**tensors, "table": layout.aligned(tensors["table"])}
        out = cls(layout, tensors["center"].cpu(), float(tensors["radius"]), tensors["shape.0.bias"].numel())
        out.load_state_dict(tensors)
        return out

    def features(self, points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 16"]:
        """Correction of the signed distance in local units, then what the colour network needs."""
        unit = unit_coordinates((points.reshape(-1, 3) - self.center) / self.radius, True)
        with torch.autocast(points.device.type, enabled=False):
            encoded = encode(unit.float(), self.table, self.layout)
        return self.shape(encoded).float().view(*points.shape[:-1], 1 + HANDED)  # type: ignore[no-any-return]

    def corrected(
        self, features: Float[Tensor, "n s 16"], directions: Float[Tensor, "n 3"], photos: Float[Tensor, "n s v 3"], blend: Float[Tensor, "n s v"],
        angles: Float[Tensor, "n s v"],
    ) -> Float[Tensor, "n s 3"]:  # fmt: skip
        """Colours of samples: what blending found, corrected; hardly where a photo looks from the same side.

        Args:
            photos: colours that the views show at the samples.
            blend: their weights.
            angles: how far each view's ray turns from the sample's, 0 for the same direction.
        """
        colors = (blend[..., None] * photos).sum(2)
        off = (photos - colors[:, :, None]).square().sum(-1)
        angle = (blend * angles).sum(2)
        doubt = torch.stack([((blend * off).sum(2) + 1e-6).sqrt(), angle], dim=-1)
        toward = directions[:, None].expand(*features.shape[:2], 3)
        change = self.color(torch.cat([features[..., 1:], toward, colors, doubt], dim=-1)).float()
        # A photo from the same side knows better than any correction.
        return colors + change * (1 - torch.exp(-angle / SAME_SIDE))[..., None]  # type: ignore[no-any-return]
