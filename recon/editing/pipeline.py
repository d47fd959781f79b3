"""A result to an edited result: one generator, which writes a folder under another name until all of it is there."""

import resource
import shutil
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from numpy import ndarray

from data.errors import Cancelled, InputError, OutputError
from data.files import write_json
from data.images import resize, save_image
from data.progress import Progress
from recon import previews
from recon.depthviews import DepthViews, depth_views, link, nearest, small_photos, view_size, warp_error
from recon.editing import transfer
from recon.editing.classical import kept_faces, parse_color, recolored, removed, with_background
from recon.editing.editors import open_editor
from recon.editing.loop import Edited, LoopOptions, edit_alone, edit_consistently
from recon.editing.options import EditOptions, EditTask
from recon.editing.prompts import checked
from recon.editing.protocol import ImageEditor
from recon.editing.regions import as_box, region_masks, soft
from recon.editing.remembered import Remembered
from recon.editing.result import Changes, rebaked, unedited, write_result
from recon.editing.stack import Step, named, read_stack, write_stack
from recon.result import Result, open_result

SHARES = {"read": 2, "edit": 60, "photos": 6, "texture": 18, "realtime": 4, "previews": 6}
"""Stages and their typical shares of an edit's time."""


def overall(progress: Progress) -> float:
    """Share of the whole work that is done, 0 to 1."""
    total, before = sum(SHARES.values()), 0.0
    for stage, share in SHARES.items():
        if stage == progress.stage:
            return (before + share * max(progress.fraction, 0.0)) / total
        before += share
    return 1.0


@dataclass(frozen=True)
class _Done:
    """What one edit made, and what is known of it."""

    changes: Changes
    facts: dict[str, Any]


def edit(task: EditTask) -> Generator[Progress, None, dict[str, Any]]:
    """Do it; the value is the report.

    Raises:
        InputError: the result, the prompt, the region, the model or the output folder cannot be used.
        OutputError: nothing can be written there.
    """
    started, steps = time.perf_counter(), _steps(task)
    if task.out.exists() and not task.overwrite and (not task.out.is_dir() or any(task.out.iterdir())):
        raise InputError(f"'{task.out}' already holds something. Replace it with --overwrite, or choose another folder.")
    if task.out.resolve() == task.result.resolve():
        raise InputError("The edited result cannot be written over the result that it is made of. Choose another folder.")
    yield Progress("read", 0.0, "opening the scene")
    base = open_result(task.result)
    partial = task.out.with_name(f".{task.out.name}.part")
    answers = partial / ".work" / "answers"
    _cleared(partial, answers)
    try:
        partial.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"'{task.out}' cannot be written ({error.strerror}). Choose another folder.") from None
    try:
        current = unedited(base) if task.undo else base
        seconds: dict[str, float] = {}
        again = steps[: len(steps) - 1] if task.repeat is None and not task.undo else []
        fresh = steps[len(again) :]
        facts: list[dict[str, Any]] = list(base.report.get("edits", [])) if again else []
        for number, step in enumerate(fresh):
            last = number == len(fresh) - 1
            folder = partial if last else partial / ".work" / str(number)
            begun = time.perf_counter()
            done = yield from _one(current, step, answers)
            seconds["edit"] = round(seconds.get("edit", 0.0) + time.perf_counter() - begun, 3)
            begun = time.perf_counter()
            asset = yield from write_result(current, done.changes, folder)
            seconds["write"] = round(seconds.get("write", 0.0) + time.perf_counter() - begun, 3)
            facts.append({"prompt": step.prompt, "do": step.options.do, "region": named(step.options.region), **done.facts})
            current = open_result(folder)
        if not fresh:  # everything was undone
            asset = yield from write_result(current, Changes([current.scene.image(i) for i in range(len(current.scene))]), partial)
            current = open_result(partial)
        write_stack(partial, steps)
        yield Progress("previews", 0.0, "pictures of the mesh")
        sides = yield from previews.four_sides(asset, current.scene.posed(), partial)
        pairs = _compared(base, current, partial)
        report = _report(base, current, steps, facts, {**seconds, "total": round(time.perf_counter() - started, 3)}, sides, pairs)
        write_json(partial / "report.json", report)
        shutil.rmtree(partial / ".work", ignore_errors=True)
        if task.out.exists():
            shutil.rmtree(task.out) if task.out.is_dir() else task.out.unlink()
        partial.replace(task.out)
    except (GeneratorExit, Cancelled, KeyboardInterrupt):  # the next try goes on from what has been edited
        _cleared(partial, answers)
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    yield Progress("previews", 1.0, "done")
    return report


def edited_photos(folder: Path, prompt: str, options: EditOptions, work: Path) -> Generator[Progress, None, tuple[Changes, dict[str, Any]]]:
    """The photos of a result, edited by a sentence, in memory, and what is known of the edit: `edit` without the mesh.

    Args:
        work: a folder for what is remembered, should the edit be stopped.

    Raises:
        InputError: the result, the prompt, the region or the model cannot be used.
    """
    yield Progress("read", 0.0, "opening the scene")
    done = yield from _one(open_result(folder), Step(checked(prompt), options), work)
    return done.changes, done.facts


def _cleared(partial: Path, answers: Path) -> None:
    """Of an edit that was stopped, only the editor's answers stay."""
    if not answers.is_dir() or not any(answers.iterdir()):
        shutil.rmtree(partial, ignore_errors=True)
        return
    kept = partial.with_name(f"{partial.name}.kept")
    answers.replace(kept)
    shutil.rmtree(partial, ignore_errors=True)
    answers.parent.mkdir(parents=True, exist_ok=True)
    kept.replace(answers)


def try_out(result: Path, photo: str, prompt: str, options: EditOptions, out: Path) -> Generator[Progress, None, dict[str, Any]]:
    """Edit one photo alone, to see what a sentence does before the scene is edited; writes the picture ``out``.

    Raises:
        InputError: the result, the photo, the prompt or the model cannot be used.
    """
    from data.readers.nerfstudio import read as read_transforms

    yield Progress("edit", 0.0, "loading the editor")
    editor = open_editor(options)
    editor.check(checked(prompt))
    scene = read_transforms(result)
    names = [path.name for path in scene.image_paths]
    if photo and Path(photo).name not in names:
        raise InputError(f"'{photo}' is not among the photos of this result. Choose another.")
    at = names.index(Path(photo).name) if photo else len(names) // 2
    scene = scene.select([at])
    size = view_size(scene.posed().sizes, editor.side, editor.multiple)
    small = small_photos(scene, size)
    views = DepthViews(small, torch.zeros(1, size[1], size[0]), scene.posed())
    picture = yield from edit_alone(editor, views, checked(prompt), options.seed)
    full = _full(editor, scene.image(0), small, picture.cpu(), None)
    out.parent.mkdir(parents=True, exist_ok=True)
    save_image(out, _mixed(scene.image(0), full, options.strength, None))
    beside = out.with_name(f"{out.stem}_photo.png")
    save_image(beside, scene.image(0))
    return {"files": [str(out), str(beside)]}


def _steps(task: EditTask) -> list[Step]:
    """The whole stack that the output will hold."""
    before = read_stack(task.result)
    if task.undo:
        if task.repeat is not None or task.prompt:
            raise InputError("--undo takes back the last edit, and does nothing else. Leave the prompt and --repeat out.")
        if not before:
            raise InputError(f"'{task.result}' was never edited, so that there is nothing to undo. Give the folder of an edited result.")
        if any(step.options.do in ("remove", "crop") for step in before):
            raise InputError("Removing and cropping change the shape and cannot be undone from the edited result. Go back to the result of before.")
        return before[:-1]
    if task.repeat is not None:
        if task.prompt:
            raise InputError("--repeat does the edits of a file again; a prompt says what to do instead. Give one of the two.")
        steps = read_stack(task.repeat)
        if not steps:
            raise InputError(f"'{task.repeat}' holds no edits.")
        return [*steps]
    o = task.options
    if o.do == "prompt":
        return [*before, Step(checked(task.prompt), o)]
    if task.prompt:
        raise InputError(f"--do {o.do} needs no sentence. Leave the prompt out, or leave --do out.")
    return [*before, Step("", o)]


def _one(result: Result, step: Step, answers: Path) -> Generator[Progress, None, _Done]:
    """One edit of a result."""
    o, scene, baked = step.options, result.scene, result.baked
    if not 0 <= o.strength <= 1:
        raise InputError(f"--strength {o.strength:g} cannot be. Give a number from 0 (the photos as they are) to 1 (the whole edit).")
    masks = region_masks(o.region, scene, baked)
    photos = [scene.image(i) for i in range(len(scene))]
    if o.do == "prompt":
        return (yield from _by_prompt(result, step, photos, masks, answers))
    yield Progress("edit", 0.1, o.do)
    if masks is None:
        if o.do == "background":
            masks = region_masks("subject", scene, baked)
        else:
            raise InputError(f"--do {o.do} needs to know where. Give --region: a box, 'subject', or the mask of one photo.")
    assert masks is not None
    box = as_box(o.region) if o.region else None
    if o.do == "recolor":
        made = recolored(photos, masks, parse_color(o.color))
        return _Done(Changes([_mixed(a, b, o.strength, None) for a, b in zip(photos, made)]), _outside(photos, made, masks))
    if o.do == "background":
        made = with_background(photos, masks, o.color)
        return _Done(Changes(made, masks), _outside(photos, made, [~m for m in masks]))
    if o.do == "crop":
        faces = kept_faces(result.asset.mesh, scene, masks, box, inside=True)
        return _Done(Changes(photos, masks, faces), {"faces_kept": len(faces)})
    faces = kept_faces(result.asset.mesh, scene, masks, box, inside=False)
    without = _without(result, faces)
    done = removed(scene, baked, without, masks)
    return _Done(Changes(done.photos, None, faces), {**_outside(photos, done.photos, masks), "faces_kept": len(faces), "seen_behind": round(done.from_others, 4)})


def _without(result: Result, faces: ndarray) -> Any:
    """The result's mesh with some faces only, before its backdrops."""
    from recon.surface.asset import Asset
    from recon.surface.triangles import Triangles

    whole = result.asset
    used, corners = np.unique(whole.mesh.faces[faces], return_inverse=True)
    mesh = Triangles(whole.mesh.vertices[used], corners.reshape(-1, 3))
    part = Asset(mesh, whole.uv, whole.uv_faces[faces], whole.texture)
    return rebaked(result.baked, part, result.scene)


def _by_prompt(
    result: Result, step: Step, photos: list[UInt8[ndarray, "_ _ 3"]], masks: Sequence[Bool[ndarray, "_ _"]] | None, answers: Path
) -> Generator[Progress, None, _Done]:
    """Edited by a sentence."""
    o, scene = step.options, result.scene
    yield Progress("edit", 0.0, "loading the editor")
    editor = Remembered(open_editor(o), answers)
    editor.check(step.prompt)
    size = view_size(scene.posed().sizes, editor.side, editor.multiple)
    views = depth_views(scene, result.baked, size).to(editor.device)
    work = edit_consistently(editor, views, step.prompt, LoopOptions(keys=max(o.views, 1), seed=o.seed))
    done = yield from _previewed(work)
    settled = transfer.settled(views.photos, done.pictures, done.links) if done.links is not None and editor.detail == "photo" else None
    made = []
    for i, photo in enumerate(photos):
        one = None if settled is None else (settled[0][i : i + 1], settled[1][i : i + 1])
        full = _full(editor, photo, views.photos[i : i + 1], _final(editor, views, done)[i : i + 1], one)
        made.append(_mixed(photo, full, o.strength, None if masks is None else soft(masks[i])))
    facts = {"editor": editor.name, "strength": o.strength, "keys": list(done.keys), "disagreement": [round(v, 5) for v in done.disagreement]}
    if done.links is not None:
        after = torch.from_numpy(np.stack([resize(p, *size) for p in made])).permute(0, 3, 1, 2).float().to(views.photos) / 255
        every = link(views, nearest(views.cameras, min(4, len(views) - 1)))
        facts |= {"warp_error": round(warp_error(after, every), 5), "warp_error_before": round(warp_error(views.photos, every), 5)}
    if masks is not None:
        facts |= _outside(photos, made, masks)
    if editor.device.type == "cuda":
        facts["peak_gpu_memory_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return _Done(Changes(made), facts)


def _final(editor: ImageEditor, views: DepthViews, done: Edited) -> torch.Tensor:
    """What an editor whose pixels are taken made of the views, blended."""
    if editor.detail == "photo" or done.links is None:
        return done.pictures
    return done.links.blended(done.pictures, own=1.0)[0]


def _previewed(work: Generator[Progress, None, Edited]) -> Generator[Progress, None, Edited]:
    """Pictures among the events become one small JPEG, as text, that a page can show."""
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        values = dict(progress.values)
        pictures, shown = values.pop("pictures", None), values.pop("views", ())
        if pictures is not None:
            few = [pictures[i] for i in list(shown)[:: max(len(shown) // 4, 1)][:4]]
            strip = torch.cat(few, dim=2).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
            values["preview_jpeg"] = _jpeg((strip * 255).round().astype(np.uint8))
        try:
            yield replace(progress, values=values)
        except GeneratorExit:
            work.close()
            raise


def _jpeg(picture: UInt8[ndarray, "h w 3"]) -> str:
    """A picture as text, at most 900 pixels wide."""
    import base64

    import cv2

    small = resize(picture, *_fitting(picture.shape[1], picture.shape[0], 900))
    return base64.b64encode(cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()).decode()


def _full(
    editor: ImageEditor, photo: UInt8[ndarray, "h w 3"], small: torch.Tensor, picture: torch.Tensor, settled: tuple[torch.Tensor, torch.Tensor] | None
) -> UInt8[ndarray, "h w 3"]:
    """A full photo edited as its small copy was."""
    if editor.detail == "editor":
        values = (picture[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy() * 255).round().astype(np.uint8)
        return resize(values, photo.shape[1], photo.shape[0])
    whole = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float() / 255
    if settled is None:
        out = transfer.apply(whole, transfer.fit(small, picture).cpu())
    else:
        out = transfer.enlarged(whole, settled[0].cpu(), settled[1].cpu())
    return (out[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)


def _mixed(before: UInt8[ndarray, "h w 3"], after: UInt8[ndarray, "h w 3"], strength: float, weight: ndarray | None) -> UInt8[ndarray, "h w 3"]:
    """So much of an edit, where it applies."""
    if strength == 1 and weight is None:
        return after
    share = strength if weight is None else strength * weight[..., None]
    return np.round(before + share * (after.astype(np.float64) - before)).astype(np.uint8)


def _outside(before: Sequence[ndarray], after: Sequence[ndarray], masks: Sequence[Bool[ndarray, "_ _"]]) -> dict[str, Any]:
    """How faithful photos stayed outside a region; exact where nothing there changed."""
    error = count = 0.0
    for a, b, mask in zip(before, after, masks):
        d = (a.astype(np.float64) - b)[~mask]
        error, count = error + float((d * d).sum()), count + d.size
    if not count:
        return {}
    return {"psnr_outside": None if error == 0 else round(10 * float(np.log10(255**2 * count / error)), 2), "unchanged_outside": error == 0}


def _compared(base: Result, current: Result, out: Path) -> list[str]:
    """Some photos before beside after, for the report; names relative to ``out``."""
    names, n = [], len(current.scene)
    for k, i in enumerate(np.unique(np.linspace(0, n - 1, min(n, 6)).astype(int))):
        before, after = base.scene.image(int(i)), current.scene.image(int(i))
        for word, picture in (("before", before), ("after", after)):
            names.append(f"previews/edit_{k:02d}_{word}.png")
            save_image(out / names[-1], resize(picture, *_fitting(picture.shape[1], picture.shape[0], 640)))
    return names


def _fitting(width: int, height: int, side: int) -> tuple[int, int]:
    scale = min(1.0, side / max(width, height))
    return max(round(width * scale), 1), max(round(height * scale), 1)


def _report(
    base: Result, current: Result, steps: list[Step], facts: list[dict[str, Any]], seconds: dict[str, float], sides: list[str], pairs: list[str]
) -> dict[str, Any]:
    """The result's own report, with what the edits changed of it."""
    old, scene = base.report, current.scene
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cameras = {**old.get("cameras", {}), "names": list(scene.names)}
    quality = {**old.get("quality", {}), "psnr": None, "ssim": None, "lpips": None, "held_out": []}
    quality.pop("realtime", None)
    return {
        **old, "seconds": seconds, "peak_memory_mb": round(peak), "edited_from": str(base.folder), "edits": facts if steps else [], "quality": quality,
        "mesh": {**old.get("mesh", {}), **current.asset.statistics}, "cameras": cameras,
        "pictures": {"sides": sides, "inputs": [f"images/{p.name}" for p in scene.image_paths], "edits": pairs},
    }  # fmt: skip


