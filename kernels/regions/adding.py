"""Sums over regions: of values that pixels have, by the number of the region that each pixel is in."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor


def totals(labels: Int[ndarray, "p"], values: Float[Tensor, "c p"], count: int) -> Float[ndarray, "r c"]:
    """Sums of values over regions, in double precision, where the values are; threads that add let one another run.

    Args:
        labels: region of each pixel, from 0 to ``count - 1``.
    """
    if values.is_cuda:
        sums = torch.zeros(count, len(values), dtype=torch.float64, device=values.device)
        sums.index_add_(0, torch.from_numpy(np.ascontiguousarray(labels, np.int64)).to(values.device), values.T.double())
        return sums.cpu().numpy()
    from kernels.regions import cpu

    out = np.zeros((count, len(values)))
    cpu.totals(labels, values.numpy(), out)
    return out


def totals_reference(labels: Int[ndarray, "p"], values: Float[Tensor, "c p"], count: int) -> Float[ndarray, "r c"]:
    """The twin of `totals` by NumPy."""
    return np.stack([np.bincount(labels, v, count) for v in values.cpu().numpy()], axis=1)
