"""Regions of a picture from the strength of the borders between neighbouring pixels (Felzenszwalb & Huttenlocher 2004).

Borders are taken from the weakest to the strongest; one that is weaker than the strongest border inside of either region, plus a share that
shrinks with the region's size, falls. Regions that stay too small join the neighbour behind their weakest border.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def grow(right: Float[ndarray, "h w-1"], down: Float[ndarray, "h-1 w"], scale: float, least: int) -> Int[ndarray, "h w"]:
    """Number of each pixel's region, from 0.

    Args:
        right: strength of the border between each pixel and the one to its right; ``down``: the one below.
        scale: larger regions with larger values; unit: strength times pixels.
        least: fewest pixels of a region.
    """
    from kernels.regions import cpu

    a, b, strength = _edges(np.asarray(right, np.float32), np.asarray(down, np.float32))
    return cpu.grow(a, b, strength, right.shape[0] * down.shape[1], np.float32(scale), least).reshape(right.shape[0], down.shape[1])  # type: ignore[no-any-return]


def grow_reference(right: Float[ndarray, "h w-1"], down: Float[ndarray, "h-1 w"], scale: float, least: int) -> Int[ndarray, "h w"]:
    """The twin of `grow` in plain Python."""
    h, w = right.shape[0], down.shape[1]
    a, b, strength = _edges(np.asarray(right, np.float32), np.asarray(down, np.float32))
    regions = [{i} for i in range(h * w)]
    of, inside = list(range(h * w)), [np.float32(0)] * (h * w)
    for last in (False, True):
        for i, j, s in zip(a, b, strength):
            p, q = of[i], of[j]
            if p == q:
                continue
            small = min(len(regions[p]), len(regions[q])) < least
            fits = s <= min(inside[p] + np.float32(scale) / np.float32(len(regions[p])), inside[q] + np.float32(scale) / np.float32(len(regions[q])))
            if small if last else fits:
                regions[p] |= regions[q]
                for k in regions[q]:
                    of[k] = p
                inside[p] = max(s, inside[p], inside[q])
    return np.unique(np.array(of), return_inverse=True)[1].reshape(h, w).astype(np.int32)


def flood(labels: Int[ndarray, "h w"], right: Float[ndarray, "h w-1"], down: Float[ndarray, "h-1 w"]) -> Int[ndarray, "h w"]:
    """Pixels without a label (-1) take that of the labelled pixel from which the path to them costs least; in place, and returned.

    Args:
        right: cost of a step from each pixel to the one to its right, or back; ``down``: the one below.
    """
    from kernels.regions import cpu

    cpu.flood(labels, np.ascontiguousarray(right, np.float32), np.ascontiguousarray(down, np.float32))
    return labels


def flood_reference(labels: Int[ndarray, "h w"], right: Float[ndarray, "h w-1"], down: Float[ndarray, "h-1 w"]) -> Int[ndarray, "h w"]:
    """The twin of `flood` by shortest paths in SciPy; where two labels are equally near, either."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import dijkstra

    h, w = labels.shape
    a, b, cost = _edges(np.asarray(right, np.float32), np.asarray(down, np.float32))
    graph = coo_array((np.maximum(cost, 1e-9), (a, b)), shape=(h * w, h * w)).tocsr()
    start = np.flatnonzero(labels.reshape(-1) >= 0)
    _, _, source = dijkstra(graph, directed=False, indices=start, min_only=True, return_predecessors=True)
    return labels.reshape(-1)[source].reshape(h, w)


def _edges(right: ndarray, down: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """All pairs of neighbours, the weakest borders first, in steps of the strongest over 65535: whole numbers of two bytes sort six times as fast."""
    h, w = right.shape[0], down.shape[1]
    number = np.arange(h * w, dtype=np.int32).reshape(h, w)
    a = np.concatenate([number[:, :-1].reshape(-1), number[:-1].reshape(-1)])
    b = np.concatenate([number[:, 1:].reshape(-1), number[1:].reshape(-1)])
    strength = np.concatenate([right.reshape(-1), down.reshape(-1)])
    order = np.argsort(np.round(strength * (65535 / max(float(strength.max()), 1e-30))).astype(np.uint16), kind="stable")
    return a[order], b[order], strength[order]
