"""One path direction of semi-global aggregation, compiled by numba: parallel over paths, vectorised over planes."""

import numba as nb
import numpy as np


@nb.njit(parallel=True, cache=True, nogil=True, fastmath=True, error_model="numpy")
def walk(costs, small, large, edges, starts, dy, dx, total):
    """Add the path costs of one direction to ``total [h, w, planes]``."""
    height, width, planes = costs.shape
    for s in nb.prange(starts.shape[0]):
        before = np.empty(planes + 2, np.float32)
        current = np.empty(planes + 2, np.float32)
        before[0] = before[planes + 1] = current[0] = current[planes + 1] = np.float32(1e9)
        y, x, low, first = starts[s, 0], starts[s, 1], np.float32(0), True
        while 0 <= y < height and 0 <= x < width:
            lowest = np.float32(1e9)
            if first:
                for p in range(planes):
                    value = costs[y, x, p]
                    current[p + 1] = value
                    total[y, x, p] += value
                    lowest = min(lowest, value)
                first = False
            else:
                jump = low + large * edges[y, x]
                for p in range(planes):
                    way = min(min(before[p + 1], jump), min(before[p], before[p + 2]) + small)
                    value = costs[y, x, p] + way - low
                    current[p + 1] = value
                    total[y, x, p] += value
                    lowest = min(lowest, value)
            low = lowest
            before, current = current, before
            y += dy
            x += dx
