"""Regions to things: the pairs that most likely belong together are joined first, until none does more likely than not.

How likely two regions are one thing is a logistic function of what is known of the pair (how strong the outline between them is, how alike they look,
where they overlap in other photos), learned on procedural worlds (`benchmarks.understanding merging`). Evidence of joined pairs adds up by the length
of border that it comes from (average linkage). Pairs that prefer each other are all joined at once, which for average linkage gives what joining one at
a time would (reciprocal nearest neighbours; Benzecri 1982).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from recon.understanding.regions import Edges, Regions, unit


@dataclass(frozen=True)
class Evidence:
    """Coefficients of the log-odds that two regions are one thing, for pairs that touch and for pairs that overlap."""

    touch: tuple[float, ...] = (3.08, -1.54, -0.58, -22.24, -1.85, -0.91)
    """Constant; mean outline; square of it; one minus the cosine of the features; of the normals; mean step of depth."""
    overlap: tuple[float, ...] = (-0.15, 6.01, -32.38)
    """Constant; share of the pixels; one minus the cosine of the features."""
    weight: float = 3.67
    """Of a pixel of overlap's square root, against a pixel of border."""
    least: float = 0.0
    """Log-odds from which on regions are joined."""


@dataclass(frozen=True)
class _Graph:
    """Regions as they stand, and what is known of the pairs."""

    pixels: Float[ndarray, "r"]
    feature: Float[ndarray, "r c"]
    normal: Float[ndarray, "r 3"]
    a: Int[ndarray, "e"]
    b: Int[ndarray, "e"]
    evidence: tuple[ndarray, ...]
    """Border, outline, step, shared, share: sums over all that each pair was made of."""

    def odds(self, how: Evidence) -> Float[ndarray, "e"]:
        return log_odds(how, unit(self.feature), unit(self.normal), self.a, self.b, *self.evidence)

    def joined(self, parent: Int[ndarray, "r"]) -> "_Graph":
        """Regions of one parent as one; ``parent`` runs from 0 without gaps."""
        size = int(parent.max()) + 1
        feature, normal = (np.stack([np.bincount(parent, x[:, c], size) for c in range(x.shape[1])], axis=1) for x in (self.feature, self.normal))
        a, b = parent[self.a], parent[self.b]
        kept = a != b
        low, high = np.minimum(a, b)[kept], np.maximum(a, b)[kept]
        key, inverse = np.unique(low * size + high, return_inverse=True)
        evidence = tuple(np.bincount(inverse, x[kept], len(key)) for x in self.evidence)
        return _Graph(np.bincount(parent, self.pixels, size), feature, normal, key // size, key % size, evidence)


def merge(regions: Regions, edges: Edges, evidence: Evidence | None = None, dust: float = 0.0) -> Int[ndarray, "r"]:
    """The thing that each region belongs to, from 0.

    Args:
        dust: things with fewer pixels join the likeliest of their neighbours.
    """
    how, label = evidence or Evidence(), np.arange(len(regions))
    shared = np.sqrt(edges.shared) * how.weight
    graph = _Graph(regions.pixels, regions.feature, regions.normal, edges.a, edges.b, (edges.border, edges.outline, edges.step, shared, edges.share * shared))
    for _ in range(200):
        a, b, odds = graph.a, graph.b, graph.odds(how)
        best = np.full(len(graph.pixels), how.least)
        np.maximum.at(best, a, odds)
        np.maximum.at(best, b, odds)
        good = (odds > how.least) & (odds >= best[a]) & (odds >= best[b])
        if not good.any():
            break
        parent = np.arange(len(graph.pixels))
        taken = np.zeros(len(parent), bool)
        for i, j in zip(a[good], b[good]):  # equal odds: a region is joined once a round
            if not taken[i] and not taken[j]:
                parent[j] = i
                taken[i] = taken[j] = True
        parent = np.unique(parent, return_inverse=True)[1]
        label, graph = parent[label], graph.joined(parent)
    for _ in range(5 if dust else 0):
        swept = _swept(graph, how, dust)
        if swept is None:
            break
        label, graph = swept[label], graph.joined(swept)
    return label


def _swept(graph: _Graph, how: Evidence, dust: float) -> Int[ndarray, "r"] | None:
    """Each small region with its likeliest neighbour; None where no small one has any."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count = len(graph.pixels)
    small = graph.pixels < dust
    a, b, odds = np.concatenate([graph.a, graph.b]), np.concatenate([graph.b, graph.a]), np.tile(graph.odds(how), 2)
    mine = small[a]
    if not mine.any():
        return None
    a, b, odds = a[mine], b[mine], odds[mine]
    order = np.lexsort((-odds, a))
    first = np.unique(a[order], return_index=True)[1]
    pairs = (a[order][first], b[order][first])
    return connected_components(coo_array((np.ones(len(first)), pairs), shape=(count, count)), directed=False)[1].astype(np.int64)


def log_odds(
    how: Evidence, feature: Float[ndarray, "r c"], normal: Float[ndarray, "r 3"], a: Int[ndarray, "e"], b: Int[ndarray, "e"], border: ndarray, line: ndarray,
    step: ndarray, shared: ndarray, share: ndarray,
) -> Float[ndarray, "e"]:  # fmt: skip
    """Of each pair; evidence of touching and of overlapping, weighed by how much of either there is."""
    unlike = 1 - (feature[a] * feature[b]).sum(1)
    bent = 1 - (normal[a] * normal[b]).sum(1)
    touch = touching(border, line, step, unlike, bent) @ np.array(how.touch)
    over = overlapping(shared, share, unlike) @ np.array(how.overlap)
    return (touch * border + over * shared) / np.maximum(border + shared, 1e-9)


def touching(border: ndarray, line: ndarray, step: ndarray, unlike: ndarray, bent: ndarray) -> Float[ndarray, "e 6"]:
    """What is known of pairs that touch, as `Evidence.touch` weighs it."""
    o, s = line / np.maximum(border, 1e-9), step / np.maximum(border, 1e-9)
    return np.stack([np.ones_like(o), o, o * o, unlike, bent, s], axis=1)


def overlapping(shared: ndarray, share: ndarray, unlike: ndarray) -> Float[ndarray, "e 3"]:
    """What is known of pairs that overlap, as `Evidence.overlap` weighs it."""
    return np.stack([np.ones_like(unlike), share / np.maximum(shared, 1e-9), unlike], axis=1)
