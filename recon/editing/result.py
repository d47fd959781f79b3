"""An edited result on disk: the same folder as `reconstruct` writes, its photos edited, its mesh painted from them, and the photos before any edit."""

import json
import shutil
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

from data.errors import InputError
from data.files import write_json
from data.images import save_image
from data.progress import Progress
from data.scene import Scene
from data.writers import write_transforms
from recon.result import Result
from recon.surface.asset import Asset, load_asset
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.baked import Baked, assemble
from recon.surface.realtime.stored import save_baked
from recon.surface.texture import bake
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import Atlas

ORIGINALS = "originals"
"""Folder of the photos before any edit, which say what shape things have."""


def unedited(result: Result) -> Result:
    """The same result with its photos as they were before any edit.

    Raises:
        InputError: they are not there.
    """
    paths = []
    for path in result.scene.image_paths:
        found = before_edits(result.folder, path.stem)
        if found is None:
            raise InputError(f"'{result.folder}' has lost the photo '{path.stem}' from before the edits. Go back to the result that was edited.")
        paths.append(found)
    return replace(result, scene=replace(result.scene, image_paths=tuple(paths)), report={**result.report, "edits": []})


def before_edits(folder: Path, stem: str) -> Path | None:
    """A photo from before any edit of a result; None where it was never edited."""
    return next((p for p in (folder / ORIGINALS / f"{stem}{s}" for s in (".jpg", ".png")) if p.exists()), None)


@dataclass(frozen=True)
class Changes:
    """What an edit leaves of a result."""

    photos: Sequence[UInt8[ndarray, "_ _ 3"]]
    masks: Sequence[Bool[ndarray, "_ _"]] | None = None
    """New silhouettes of the subject; those of before if not given."""
    faces: Int[ndarray, "f"] | None = None
    """Numbers of the mesh's faces that stay; all if not given. The shape changes then, and the edited photos are what shows it."""


def write_result(result: Result, changes: Changes, out: Path) -> Generator[Progress, None, Asset]:
    """Write the edited photos, the field that looks at them, the mesh painted from them and the real-time blend, all into ``out``."""
    scene = yield from _photos(result, changes, out)
    asset = result.asset
    mesh, atlas = asset.mesh, Atlas(asset.uv, asset.uv_faces)
    if changes.faces is not None:
        mesh, atlas = _part(asset, changes.faces)
    _field(result, scene, out, shape=changes.faces is None)
    painted = yield from bake(mesh, scene, asset.texture.shape[0], atlas=atlas)
    painted = replace(painted, provenance=asset.provenance)
    yield Progress("texture", 0.97, "writing the mesh")
    painted.write(out / "mesh.glb")
    yield Progress("realtime", 0.0, "photos on the mesh")
    again = load_asset(out / "mesh.glb")
    save_baked(rebaked(result.baked, again, scene), out)
    if (run := result.folder / "run.toml").exists():  # how the scene came about that was edited
        shutil.copyfile(run, out / "run.toml")
    return again


def rebaked(baked: Baked, asset: Asset, scene: Scene) -> Baked:
    """The same real-time blend of another mesh and other photos of the same cameras."""
    names = [p.stem for p in scene.image_paths]
    views = [names.index(Path(name).stem) for name in baked.names]
    options = RealtimeOptions(photos=len(views), photo_side=int(baked.cameras.sizes.max()), blend=baked.how)
    return assemble(asset, scene if scene.mask_meaning == "object" else replace(scene, mask_paths=()), views, options, baked.backdrops())


def _photos(result: Result, changes: Changes, out: Path) -> Generator[Progress, None, Scene]:
    """The photos as PNG, since a second JPEG would change what no edit touched; and those before any edit."""
    old = result.scene
    (out / "images").mkdir(parents=True, exist_ok=True)
    paths = [out / "images" / f"{path.stem}.png" for path in old.image_paths]
    for i, (path, photo) in enumerate(zip(paths, changes.photos, strict=True)):
        yield Progress("photos", i / len(paths), f"photo {i + 1} of {len(paths)}")
        save_image(path, photo)
    if changes.faces is None:
        (out / ORIGINALS).mkdir(exist_ok=True)
        for path in old.image_paths:
            source = before_edits(result.folder, path.stem) or path
            shutil.copyfile(source, out / ORIGINALS / f"{path.stem}{source.suffix}")
    masks: tuple[Path | None, ...] = ()
    if changes.masks is not None or old.mask_paths:
        (out / "masks").mkdir(exist_ok=True)
        masks = tuple(out / "masks" / f"{path.stem}.png" for path in paths)
        for i, target in enumerate(masks):
            mask = old.mask(i) if changes.masks is None else changes.masks[i]
            save_image(target, np.asarray(mask).astype(np.uint8) * 255)  # type: ignore[arg-type]
    meaning = "object" if changes.masks is not None else old.mask_meaning
    scene = replace(old, root=out, image_paths=tuple(paths), mask_paths=masks, mask_meaning=meaning if masks else None, depth_paths=())
    write_transforms(out, scene)
    return scene


def _part(asset: Asset, faces: Int[ndarray, "f"]) -> tuple[Triangles, Atlas]:
    """Some faces of a mesh with their texture coordinates.

    Raises:
        InputError: none is left.
    """
    if not len(faces):
        raise InputError("The edit would leave nothing of the mesh. Choose another region.")
    used, corners = np.unique(asset.mesh.faces[faces], return_inverse=True)
    mesh = Triangles(asset.mesh.vertices[used], corners.reshape(-1, 3))
    uv_used, uv_corners = np.unique(asset.uv_faces[faces], return_inverse=True)
    return mesh, Atlas(asset.uv[uv_used], uv_corners.reshape(-1, 3))


def _field(result: Result, scene: Scene, out: Path, shape: bool) -> None:
    """`field.json` of a field that blends the edited photos. It is the general engine's, whichever engine made the result: its colours are the
    photos', so that nothing need be trained.

    Args:
        shape: the photos before the edits say what shape things have.
    """
    from recon.general.engine import ConditionOptions
    from recon.general.photos import describe_field

    try:
        old = json.loads((result.folder / "field" / "field.json").read_text())
    except (OSError, ValueError):
        old = {}
    general = old.get("format") == "lumigraph general field"
    meta = old if general else describe_field(scene, depth_ranges(result), _box(result), ConditionOptions(side=int(min(scene.posed().sizes.max(), 960))))
    names = {path.stem: path.name for path in scene.image_paths}
    meta = {**meta, "photos": [names[Path(name).stem] for name in meta["photos"]], "shape": ORIGINALS if shape else None}
    (out / "field").mkdir(exist_ok=True)
    write_json(out / "field" / "field.json", meta)
    for name in ("tuned.safetensors", "tuned.json"):
        if general and (result.folder / "field" / name).exists():
            shutil.copyfile(result.folder / "field" / name, out / "field" / name)


def _box(result: Result) -> Any:
    """Of the mesh, with a margin."""
    low, high = result.asset.mesh.vertices.min(0), result.asset.mesh.vertices.max(0)
    return np.stack([low, high]) + 0.05 * (high - low) * np.array([[-1], [1]])


def depth_ranges(result: Result) -> Float[ndarray, "n 2"]:
    """Ranges of z-depth of each photo, from the mesh and what stands behind it."""
    from recon.depthviews import depths, resized, view_size

    cameras = result.scene.posed()
    every = depths(result.baked, resized(cameras, view_size(cameras.sizes, 128)))
    out = []
    for depth in every.numpy():
        known = depth[depth > 0]
        low, high = np.percentile(known, [0.5, 99.5]) if len(known) else (0.1, 10.0)
        out.append([0.85 * low, 1.25 * high])
    return np.array(out)
