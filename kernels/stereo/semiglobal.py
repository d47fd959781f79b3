"""Semi-global aggregation (Hirschmüller 2008): each pixel's costs, plus the cheapest way to them along eight paths.

    L(p, d) = C(p, d) + min(L(q, d), L(q, d - 1) + P1, L(q, d + 1) + P1, min_k L(q, k) + P2) - min_k L(q, k)

with ``q`` the pixel before ``p`` on the path. The sum of L over the eight paths is returned.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

PATHS = ((0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, -1), (1, -1), (-1, 1))
"""Steps of the paths in rows and columns."""


def aggregate(
    costs: Float[ndarray, "h w planes"], small: float, large: float, edges: Float[ndarray, "h w"]
) -> Float[ndarray, "h w planes"]:
    """Sum over the eight paths.

    Args:
        small: penalty P1 of a change by one plane.
        large: penalty P2 of any larger change.
        edges: factor of P2 at each pixel, small where the picture has an edge and depth may jump.
    """
    from kernels.stereo import cpu

    total = np.zeros(costs.shape, np.float32)
    for dy, dx in PATHS:
        starts = _starts(costs.shape[0], costs.shape[1], dy, dx)
        cpu.walk(np.ascontiguousarray(costs, np.float32), np.float32(small), np.float32(large), edges.astype(np.float32), starts, dy, dx, total)
    return total


def aggregate_reference(
    costs: Float[ndarray, "h w planes"], small: float, large: float, edges: Float[ndarray, "h w"]
) -> Float[ndarray, "h w planes"]:
    """The twin of `aggregate` in plain NumPy, one pixel at a time."""
    height, width, planes = costs.shape
    total = np.zeros(costs.shape, np.float64)
    for dy, dx in PATHS:
        for y0, x0 in _starts(height, width, dy, dx):
            y, x, before = int(y0), int(x0), None
            while 0 <= y < height and 0 <= x < width:
                current = costs[y, x].astype(np.float64)
                if before is not None:
                    low = before.min()
                    padded = np.pad(before, 1, constant_values=np.inf)
                    ways = np.stack([before, padded[:-2] + small, padded[2:] + small, np.full(planes, low + large * edges[y, x])])
                    current = current + ways.min(0) - low
                total[y, x] += current
                before = current
                y, x = y + dy, x + dx
    return total.astype(np.float32)


def _starts(height: int, width: int, dy: int, dx: int) -> ndarray:
    """Pixels without a predecessor in the picture, ``[n, 2]``."""
    y, x = np.mgrid[:height, :width]
    first = (y - dy < 0) | (y - dy >= height) | (x - dx < 0) | (x - dx >= width)
    return np.stack([y[first], x[first]], axis=1)
