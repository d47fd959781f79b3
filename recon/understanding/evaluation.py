"""How good segments are that have numbers but no names, and how well views agree about them."""

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray
from torch import Tensor

from recon.depthviews import Links


def matched_iou(found: Int[ndarray, "*n"], true: Int[ndarray, "*n"], least: int = 50, ignore: int = -1) -> list[float]:
    """Intersection over union of every true segment and the found one that it is matched with, one to one, so that the sum is largest (Kuhn 1955).

    A true segment that is matched with none has 0. Over the pixels of one view it asks whether each view is segmented well; over those of all views of
    a scene at once, whether things also keep their numbers from view to view.

    Args:
        least: true segments with fewer pixels do not count.
        ignore: true label of pixels that do not count.
    """
    from scipy.optimize import linear_sum_assignment

    counted = true.reshape(-1) != ignore
    _, f = np.unique(found.reshape(-1)[counted], return_inverse=True)
    names, t = np.unique(true.reshape(-1)[counted], return_inverse=True)
    if not len(names):
        return []
    both = np.zeros((len(names), int(f.max()) + 1))
    np.add.at(both, (t, f), 1)
    iou = both / np.maximum(both.sum(1, keepdims=True) + both.sum(0, keepdims=True) - both, 1)
    rows, columns = linear_sum_assignment(-iou)
    out = np.zeros(len(names))
    out[rows] = iou[rows, columns]
    return [float(v) for v in out[both.sum(1) >= least]]


def class_iou(found: Int[ndarray, "*n"], true: Int[ndarray, "*n"], classes: int, ignore: int = -1) -> dict[int, float]:
    """Intersection over union of each class that is there in truth."""
    f, t = found.reshape(-1), true.reshape(-1)
    f, t = f[t != ignore], t[t != ignore]
    out = {}
    for k in range(classes):
        if (t == k).any():
            out[k] = float(((f == k) & (t == k)).sum() / ((f == k) | (t == k)).sum())
    return out


def view_agreement(labels: Int[Tensor, "n h w"], links: Links, inside: int = 1) -> float:
    """Of the pairs of views that show the same place, the share that give it the same label.

    Args:
        inside: pixels from a border on which places are not asked: where they are is not known better than to a pixel or two.
    """
    sources = labels.float()
    n, h, w = labels.shape
    near = torch.zeros(n, h, w, dtype=torch.bool, device=labels.device)
    for dy in range(-inside, inside + 1):
        for dx in range(-inside, inside + 1):
            near |= torch.roll(labels, (dy, dx), (1, 2)) != labels
    same = total = 0
    for rank in range(links.sources.shape[1]):
        theirs = links.warped(sources[:, None], rank, "nearest")[:, 0]
        border = links.warped(near[:, None].float(), rank, "nearest")[:, 0] > 0
        asked = links.same[:, rank] & ~near & ~border & (labels >= 0) & (theirs >= 0)
        same += int((asked & (theirs == sources)).sum())
        total += int(asked.sum())
    return same / max(total, 1)
