"""Adam (Kingma & Ba 2015) on the entries of a table that were touched, as instant-ngp does."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def adam_touched(
    table: Float[Tensor, "entries features"],
    grad: Float[Tensor, "entries features"],
    moments: tuple[Float[Tensor, "entries features"], Float[Tensor, "entries features"]],
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-15,
) -> None:
    """One step in place; entries whose gradient is zero keep value and moments. Clears ``grad``.

    Args:
        step: counts from 1.
    """
    if table.device.type == "cpu":
        from kernels.hashgrid import cpu

        flat = [t.detach().reshape(-1).numpy() for t in (table, grad, *moments)]
        cpu.adam_touched(*flat, step, learning_rate, betas[0], betas[1], epsilon)
    else:
        adam_touched_reference(table, grad, moments, step, learning_rate, betas, epsilon)


@torch.no_grad()
def adam_touched_reference(
    table: Float[Tensor, "entries features"],
    grad: Float[Tensor, "entries features"],
    moments: tuple[Float[Tensor, "entries features"], Float[Tensor, "entries features"]],
    step: int,
    learning_rate: float,
    betas: tuple[float, float] = (0.9, 0.99),
    epsilon: float = 1e-15,
) -> None:
    """The twin of `adam_touched` in plain PyTorch."""
    first, second = moments
    touched = grad != 0
    first.copy_(torch.where(touched, betas[0] * first + (1 - betas[0]) * grad, first))
    second.copy_(torch.where(touched, betas[1] * second + (1 - betas[1]) * grad * grad, second))
    rate = learning_rate * math.sqrt(1 - betas[1] ** step) / (1 - betas[0] ** step)
    table.sub_(torch.where(touched, rate * first / (second.sqrt() + epsilon), torch.zeros_like(first)))
    grad.zero_()
