"""The `Baked` of a result folder: what `mesh.glb` and `images/` do not hold already, in `realtime/`."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from data.errors import InputError
from data.files import atomic_write, write_json
from data.readers.nerfstudio import read as read_transforms
from kernels.realtime import Blend
from recon.surface.asset import Asset, load_asset
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.baked import Baked, assemble
from recon.surface.triangles import Triangles

VERSION = 1


def save_baked(baked: Baked, result: Path) -> Path:
    """Write ``result/realtime/``: which photos, how they are weighed, the backdrops, the trust in each photo at each vertex."""
    from safetensors.numpy import save

    folder = result / "realtime"
    folder.mkdir(parents=True, exist_ok=True)
    around, count = baked.around, len(baked.asset.mesh.vertices)
    start = (*around.layers, len(around.faces))[0]
    backdrop = {"vertices": np.ascontiguousarray(around.vertices[count:]), "faces": np.ascontiguousarray(around.faces[start:] - count)}
    atomic_write(folder / "vertices.safetensors", save({"trust": around.trust, **backdrop}))
    write_json(folder / "realtime.json", {
        "format": "lumigraph realtime", "version": VERSION, "photos": list(baked.names), "photo_side": int(baked.cameras.sizes.max()),
        "blend": asdict(baked.how), "layers": list(around.layers), "origin": baked.origin.tolist(), "mesh_vertices": count,
    })  # fmt: skip
    return folder


def load_baked(result: Path, asset: Asset | None = None) -> Baked:
    """Read what `save_baked` wrote.

    Args:
        asset: the result's mesh, if it is loaded already.

    Raises:
        InputError: there is none, it is damaged, or it belongs to another mesh.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = result / "realtime"
    try:
        meta = json.loads((folder / "realtime.json").read_text())
        stored = load_file(folder / "vertices.safetensors")
    except (OSError, ValueError, SafetensorError) as error:
        raise InputError(f"'{folder}' cannot be read ({error}). Run `lumigraph reconstruct` again.") from None
    if meta.get("version") != VERSION:
        raise InputError(f"'{folder}' has version {meta.get('version')}, not {VERSION}. Run `lumigraph reconstruct` again.")
    asset = asset or load_asset(result / "mesh.glb")
    if meta["mesh_vertices"] != len(asset.mesh.vertices):
        raise InputError(f"'{folder}' belongs to another mesh than 'mesh.glb'. Run `lumigraph reconstruct` again.")
    scene = read_transforms(result)
    places = {path.name: i for i, path in enumerate(scene.image_paths)}
    lost = [name for name in meta["photos"] if name not in places]
    if lost:
        raise InputError(f"'{result}' has lost the photo '{lost[0]}' that its mesh shows. Run `lumigraph reconstruct` again.")
    options = RealtimeOptions(photos=len(meta["photos"]), photo_side=meta["photo_side"], blend=Blend(**meta["blend"]))
    vertices, faces = stored["vertices"].astype(np.float64) + np.array(meta["origin"]), stored["faces"].astype(np.int64)
    ends = [n - meta["layers"][0] for n in (*meta["layers"], len(faces) + meta["layers"][0])] if meta["layers"] else []
    behind = [Triangles(vertices, faces[a:b]).kept(np.arange(b - a)) for a, b in zip(ends[:-1], ends[1:], strict=True)]
    baked = assemble(asset, replace(scene, mask_meaning="ignore"), [places[name] for name in meta["photos"]], options, behind)
    return replace(baked, around=replace(baked.around, trust=stored["trust"]))
