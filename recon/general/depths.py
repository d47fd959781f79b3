"""Depth pictures of the photos a general field looks at: from the volumes at once, from the geometry branch ray by ray."""

from collections.abc import Generator
from dataclasses import replace

import numpy as np
import torch

from data.progress import Progress
from data.scene import Scene
from recon.depthmaps import DepthMaps
from recon.general.engine import GeneralField, GeneralModel
from recon.surface.depth import elected, inside_box, inside_silhouettes, masked, render_depths
from recon.surface.options import SurfaceOptions


def general_depths(field: GeneralField, scene: Scene, options: SurfaceOptions) -> Generator[Progress, None, DepthMaps]:
    """Depths to fuse, inside the subject's box and silhouettes.

    Args:
        scene: the photos that the field looks at, in its order.
        options: with ``depth_sources`` above 0 the geometry branch is asked too, which joins what all views found; of both
            estimates the other views elect one at every pixel. Under a minute for 12 photos on two cores, where the volumes alone
            take none.
    """
    box = field.bounds
    slack = 0.004 * float(np.linalg.norm(box[1] - box[0]))

    def possible(maps: DepthMaps) -> DepthMaps:
        """What cannot be must not stand for election either."""
        maps = inside_box(masked(maps, scene), box)
        return inside_silhouettes(maps, scene, slack) if scene.mask_meaning == "object" else maps

    maps = possible((yield from volume_depths(field)))
    if options.depth_sources > 0:
        model = GeneralModel(field.model.network, replace(field.model.options, sources=options.depth_sources))
        with torch.no_grad():
            traced = yield from render_depths(replace(field, model=model), scene, round(0.6 * options.depth_side), np.zeros(len(scene)))
        maps = inside_box(elected(possible(traced), maps), box)
    return maps


def volume_depths(field: GeneralField, least: float = 0.15) -> Generator[Progress, None, DepthMaps]:
    """Depth pictures of all source views, where the volumes are sure enough.

    Args:
        least: smallest confidence kept, 0 to 1.
    """
    depth = []
    for i in range(len(field.cameras)):
        yield Progress("depth", i / len(field.cameras), f"view {i + 1} of {len(field.cameras)}")
        z, confidence = field.depth(i)
        depth.append(np.where(confidence >= least, z, 0).astype(np.float32))
    sizes = np.array([[d.shape[1], d.shape[0]] for d in depth])
    return DepthMaps(field.cameras.resized(sizes), depth)
