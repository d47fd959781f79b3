"""Changed photos as files, for victims that read nothing else."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from attacks.case import Case
from data.errors import InputError
from data.images import save_image
from data.scene import Scene


def written(case: Case, images: Float[Tensor, "s 3 h w"], folder: Path) -> Scene:
    """A scene of PNG files with the case's cameras, masks and points.

    Raises:
        InputError: the case was not read from a scene.
    """
    if case.scene is None:
        raise InputError(f"The case '{case.name}' has no scene on disk, which this victim needs. Make it with attacks.case.read_case.")
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i, image in enumerate(case.pieces(images)):
        paths.append(folder / f"{i:03d}.png")
        levels = (image.permute(1, 2, 0).detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()
        save_image(paths[-1], np.ascontiguousarray(levels))
    masks: list[Path | None] = []
    for i, mask in enumerate(case.masks):
        masks.append(None if mask is None else folder / f"mask_{i:03d}.png")
        if mask is not None:
            save_image(folder / f"mask_{i:03d}.png", mask.numpy().astype(np.uint8) * 255)
    return replace(case.scene, root=folder, image_paths=tuple(paths), mask_paths=tuple(masks), depth_paths=())
