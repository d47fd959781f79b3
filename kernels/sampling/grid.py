"""Normalised space and the unit cube in which grids are laid out."""

import torch
from jaxtyping import Float
from torch import Tensor


def contract(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """All of space into the cube [-2, 2]^3, leaving [-1, 1]^3 as it is (Barron et al. 2022 eq. 10, with the max norm)."""
    norm = points.abs().amax(-1, keepdim=True).clamp(min=1e-9)
    return torch.where(norm <= 1, points, (2 - 1 / norm) * (points / norm))


def uncontract(points: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 3"]:
    """Inverse of `contract`; the boundary, which stands for infinity, is taken as 1000."""
    norm = points.abs().amax(-1, keepdim=True)
    return torch.where(norm <= 1, points, points / norm.clamp(min=1e-9) / (2 - norm).clamp(min=1e-3))


def unit_coordinates(points: Float[Tensor, "*n 3"], contracted: bool) -> Float[Tensor, "*n 3"]:
    """Normalised coordinates -> the unit cube: of all space (contracted), or of the cube [-1, 1]^3."""
    return (contract(points) + 2) / 4 if contracted else (points + 1) / 2
