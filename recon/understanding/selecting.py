"""Click to select: the thing that was clicked on, in every photo, by how alike regions look, how strong the outlines between them are, and where they
show the same place.

A random walk over the regions of all photos (Grady 2006): the chance that a walker from a region reaches a region that was clicked as inside before one
that was clicked as outside. It walks easily where the merging (`recon.understanding.merging`) believes in one thing, hardly across outlines. Walks
may also end where a region looks like what was clicked as inside, or as outside.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from data.cameras import Cameras
from data.errors import InputError
from recon.understanding.lifting import LiftedField
from recon.understanding.merging import Evidence, log_odds, merge
from recon.understanding.prediction import Predictions
from recon.understanding.regions import Edges, Regions, unit

STEEP = 0.6
"""How much the log-odds of one thing say about how easily the walker passes."""
ENDS = 1.0
"""How often, relative to the area, a walk ends by what a region looks like."""
ISLAND = 0.03
"""Of the pixels that a photo shows of the selection: larger islands in it are not part of it."""
FLUSH = 0.02
"""Mean jump of the depth, relative, along the shore of an island that lies in the surface."""


@dataclass(frozen=True)
class Click:
    """A pixel of a photo, or a point of the scene."""

    photo: int
    """-1: ``at`` is a point of the scene."""
    at: tuple[float, ...]
    """Column and row, from 0 to 1 of the photo's size; or world coordinates."""
    inside: bool = True


def clicked(clicks: Sequence[Click], regions: Regions) -> tuple[Int[ndarray, "p"], Int[ndarray, "q"]]:
    """The regions that were clicked as inside, and as outside.

    Raises:
        InputError: no click inside, or one beside its photo, or one that no photo sees.
    """
    height, width = regions.maps.shape[1:]
    found: tuple[list[int], list[int]] = ([], [])
    for click in clicks:
        if click.photo < 0:
            # No photo sees it (see `in_photos`): the nearest place that one does.
            known = np.isfinite(regions.place).all(1)
            if not known.any():
                raise InputError("A point of the scene was clicked, but no photo's depth is known. Click in photos instead.")
            distance = np.linalg.norm(np.where(known[:, None], regions.place, np.inf) - np.array(click.at), axis=1)
            region = int(distance.argmin())
        else:
            x, y = click.at
            if not (0 <= x < 1 and 0 <= y < 1):
                raise InputError("A click lies beside its photo. Give pixels of the photo: from 0 to its width and height.")
            region = int(regions.maps[click.photo, int(y * height), int(x * width)])
        found[0 if click.inside else 1].append(region)
    if not found[0]:
        raise InputError("Nothing was clicked as inside. Give at least one click on what is to be selected.")
    return np.unique(found[0]), np.setdiff1d(np.array(found[1], np.int64), found[0])


def in_photos(clicks: Sequence[Click], cameras: Cameras, depth: tuple[Tensor, ...]) -> list[Click]:
    """The same clicks; those on points of the scene as clicks in the photos that show them best: large, and not near the rim.

    Args:
        cameras: of the photos; ``depth``: along their axes, 0 where unknown.
    """
    places, out = LiftedField(Predictions("heat", ()), cameras, depth), []
    for click in clicks:
        if click.photo >= 0:
            out.append(click)
            continue
        point = torch.tensor([click.at], dtype=torch.float64)
        best, found = 0.0, click
        for i in range(len(cameras)):
            weight, grid = places.seen(i, point, None)
            large = float(cameras.intrinsics[i, 0, 0] / cameras.sizes[i, 0]) / max(float(np.linalg.norm(cameras.centers[i] - point[0].numpy())), 1e-12)
            if (value := float(weight[0]) * large) > best:
                best, found = value, Click(i, (float(grid[0, 0]) / 2 + 0.5, float(grid[0, 1]) / 2 + 0.5), click.inside)
        out.append(found)
    return out


def select(
    inside: Int[ndarray, "p"], outside: Int[ndarray, "q"], regions: Regions, edges: Edges, evidence: Evidence | None = None
) -> Float[ndarray, "r"]:
    """The chance that each region belongs to what was clicked, 0 to 1.

    With clicks inside alone these are the things (as `merge` finds them) that were clicked on. With clicks on what does not belong to it, random walks
    decide, first in the photos that were clicked in; who clicks there looks at them until they are right, so that all
    of each then says what belongs to the thing and what does not, to the photos that nobody clicked in. What lies in the surface of the thing belongs to it (see `closed`).
    """
    how = evidence or Evidence()
    if not len(outside):
        label = merge(regions, edges, how)
        return closed(np.isin(label, label[inside]).astype(np.float64), outside, regions, edges)
    feature, graph = unit(regions.feature), conductances(regions, edges, how)
    sure = np.zeros(len(regions))
    sure[inside], sure[outside] = 1, -1
    first = _spread(sure, feature, regions, graph)
    there = np.isin(regions.view, np.unique(regions.view[np.concatenate([inside, outside])]))
    sure = np.where(there, 2 * first - 1, 0)
    sure[inside], sure[outside] = 1, -1
    return closed(np.where(there, first, _spread(sure, feature, regions, graph)), outside, regions, edges)


def closed(chance: Float[ndarray, "r"], outside: Int[ndarray, "q"], regions: Regions, edges: Edges) -> Float[ndarray, "r"]:
    """The same chances; 1 for what a photo shows as an island in the selection that lies in its surface, such as the windows of a house.

    Islands are small and have nothing but the selection around them; what shows through a hole, such as that of a cup's handle, is farther away. Islands that
    were clicked as outside stay.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    chosen, count = chance > 0.5, len(chance)
    touch = edges.border > 0
    a, b, border, step = edges.a[touch], edges.b[touch], edges.border[touch], edges.step[touch]
    apart = ~chosen[a] & ~chosen[b]
    islands, island = connected_components(coo_array((np.ones(int(apart.sum())), (a[apart], b[apart])), shape=(count, count)), directed=False)
    size = np.bincount(island, regions.pixels, islands)
    shore, jump = np.zeros(islands), np.zeros(islands)
    for mine, other in ((a, b), (b, a)):
        coast = ~chosen[mine] & chosen[other]
        shore += np.bincount(island[mine[coast]], border[coast], islands)
        jump += np.bincount(island[mine[coast]], step[coast], islands)
    selected = np.bincount(regions.view, regions.pixels * chosen)
    least = np.full(islands, np.inf)
    np.minimum.at(least, island, selected[regions.view])
    kept = np.isin(np.arange(islands), island[outside])
    filled = (shore > 0) & (size < ISLAND * least) & (jump < FLUSH * shore) & ~kept
    return np.where(~chosen & filled[island], 1.0, chance)


def conductances(regions: Regions, edges: Edges, evidence: Evidence | None = None, steep: float = STEEP, most: float = 9.0) -> Any:
    """How easily a walker passes between regions, as a symmetric sparse matrix.

    Args:
        steep: how much the log-odds of one thing say; ``most``: at most so much, in either direction 9 at most.
    """
    from scipy.sparse import coo_array

    how, count = evidence or Evidence(), len(regions)
    shared = np.sqrt(edges.shared) * how.weight
    odds = log_odds(how, unit(regions.feature), unit(regions.normal), edges.a, edges.b, edges.border, edges.outline, edges.step, shared, edges.share * shared)
    weight = (edges.border + shared) * np.exp(np.clip(steep * odds, -9, most))
    graph = coo_array((weight, (edges.a, edges.b)), shape=(count, count)).tocsr()
    return graph + graph.T


def _spread(sure: Float[ndarray, "r"], feature: Float[ndarray, "r c"], regions: Regions, graph: Any) -> Float[ndarray, "r"]:
    """From regions that are known (1 inside, -1 outside, 0 not known) to all."""
    inside, outside = sure > 0.4, sure < -0.4
    alike = (feature @ feature[inside].T).max(1)
    unlike = (feature @ feature[outside].T).max(1) if outside.any() else np.zeros(len(sure))
    # 1 for what looks like the inside, 0 for what looks like the outside, or like neither.
    looks = 1 / (1 + np.exp(-8 * (alike - np.maximum(unlike, 0.35))))
    ends_in = ENDS * regions.pixels * looks * outside.any()
    ends_out = ENDS * regions.pixels * (1 - looks)
    certain = 1e4 * regions.pixels * np.abs(sure)
    ends_in += np.where(inside, certain, 0)
    ends_out += np.where(outside, certain, 0)
    return walked(graph, ends_in, ends_in + ends_out + 1e-9)


def walked(graph: Any, value: Float[ndarray, "r"], ends: Float[ndarray, "r"]) -> Float[ndarray, "r"]:
    """Where random walks end: solves (degree + ends - graph) x = value.

    Args:
        graph: conductances, a symmetric sparse matrix.
        ends: of ending a walk at each node; ``value``: the part of it that counts as 1.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import cg

    # Scaled to a unit diagonal, for which conjugate gradients need but a few hundred steps; a direct solver fills its memory with the links between photos.
    scale = 1 / np.sqrt(np.asarray(graph.sum(1)).reshape(-1) + ends)
    shrink = diags_array(scale)
    system = diags_array(np.ones(len(scale))) - shrink @ graph @ shrink
    x, _ = cg(system.tocsr(), scale * value, rtol=1e-6, maxiter=3000)
    return np.clip(scale * x, 0, 1)
