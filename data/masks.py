"""What a set of masks means: an object cut out of its surroundings, or spots to ignore."""

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

from data.scene import MaskMeaning, Scene


def masks_mean(scene: Scene) -> MaskMeaning | None:
    """`object` when the masks cut a compact thing out of every frame, `ignore` when they hide spots; None without masks.

    Formats that define it (alpha channels, NeuS / IDR) say so in `Scene.mask_meaning`. nerfstudio's convention is to
    ignore black pixels, yet object scans are shipped in it as well: there the frame's border decides, because a
    cut-out leaves it black while an ignored passer-by does not.
    """
    if scene.mask_meaning is not None:
        return scene.mask_meaning
    masks = [scene.mask(int(i)) for i in np.unique(np.linspace(0, len(scene) - 1, min(len(scene), 8)).astype(int))]
    if any(mask is None for mask in masks):
        return None if all(mask is None for mask in masks) else "ignore"
    border = np.mean([_border(mask).mean() for mask in masks if mask is not None])
    return "object" if border < 0.35 else "ignore"


def _border(mask: Bool[ndarray, "h w"]) -> Bool[ndarray, "p"]:
    return np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
