"""The hash-grid radiance field: encoding, density network, colour network, background."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from kernels.compositing.cpu import LEAST_SLOPE
from kernels.hashgrid.encoding import encode
from kernels.sampling import unit_coordinates
from recon.hashgrid.options import FieldOptions


def spherical_harmonics(directions: Float[Tensor, "n 3"]) -> Float[Tensor, "n 16"]:
    """Real spherical harmonics of degrees 0 to 3 of unit directions, without normalisation beyond the usual constants."""
    x, y, z = directions.unbind(-1)
    xx, yy, zz, xy, yz, xz = x * x, y * y, z * z, x * y, y * z, x * z
    return torch.stack([
        torch.full_like(x, 0.28209479),
        -0.48860251 * y, 0.48860251 * z, -0.48860251 * x,
        1.0925484 * xy, -1.0925484 * yz, 0.31539157 * (3 * zz - 1), -1.0925484 * xz, 0.54627422 * (xx - yy),
        -0.59004359 * y * (3 * xx - yy), 2.8906114 * xy * z, -0.45704580 * y * (5 * zz - 1),
        0.37317633 * z * (5 * zz - 3), -0.45704580 * x * (5 * zz - 1), 1.4453057 * z * (xx - yy), -0.59004359 * x * (xx - 3 * yy),
    ], dim=-1)  # fmt: skip


class _TruncatedExp(torch.autograd.Function):
    """exp with its gradient bounded, so that one large density cannot blow up a step (as in instant-ngp)."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        out = torch.exp(x.clamp(max=15.0))
        ctx.save_for_backward(out)  # type: ignore[attr-defined]
        return out

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
        (out,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * out.clamp(max=1e5)


class _Sigmoid(torch.autograd.Function):
    """The sigmoid; on the way back its slope is bounded from below where the gradient leads away from the nearer end."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        out = torch.sigmoid(x)
        ctx.save_for_backward(out)  # type: ignore[attr-defined]
        return out

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:  # type: ignore[override]
        (out,) = ctx.saved_tensors  # type: ignore[attr-defined]
        slope = out * (1 - out)
        return grad * torch.where((out > 0.5) == (grad > 0), slope.clamp(min=LEAST_SLOPE), slope)


def color_sigmoid(x: Float[Tensor, "*n"]) -> Float[Tensor, "*n"]:
    """Raw colour to 0 to 1, with a gradient that does not vanish where it has run into an end."""
    return _Sigmoid.apply(x)  # type: ignore[no-any-return]


class HashGridField(nn.Module):
    """Density and colour at points of the normalised frame."""

    def __init__(self, options: FieldOptions, contracted: bool, views: int, transparent: bool) -> None:
        """
        Args:
            contracted: whether space outside the cube exists.
            views: photos trained on (rows of the appearance code).
            transparent: whether rays may leave the scene unanswered (objects cut out by masks); if not, a learned
                background of the direction alone fills what is left.
        """
        super().__init__()
        self.options, self.contracted, self.transparent = options, contracted, transparent
        self.layout, self.color_layout = options.layout, options.color_layout
        self.table = nn.Parameter(torch.empty(self.layout.entries, options.features).uniform_(-1e-4, 1e-4))
        self.color_table: nn.Parameter | None = None
        self.grad_buffer: Tensor | None = None
        self.color_grad_buffer: Tensor | None = None
        width, geometry, color = options.width, options.geometry_features, options.geometry_features
        if self.color_layout is not None:
            self.color_table = nn.Parameter(torch.empty(self.color_layout.entries, self.color_layout.features).uniform_(-1e-4, 1e-4))
            geometry, color = 0, self.color_layout.output_features
        self.density_network = nn.Sequential(
            nn.Linear(self.layout.output_features, width), nn.ReLU(), nn.Linear(width, 1 + geometry)
        )
        self.color_network = nn.Sequential(
            nn.Linear(16 + color, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )
        self.background_network = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
        self.log_gains = nn.Parameter(torch.zeros(views, 3), requires_grad=options.appearance)

    def geometry(self, points: Float[Tensor, "n 3"], learn_color: bool = True) -> tuple[Float[Tensor, "n"], Float[Tensor, "n geometry"]]:
        """Density per normalised unit, and the features the colour network needs.

        Args:
            learn_color: whether colour's own grid, if there is one, gets a gradient.
        """
        unit = unit_coordinates(points, self.contracted)
        density, features = self._density(unit)
        if self.color_table is not None and self.color_layout is not None:
            table = self.color_table if learn_color else self.color_table.detach()
            features = encode(unit, table, self.color_layout, grad_buffer=self.color_grad_buffer)
        return density, features

    def density(self, points: Float[Tensor, "n 3"]) -> Float[Tensor, "n"]:
        """Density per normalised unit."""
        return self._density(unit_coordinates(points, self.contracted))[0]

    def _density(self, unit: Float[Tensor, "n 3"]) -> tuple[Float[Tensor, "n"], Tensor]:
        """Density at points of the unit cube, and the rest of what its network says."""
        encoded = encode(unit, self.table, self.layout, grad_buffer=self.grad_buffer)
        with self._precision(unit):
            out = self.density_network(encoded)
        return _TruncatedExp.apply(out[:, 0].float() + self.options.density_bias), out[:, 1:]

    @property
    def usual(self) -> bool:
        """Whether density and colour are linked as the kernels that join encoding and networks on a CPU know it."""
        return self.options.geometry_features == 15 and self.color_table is None

    def color(self, geometry: Float[Tensor, "n geometry"] | Tensor, directions: Float[Tensor, "n 16"]) -> Float[Tensor, "n 3"]:
        """sRGB of points seen along directions, given as spherical harmonics."""
        with self._precision(geometry):
            return color_sigmoid(self.color_network(torch.cat([directions.to(geometry.dtype), geometry], dim=-1)).float())

    @property
    def network_parameters(self) -> list[Tensor]:
        """Weight and bias of the five layers of density and colour."""
        layers = [m for m in (*self.density_network, *self.color_network) if isinstance(m, nn.Linear)]
        return [p for layer in layers for p in (layer.weight, layer.bias)]

    def background(self, directions: Float[Tensor, "n 16"]) -> Float[Tensor, "n 3"]:
        """sRGB of what lies behind everything."""
        return color_sigmoid(self.background_network(directions))

    def gains(self, views: Int[Tensor, "n"]) -> Float[Tensor, "n 3"]:
        """Exposure and white balance of photos relative to their mean."""
        return torch.exp(self.log_gains - self.log_gains.mean(0, keepdim=True))[views]

    def _precision(self, like: Tensor) -> torch.autocast:
        """The networks multiply in bfloat16: on CPUs that have it, three times as fast, at no measured loss."""
        return torch.autocast(like.device.type, dtype=torch.bfloat16)
