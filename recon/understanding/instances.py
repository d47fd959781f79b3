"""Things that keep their number from view to view, of the scene as a whole or of one picture alone."""

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from data.worlds.labels import CLASSES
from recon.depthviews import DepthViews, Links, link, nearest
from recon.understanding.merging import Evidence, merge
from recon.understanding.regions import Edges, Regions, edges_of, means_over, of_pixels, regions_of
from recon.understanding.small.networks import Understood

NEIGHBOURS = 6
"""Photos that each photo is compared with."""
SURE = 0.5
"""Mean chance from which on something is called by its class."""
SURFACES = CLASSES[:2]
"""What has no number of pieces: sky and ground, the first of `CLASSES`. (Walls have: those of a room are several surfaces.)"""


def instances(said: Understood, views: DepthViews | None = None, evidence: Evidence | None = None) -> Int[ndarray, "n h w"]:
    """The thing that each pixel belongs to, from 0, the largest first. With ``views`` things have one number in all photos; without, photos are
    segmented one by one and share no numbers.

    Args:
        views: the same photos with depth, at the size of the network's answers.
    """
    return joined(regions_of(said, views=views), said, views, evidence)


def joined(regions: Regions, said: Understood, views: DepthViews | None = None, evidence: Evidence | None = None, dust: float = 0.0, links: Links | None = None,
    stuff: bool = True,
) -> Int[ndarray, "n h w"]:
    """The same from regions that are known already.

    Args:
        dust: see `merging.merge`.
        links: where the photos show the same, if known already.
        stuff: whether the pieces of the ground, and of the sky, are one each where they touch: they are no things that could be counted.
    """
    if links is None and views is not None and len(views) > 1:
        links = link(views, nearest(views.cameras, min(NEIGHBOURS, len(views) - 1)))
    edges = edges_of(regions, said, views, NEIGHBOURS, links)
    label = merge(regions, edges, evidence, dust)
    labels = of_pixels(surfaces_together(label, regions, edges, said) if stuff else label, regions)
    if links is not None:
        labels = agreed(labels, links)
    return by_size(labels)


def surfaces_together(label: Int[ndarray, "r"], regions: Regions, edges: Edges, said: Understood) -> Int[ndarray, "r"]:
    """The same labels of regions; those of the ground that touch or overlap as one, and those of the sky."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    count, mean = int(label.max()) + 1, means_over(torch.softmax(said.classes, dim=1)[:, : len(SURFACES)], of_pixels(label, regions))
    kind = np.where(mean.max(1) > SURE, mean.argmax(1), -1)
    a, b = label[edges.a], label[edges.b]
    same = (kind[a] >= 0) & (kind[a] == kind[b])
    graph = coo_array((np.ones(int(same.sum())), (a[same], b[same])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)[label]


def by_size(labels: Int[ndarray, "*n"]) -> Int[ndarray, "*n"]:
    """The same segments, numbered from the largest, 0, to the smallest."""
    counts = np.bincount(labels.reshape(-1))
    rank = np.empty(len(counts), np.int64)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return rank[labels]


def agreed(labels: Int[ndarray, "n h w"], links: Links, rounds: int = 2, own: float = 0.3) -> Int[ndarray, "n h w"]:
    """Every place takes the label that most views, weighed by how well they see it, give it.

    Args:
        own: weight of the view's own label beside the others, which together have up to one each.
    """
    here = torch.from_numpy(labels).to(links.weight.device)
    for _ in range(rounds):
        theirs = torch.stack([links.warped(here[:, None].float(), k, "nearest")[:, 0].long() for k in range(links.sources.shape[1])], dim=1)
        says = torch.cat([here[:, None], theirs], dim=1)
        weight = torch.cat([torch.full_like(links.weight[:, :1], own), links.weight], dim=1)
        votes = torch.stack([(weight * (says == says[:, k : k + 1])).sum(1) for k in range(says.shape[1])], dim=1)
        here = says.gather(1, votes.argmax(1, keepdim=True))[:, 0]
    return here.cpu().numpy()
