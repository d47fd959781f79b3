"""What photos say about a mesh: a label for each face, its palette, areas and boxes, and parts cut out by label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from data.cameras import Cameras
from recon.surface.asset import Asset
from recon.surface.triangles import Triangles
from recon.understanding.lifting import LiftedField
from recon.understanding.prediction import Predictions


@dataclass(frozen=True)
class FaceLabels:
    """Of each face."""

    label: Int[ndarray, "f"]
    seen: Float[ndarray, "f"]
    """How many photos, weighed by how well they see it, had a say; 0: none, and the nearest face's label was taken."""
    agreement: Float[ndarray, "f"]
    """Share of that which is for the label."""


def face_labels(mesh: Triangles, labels: Sequence[Int[ndarray, "_ _"]], cameras: Cameras, depth: tuple[torch.Tensor, ...]) -> FaceLabels:
    """Each face takes the label that most photos give its centre, weighed by how well they see it.

    Args:
        labels: of each photo's pixels, any size; below 0: nothing.
        depth: of each photo, along its axis; 0 where unknown.
    """
    from scipy.spatial import cKDTree

    centres = mesh.vertices[mesh.faces].mean(1)
    across = np.cross(mesh.vertices[mesh.faces[:, 1]] - mesh.vertices[mesh.faces[:, 0]], mesh.vertices[mesh.faces[:, 2]] - mesh.vertices[mesh.faces[:, 0]])
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-30)
    lifted = LiftedField(Predictions("heat", ()), cameras, depth)
    highest, keys, weights = max(int(m.max()) for m in labels) + 1, [], []
    for i, m in enumerate(labels):
        weight, grid = (t.numpy() for t in lifted.seen(i, torch.from_numpy(centres), torch.from_numpy(across)))
        h, w = m.shape
        there = np.flatnonzero(weight > 0)
        x, y = (np.clip(((grid[there, d] + 1) / 2 * s).astype(int), 0, s - 1) for d, s in ((0, w), (1, h)))
        label = m[y, x]
        good = label >= 0
        keys.append(there[good] * highest + label[good])
        weights.append(weight[there[good]])
    key, inverse = np.unique(np.concatenate(keys), return_inverse=True)
    vote = np.bincount(inverse, np.concatenate(weights), len(key))
    face, label = key // max(highest, 1), key % max(highest, 1)
    total, best = np.bincount(face, vote, len(centres)), np.zeros(len(centres))
    np.maximum.at(best, face, vote)
    out = np.full(len(centres), -1, np.int64)
    winner = vote >= best[face]
    out[face[winner]] = label[winner]
    known = out >= 0
    if known.any() and not known.all():
        out[~known] = out[np.flatnonzero(known)[cKDTree(centres[known]).query(centres[~known])[1]]]
    return FaceLabels(np.maximum(out, 0), total, np.where(total > 0, best / np.maximum(total, 1e-12), 0))


def part(asset: Asset, faces: Int[ndarray, "f"]) -> Asset:
    """Some faces of a textured mesh, the texture as it is."""
    used, corners = np.unique(asset.mesh.faces[faces], return_inverse=True)
    return Asset(Triangles(asset.mesh.vertices[used], corners.reshape(-1, 3)), asset.uv, asset.uv_faces[faces], asset.texture, asset.provenance)


def palette(count: int) -> UInt8[ndarray, "count 3"]:
    """Colours that are told apart: hues a golden angle from one another, in three tones."""
    import colorsys

    tones = ((0.75, 0.92), (0.5, 0.75), (0.9, 0.6))
    rows = [colorsys.hsv_to_rgb((0.03 + 0.61803399 * i) % 1, *tones[i % 3]) for i in range(count)]
    return np.round(np.array(rows).reshape(-1, 3) * 255).astype(np.uint8)


def labelled_glb(mesh: Triangles, labels: Int[ndarray, "f"], colors: UInt8[ndarray, "l 3"], names: Sequence[str], provenance: dict[str, Any]) -> bytes:
    """A GLB coloured by label, crisp along the borders; `_LABEL` at the vertices is the label's number, and the names and colours are in the extras."""
    from recon.surface.formats.glb import glb

    key, corner = np.unique(mesh.faces.astype(np.int64) * (int(labels.max()) + 1) + labels[:, None], return_inverse=True)
    vertex, label = key // (int(labels.max()) + 1), key % (int(labels.max()) + 1)
    extras = {**provenance, "labels": [{"name": n, "color": [int(v) for v in c]} for n, c in zip(names, colors)]}
    return glb(
        mesh.vertices[vertex], mesh.vertex_normals[vertex], corner.reshape(-1, 3), extras, colors=colors[label], extra={"_LABEL": label.astype(np.float32)},
    )  # fmt: skip


def colored_glb(mesh: Triangles, colors: UInt8[ndarray, "v 3"], provenance: dict[str, Any]) -> bytes:
    """A GLB with colours at the vertices."""
    from recon.surface.formats.glb import glb

    return glb(mesh.vertices, mesh.vertex_normals, mesh.faces, provenance, colors=colors)


def facts_of(mesh: Triangles, faces: FaceLabels, names: Sequence[str], colors: UInt8[ndarray, "l 3"], photos: Sequence[Int[ndarray, "_ _"]]) -> list[dict[str, Any]]:
    """Name, colour, area, box and share of the photos of each label that is on the mesh or in a photo."""
    areas, out = mesh.face_areas, []
    pixels = sum(m.size for m in photos)
    for k, name in enumerate(names):
        mine = faces.label == k
        count = sum(int((m == k).sum()) for m in photos)
        if not mine.any() and not count:
            continue
        corners = mesh.vertices[np.unique(mesh.faces[mine])] if mine.any() else None
        out.append({
            "label": k, "name": name, "color": [int(v) for v in colors[k]], "area": round(float(areas[mine].sum()), 6), "faces": int(mine.sum()),
            "box": None if corners is None else np.round([corners.min(0), corners.max(0)], 6).tolist(),
            "share_of_photos": round(count / pixels, 5), "in_photos": [i for i, m in enumerate(photos) if (m == k).any()],
            "agreement": round(float(np.average(faces.agreement[mine], weights=areas[mine] + 1e-12)), 4) if mine.any() else None,
        })  # fmt: skip
    return out
