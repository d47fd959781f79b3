"""A finished result in another form: a mesh for some program, a page, a point cloud, a data set."""

import re
import shutil
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data.errors import InputError
from data.progress import Progress
from data.readers.nerfstudio import read as read_transforms
from recon.surface.asset import Asset, load_asset

Format = Literal["glb", "obj", "ply", "stl", "usdz", "points", "html", "transforms", "colmap"]
Target = Literal["none", "blender", "unity", "web", "print"]
TEXTURES = (256, 8192)
"""Sides of a texture, smallest and largest."""
POINTS = 200_000
PAGE_FACES = 40_000
"""Faces of a page's mesh and backdrops if nothing is said: what a phone draws at once."""


@dataclass(frozen=True)
class ExportTask:
    """See `lumigraph export --help`."""

    result: Path
    format: Format | None = None
    target: Target = "none"
    out: Path | None = None
    faces: int | None = None
    texture: int | None = None
    look: Literal["lit", "unlit"] | None = None
    colors: Literal["texture", "vertices"] | None = None
    levels: int = 1
    flatten: bool = False
    normal_map: bool = False
    quads: bool = False
    part: str = ""

    def settled(self) -> "ExportTask":
        """With all that the target decides, where nothing else was said.

        Raises:
            InputError: a number that cannot be.
        """
        low, high = TEXTURES
        if self.texture is not None and not low <= self.texture <= high:
            raise InputError(f"A texture of {self.texture} texels a side cannot be made. Give --texture between {low} and {high}.")
        if self.faces is not None and self.faces < 100:
            raise InputError(f"--faces {self.faces} leaves no shape. Give 100 or more.")
        if not 1 <= self.levels <= 8:
            raise InputError(f"--levels {self.levels} cannot be made. Give 1 to 8; each has half the faces of the one before.")
        preset = _PRESETS[self.target]
        settled = replace(self, **{key: value for key, value in preset.items() if getattr(self, key) is None})
        if self.quads and settled.format != "obj":
            raise InputError(f"--quads needs a format that holds quads, and {settled.format} does not. Give --format obj.")
        if self.part and settled.format in ("html", "transforms", "colmap"):
            raise InputError(f"--part is of the mesh, and {settled.format} holds the whole scene. Give glb, obj, ply, stl, usdz or points.")
        if self.normal_map and (settled.format != "glb" or settled.look == "unlit" or settled.colors == "vertices"):
            raise InputError("--normal-map needs --format glb, --look lit and --colors texture: light is what shows it, and GLB says how it is meant.")
        if self.normal_map and settled.faces is None and settled.levels == 1:
            raise InputError("--normal-map keeps the shape that fewer faces lose. Give --faces as well.")
        return settled


_PRESETS: dict[str, dict[str, Any]] = {
    "none": {"format": "glb", "look": "lit", "colors": "texture"},
    "blender": {"format": "glb", "look": "lit", "colors": "texture"},
    "unity": {"format": "glb", "look": "unlit", "colors": "texture", "faces": 60_000, "texture": 2048},
    "web": {"format": "glb", "look": "unlit", "colors": "texture", "faces": 30_000, "texture": 2048},
    "print": {"format": "stl", "look": "lit", "colors": "texture", "faces": 200_000},
}


def export(task: ExportTask) -> Generator[Progress, None, dict[str, Any]]:
    """Write what is asked for; the value names the files and the mesh's statistics.

    Raises:
        InputError: there is no result, or the options cannot be.
    """
    task = task.settled()
    if not (task.result / "mesh.glb").exists():
        raise InputError(f"'{task.result}' holds no mesh.glb. Run `lumigraph reconstruct` first.")
    if task.format in ("transforms", "colmap"):
        return (yield from _data_set(task))
    out = _target_file(task)
    out.parent.mkdir(parents=True, exist_ok=True)
    yield Progress("export", 0.05, "reading the mesh")
    if task.format == "html":
        return (yield from _page(task, out))
    asset = load_asset(task.result / "mesh.glb")
    if task.part:
        from recon.understanding.answered import region_on_mesh
        from recon.understanding.meshes import part

        asset = part(asset, region_on_mesh(task.result, task.part, len(asset.mesh.faces)))
    if task.target == "print":
        from recon.surface.formats.stl import stl
        from recon.surface.solid import solid

        if out.suffix != ".stl":
            raise InputError("--for print writes a closed solid as STL. Leave --format out, or give stl.")
        yield Progress("export", 0.2, "closing the surface")
        closed = solid(asset.mesh, task.faces or 200_000)
        from data.files import atomic_write

        atomic_write(out, stl(closed.vertices, closed.faces))
        return {"files": [str(out)], "vertices": len(closed.vertices), "faces": len(closed.faces), "watertight": True}
    if task.format == "points":
        from data.files import atomic_write
        from recon.surface.formats.ply import ply

        atomic_write(out, ply(*asset.point_cloud(task.faces or POINTS)))
        return {"files": [str(out)], "points": task.faces or POINTS}
    files, first = [], None
    for level in range(task.levels):
        budget = (task.faces or len(asset.mesh.faces)) >> level
        made = yield from remade(asset, task, budget if task.faces or level else None)
        path = out if level == 0 else out.with_name(f"{out.stem}_lod{level}{out.suffix}")
        made.write(path, task.look or "lit", task.colors or "texture", jpeg=task.target == "web")
        files.append(str(path))
        first = first or made.statistics
    assert first is not None
    return {"files": files, **first}


def remade(asset: Asset, task: ExportTask, faces: int | None) -> Generator[Progress, None, Asset]:
    """The asset with fewer faces or another texture, painted from the photos anew; as it is where neither is asked for."""
    from recon.surface.cleaning import decimated
    from recon.surface.quads import remeshed
    from recon.surface.relief import normal_map
    from recon.surface.repair import sound
    from recon.surface.texture import bake

    texture = task.texture or asset.texture.shape[0]
    fewer = faces is not None and faces < len(asset.mesh.faces)
    if not fewer and not task.flatten and not task.quads and texture == asset.texture.shape[0]:
        return asset
    whole = mesh = sound(asset.mesh)
    pairs = 0
    if task.quads:
        yield Progress("export", 0.1, "quads")
        mesh, pairs = remeshed(whole, (faces or len(asset.mesh.faces)) // 2)
    elif fewer:
        mesh = sound(decimated(mesh, faces or 0))
    painted = yield from bake(mesh, read_transforms(task.result), texture, flatten=task.flatten)
    painted = replace(painted, provenance=asset.provenance, pairs=pairs)
    if not task.normal_map:
        return painted
    yield Progress("export", 0.9, "normal map")
    return replace(painted, relief=normal_map(painted, whole))


def _target_file(task: ExportTask) -> Path:
    suffix = ".ply" if task.format == "points" else f".{task.format}"
    default = {"points": "cloud.ply", "html": "view.html"}.get(str(task.format), f"mesh{'' if task.target == 'none' else '_' + task.target}{suffix}")
    if task.part:  # never over the whole mesh
        name = re.sub('[^a-z0-9]+', '_', task.part.lower()).strip('_')
        default = f"{name if task.target == 'none' else f'{name}_{task.target}'}{suffix}"
    out = task.out or task.result / default
    return out if out.suffix.lower() == suffix else out.with_suffix(suffix)


def _page(task: ExportTask, out: Path) -> Generator[Progress, None, dict[str, Any]]:
    from app.viewer import write_page
    from recon.surface.realtime.baked import lighter
    from recon.surface.realtime.stored import load_baked

    yield Progress("export", 0.2, "reading photos")
    baked = lighter(load_baked(task.result), task.faces or PAGE_FACES)
    yield Progress("export", 0.7, "writing the page")
    write_page(baked, out, task.result.resolve().name)
    return {"files": [str(out)], "faces": len(baked.around.faces), "photos": len(baked.names)}


def _data_set(task: ExportTask) -> Generator[Progress, None, dict[str, Any]]:
    """Photos with their cameras, undistorted, in the input's coordinates."""
    from data.writers import write_colmap, write_points, write_transforms

    scene = read_transforms(task.result)
    out = task.out or task.result / str(task.format)
    if (out / "images").resolve() == (task.result / "images").resolve():
        raise InputError(f"'{out}' is the result itself. Choose another folder with -o.")
    (out / "images").mkdir(parents=True, exist_ok=True)
    paths = []
    for i, path in enumerate(scene.image_paths):
        yield Progress("export", i / len(scene), f"photo {i + 1} of {len(scene)}")
        paths.append(out / "images" / path.name)
        partial = paths[-1].with_name(f".{path.name}.part")
        shutil.copyfile(path, partial)
        partial.replace(paths[-1])
    root = out / "images" if task.format == "colmap" else out
    moved = replace(scene, root=root, image_paths=tuple(paths), mask_paths=(), depth_paths=())
    written = write_colmap(out, moved) if task.format == "colmap" else write_transforms(out, moved)
    if task.format == "colmap" and scene.points is not None:
        write_points(out / "points.ply", scene.points)
    return {"files": [str(written)], "photos": len(scene)}
