"""`Answer`: what was found out about a scene, as labels or as values, for every photo and for the mesh."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor
from torch.nn import functional as F

from data.worlds.labels import CLASSES, PATTERNS
from recon.understanding.asked import Asked
from recon.understanding.evaluation import view_agreement
from recon.understanding.instances import NEIGHBOURS, SURE, agreed, joined
from recon.understanding.lifting import Lifted, LiftedField
from recon.understanding.merging import Evidence
from recon.understanding.prediction import Predictions
from recon.understanding.regions import Regions, edges_of, means_over, measured, points_of, regions_of
from recon.understanding.selecting import Click, clicked, conductances, in_photos, select, walked
from recon.understanding.small.networks import Understood

DUST = 4e-3
"""Share of a photo that a thing must have, times the square root of the number of photos, not to be swept up by a neighbour."""
FLAT = Evidence((3.0, -1.0, 0.0, -18.0, 0.0, -25.0), (2.0, 0.5, -12.0))
"""One plane: by how alike the planes are that the regions lie in (`_plane_features`), and steps of depth."""
MATERIAL = Evidence((3.0, -2.0, -1.0, -7.0, 0.0, 0.0), (1.0, 1.0, -7.0))
"""One material: by how alike materials look; outlines between things hardly matter."""


@dataclass(frozen=True)
class Answer:
    """Labels, or values; never both."""

    task: str
    labels: Int[ndarray, "n h w"] | None = None
    names: tuple[str, ...] = ()
    """Of the labels."""
    values: Predictions | None = None
    """Of the photos, lifted and seen from each of them: every photo shows what all say together."""
    heat: Float[ndarray, "n h w"] | None = None
    """Of select and foreground: how sure each pixel's label is."""
    facts: dict[str, Any] = field(default_factory=dict)


def things(asked: Asked, said: Understood, given: Int[ndarray, "n h w"] | None = None) -> Answer:
    """Things, one number in all photos, named by the class that the network finds likelier than all others together; what it does not know is a "thing".

    Args:
        given: regions of each photo by another method, numbers run on from photo to photo; found with the network if not given.
    """
    views = asked.views
    regions = regions_of(said, views=views) if given is None else measured(given, said, views)
    labels = _joined(regions, said, asked, None)
    score = means_over(torch.softmax(said.classes, dim=1), labels)
    kinds = [CLASSES[k] if s > SURE else "thing" for k, s in zip(score.argmax(1), score.max(1))]
    return _answer("instances", asked, labels, numbered(kinds), {"classes": kinds})


def materials(asked: Asked, said: Understood) -> Answer:
    """Surfaces of one material, named by their pattern."""
    other = replace(said, instance=said.material)
    regions = regions_of(other, views=asked.views)
    labels = _joined(regions, other, asked, MATERIAL)
    score = means_over(torch.softmax(said.patterns, dim=1), labels)
    return _answer("materials", asked, labels, numbered([PATTERNS[k] for k in score.argmax(1)]), {})


def planes(asked: Asked, said: Understood) -> Answer:
    """Flat surfaces; label 0 is what is not flat."""
    other = replace(said, instance=_plane_features(asked, said).to(said.instance.device))
    regions = regions_of(other, views=asked.views)
    labels = _joined(regions, other, asked, FLAT)
    flat = means_over(torch.sigmoid(said.flat), labels)[:, 0]
    size = np.bincount(labels.reshape(-1))
    good = (flat > 0.5) & (size > 0.01 * labels[0].size * len(labels) ** 0.5)
    number = np.where(good, np.cumsum(good), 0)
    return _answer("planes", asked, number[labels], ("not flat", *(f"plane {i + 1}" for i in range(int(good.sum())))), {})


def classes(asked: Asked, scores: Predictions) -> Answer:
    """Named classes; every photo takes what all say together."""
    blended = seen_together(scores, asked)
    labels = np.stack([m.argmax(0).cpu().numpy() for m in blended.maps])
    return _answer("segment", asked, labels, scores.names, {})


def foreground(asked: Asked, said: Understood) -> Answer:
    """The subject: the things, not ground, walls or sky, that the photos have in their middle."""
    regions = regions_of(said, views=asked.views)
    heat = _smooth(regions.thing, regions, said, asked)[regions.maps]
    return _answer("foreground", asked, (heat > 0.5).astype(np.int64), ("background", "subject"), {}, heat)


def selection(asked: Asked, said: Understood, clicks: Sequence[Click]) -> Answer:
    """What was clicked on."""
    regions = regions_of(said, views=asked.views)
    inside, outside = clicked(in_photos(clicks, asked.views.cameras, asked.depth), regions)
    heat = select(inside, outside, regions, edges_of(regions, said, asked.views, NEIGHBOURS, asked.links))[regions.maps]
    labels = (heat > 0.5).astype(np.int64)
    if asked.links is not None:
        labels = agreed(labels, asked.links, 1, 1.0)
    return _answer("select", asked, labels, ("rest", "selected"), {}, heat)


def values(task: str, asked: Asked, predictions: Predictions) -> Answer:
    """Features, normals, edges and the like: every photo shows what all say together."""
    return Answer(task, values=seen_together(predictions, asked), facts={})


# --- inside ------------------------------------------------------------------------------------------------------


def seen_together(predictions: Predictions, asked: Asked, own: float = 0.5) -> Predictions:
    """Each photo's prediction blended with those of the others that see the same places.

    Args:
        own: weight of the photo's own beside the others, which have up to one each.
    """
    views, links = asked.views, asked.links
    if links is None:
        return predictions
    size = views.depth.shape[1:]
    maps = torch.stack([F.interpolate(m[None].float(), size, mode="bilinear", align_corners=False)[0] if m.shape[1:] != size else m.float() for m in predictions.maps])
    maps = maps.to(views.depth.device)
    turn = torch.from_numpy(views.cameras.camera_to_world[:, :3, :3]).to(maps)
    if predictions.kind == "normals":
        maps = torch.einsum("nij,njhw->nihw", turn, maps)
    out, total = links.blended(maps, own)
    if predictions.kind == "scores":
        out = out / out.sum(1, keepdim=True).clamp(min=1e-9)
    elif predictions.kind in ("features", "normals"):
        out = F.normalize(out, dim=1)
    if predictions.kind == "normals":
        out = torch.einsum("nji,njhw->nihw", turn, out)
    return Predictions(predictions.kind, tuple(out.cpu()), predictions.names)


def on_mesh(answer: Answer, asked: Asked) -> Lifted:
    """The values of an answer at the vertices of the result's mesh."""
    assert answer.values is not None
    return LiftedField(answer.values, asked.views.cameras, asked.depth).on_mesh(asked.result.asset.mesh)


def numbered(names: Sequence[str]) -> tuple[str, ...]:
    """Names that occur more than once get numbers: cup, cup 2, cup 3."""
    count: dict[str, int] = {}
    out = []
    for name in names:
        count[name] = count.get(name, 0) + 1
        out.append(name if count[name] == 1 else f"{name} {count[name]}")
    return tuple(out)


def pca_colors(features: Float[ndarray, "p e"], few: int = 20000) -> tuple[Float[ndarray, "e 3"], Float[ndarray, "3"], Float[ndarray, "3"]]:
    """A map from features to colours: their three main directions, offset and spread."""
    some = features[:: max(len(features) // few, 1)]
    mean = some.mean(0)
    _, _, v = np.linalg.svd(some - mean, full_matrices=False)
    axes = v[:3].T
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])  # the same colours whatever the sign the library returns
    flat = (some - mean) @ axes
    return axes, mean @ axes, np.maximum(flat.std(0), 1e-6)


def colored(features: Float[ndarray, "p e"], how: tuple[ndarray, ndarray, ndarray]) -> UInt8[ndarray, "p 3"]:
    """Colours by `pca_colors`."""
    axes, offset, spread = how
    return np.round(np.clip((features @ axes - offset) / (4 * spread) + 0.5, 0, 1) * 255).astype(np.uint8)


def _joined(regions: Regions, said: Understood, asked: Asked, evidence: Evidence | None) -> Int[ndarray, "n h w"]:
    dust = DUST * regions.maps[0].size * len(asked.views) ** 0.5  # in how many photos a small thing is seen is not known; in some
    return joined(regions, said, asked.views, evidence, dust, asked.links, stuff=evidence is None)


def _plane_features(asked: Asked, said: Understood, fine: float = 0.12) -> Float[Tensor, "n 6 h w"]:
    """Unit vectors that are alike where pixels lie in one plane: its normal N and offset d as (cos(d / s) N, sin(d / s) N).

    The normal is that of the depth, or the network's where depth breaks off or is unknown.

    Args:
        fine: s, relative to how far the scene reaches; planes three times as far apart are as unlike as can be.
    """
    views, n = asked.views, len(asked.views)
    points = torch.from_numpy(np.stack([points_of(views, i) for i in range(n)])).permute(0, 3, 1, 2).float()
    known = (views.depth.cpu() > 0)[:, None]
    centre = points.permute(0, 2, 3, 1)[known[:, 0]].median(0).values[None, :, None, None] if known.any() else torch.zeros(1, 3, 1, 1)
    points = points - centre
    soft = F.avg_pool2d(F.pad(points, (2, 2, 2, 2), mode="replicate"), 5, 1)
    across = F.pad(soft[..., 4:] - soft[..., :-4], (2, 2, 0, 0), mode="replicate")
    down = F.pad(soft[..., 4:, :] - soft[..., :-4, :], (0, 0, 2, 2), mode="replicate")
    normal = F.normalize(torch.cross(down, across, dim=1), dim=1)
    turn = torch.from_numpy(views.cameras.camera_to_world[:, :3, :3]).float()
    guessed = torch.einsum("nij,njhw->nihw", turn, said.normal.cpu())
    inside = -F.max_pool2d(-known.float(), 7, 1, 3) > 0
    # Across a break of depth the surface seems to turn away from the camera: there, and nowhere else, network and depth contradict each other much.
    trusted = inside & ((normal * guessed).sum(1, keepdim=True) > 0.3)
    normal = torch.where(trusted, normal, guessed)
    reach = points.norm(dim=1)[known[:, 0]].median() if known.any() else torch.ones(())
    angle = (normal * points).sum(1, keepdim=True) / (fine * reach).clamp(min=1e-9)
    return F.normalize(torch.cat([angle.cos() * normal, angle.sin() * normal], dim=1), dim=1)


def _smooth(chance: Float[ndarray, "r"], regions: Regions, said: Understood, asked: Asked, pull: float = 0.5) -> Float[ndarray, "r"]:
    """Chances that agree between regions that are likely one thing: a random walk that may end anywhere."""
    graph = conductances(regions, edges_of(regions, said, asked.views, NEIGHBOURS, asked.links), steep=1.0, most=4.0)
    ends = pull * regions.pixels
    return walked(graph, ends * chance, ends)


def _answer(task: str, asked: Asked, labels: ndarray, names: Sequence[str], facts: dict[str, Any], heat: ndarray | None = None) -> Answer:
    if asked.links is not None:
        facts = {**facts, "views_agree": round(view_agreement(torch.from_numpy(labels).to(asked.links.weight.device), asked.links), 4)}
    return Answer(task, labels, tuple(names), heat=heat, facts=facts)
