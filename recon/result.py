"""A finished result on disk, as editing and understanding take it up."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.masks import masks_mean
from data.readers.nerfstudio import read as read_transforms
from data.scene import Scene
from recon.surface.asset import Asset, load_asset
from recon.surface.realtime.baked import Baked
from recon.surface.realtime.stored import load_baked


@dataclass(frozen=True)
class Result:
    """Photos with cameras, a textured mesh, and the mesh with what stands behind it."""

    folder: Path
    scene: Scene
    asset: Asset
    baked: Baked
    report: dict[str, Any]


def open_result(folder: Path) -> Result:
    """Read a finished result.

    Raises:
        InputError: it is none, or a part is missing.
    """
    if not (folder / "mesh.glb").exists() or not (folder / "transforms.json").exists():
        raise InputError(f"'{folder}' holds no finished result. Run `lumigraph reconstruct` first.")
    scene = read_transforms(folder)
    scene = replace(scene, mask_meaning=masks_mean(scene))
    asset = load_asset(folder / "mesh.glb")
    baked = load_baked(folder, asset)
    try:
        report = json.loads((folder / "report.json").read_text())
    except (OSError, ValueError):
        report = {}
    return Result(folder, scene, asset, baked, report)
