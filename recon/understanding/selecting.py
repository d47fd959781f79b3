"""Click to select: the thing that was clicked on, in every photo, by how alike regions look, how strong the outlines between them are, and where they
show the same place.

A random walk over the regions of all photos (Grady 2006): the chance that a walker from a region reaches a region that was clicked as inside before one
that was clicked as outside. It walks easily where the merging (`recon.understanding.merging`) believes in one thing, hardly across outlines. Regions that
look like nothing that was clicked may also end their walk outside, so that a single click selects a thing and not the world.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from data.errors import InputError
from recon.understanding.merging import Evidence, log_odds
from recon.understanding.regions import Edges, Regions, unit

STEEP = 1.2
"""How much the log-odds of one thing say about how easily the walker passes."""
OUTSIDE = 0.03
"""How often, relative to the area, a walker ends outside where nothing looks like what was clicked."""


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
    return np.unique(found[0]), np.setdiff1d(found[1], found[0])


def select(
    inside: Int[ndarray, "p"], outside: Int[ndarray, "q"], regions: Regions, edges: Edges, evidence: Evidence | None = None
) -> Float[ndarray, "r"]:
    """The chance that each region belongs to what was clicked, 0 to 1."""
    from scipy.sparse import coo_array, diags_array
    from scipy.sparse.linalg import spsolve

    how, count = evidence or Evidence(), len(regions)
    feature = unit(regions.feature)
    shared = np.sqrt(edges.shared) * how.weight
    odds = log_odds(how, feature, unit(regions.normal), edges.a, edges.b, edges.border, edges.outline, edges.step, shared, edges.share * shared)
    conductance = (edges.border + shared) * np.exp(np.clip(STEEP * odds, -9, 9))
    alike = (feature @ feature[inside].T).max(1)
    unlike = (feature @ feature[outside].T).max(1) if len(outside) else np.zeros(count)
    # 1 for what looks like the inside, 0 for what looks like the outside, or like neither.
    looks = 1 / (1 + np.exp(-8 * (alike - np.maximum(unlike, 0.35))))
    ends_in = OUTSIDE * regions.pixels * looks * (len(outside) > 0)
    ends_out = OUTSIDE * regions.pixels * (1 - looks)
    certain = 1e6 * regions.pixels.max()
    ends_in[inside] += certain
    ends_out[outside] += certain
    graph = coo_array((conductance, (edges.a, edges.b)), shape=(count, count)).tocsr()
    graph = graph + graph.T
    laplacian = diags_array(np.asarray(graph.sum(1)).reshape(-1) + ends_in + ends_out + 1e-9) - graph
    return np.clip(spsolve(laplacian.tocsc(), ends_in), 0, 1)
