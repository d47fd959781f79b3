"""The kinds of work that run as jobs: each takes JSON, yields event dictionaries and returns a JSON-able result."""

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from data.progress import Progress

Work = Generator[dict[str, Any], None, dict[str, Any]]


def reconstruct_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: a `recon.options.Task` as JSON; and `page`: whether `view.html` is written too. Result: the report."""
    from app.config import from_json, write_run_file
    from app.report import write_html
    from recon.options import Task
    from recon.pipeline import overall, reconstruct

    page = arguments.pop("page", False)
    task = from_json(Task, arguments)
    engine = "hashgrid"

    def share(progress: Progress) -> float:
        nonlocal engine
        engine = progress.values.get("engine", engine)
        return overall(progress, engine)

    report = yield from _events(reconstruct(task), share)
    write_run_file(task)
    write_html(task.out, report)
    if page:
        from app.export import ExportTask, export

        yield from _events(export(ExportTask(task.out, "html")), lambda p: 1.0)
    return report


def render_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.rendering.RenderTask` as JSON. Result: the files written."""
    from app.config import from_json
    from app.rendering import RenderTask, render

    return (yield from _events(render(from_json(RenderTask, arguments)), lambda p: p.fraction))


def export_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.export.ExportTask` as JSON. Result: the files written, and what is in them."""
    from app.config import from_json
    from app.export import ExportTask, export

    return (yield from _events(export(from_json(ExportTask, arguments)), lambda p: p.fraction))


def edit_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: a `recon.editing.options.EditTask` as JSON; `page`: whether `view.html` is written too; `preview`: a JPEG file that shows how
    far the edit is, if wanted. Result: the report."""
    from app.config import from_json
    from app.editing import write_edit_page
    from recon.editing.options import EditTask
    from recon.editing.pipeline import edit, overall

    page, preview = arguments.pop("page", False), arguments.pop("preview", None)
    task = from_json(EditTask, arguments)
    work = _events(edit(task), overall)
    report = yield from (_pictured(work, Path(preview)) if preview else work)
    write_edit_page(task.out, report)
    if page:
        from app.export import ExportTask, export

        yield from _events(export(ExportTask(task.out, "html")), lambda p: 1.0)
    return {**report, "files": [str(task.out / "report.html")]}


def _pictured(work: Generator[dict[str, Any], None, Any], path: Path) -> Generator[dict[str, Any], None, Any]:
    """Pictures among the events go to a file, which the events name instead."""
    import base64

    from data.files import atomic_write

    try:
        while True:
            try:
                event = next(work)
            except StopIteration as end:
                return end.value
            if jpeg := event["values"].pop("preview_jpeg", None):
                path.parent.mkdir(parents=True, exist_ok=True)
                atomic_write(path, base64.b64decode(jpeg))
                event["values"]["preview"] = str(path)
            yield event
    finally:
        work.close()


def tryout_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: `result`, `photo`, `prompt`, `options` (`recon.editing.options.EditOptions` as JSON), `out`. Result: the files written."""
    from app.config import from_json
    from recon.editing.options import EditOptions
    from recon.editing.pipeline import try_out

    a = arguments
    work = try_out(Path(a["result"]), a["photo"], a["prompt"], from_json(EditOptions, a["options"]), Path(a["out"]))
    return (yield from _events(work, lambda p: p.fraction))


def evaluate_edit_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.editing.EvaluateEdit` as JSON. Result: the figures."""
    from app.editing import evaluate

    return (yield from _events(evaluate(arguments), lambda p: p.fraction))


def understand_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: a `recon.understanding.options.UnderstandTask` as JSON; `page`: whether `view.html`, the answer in 3D, is written too. Result: the content of `labels.json`, and `files`."""
    from app.config import from_json
    from app.understanding import write_understanding_page, write_understanding_view
    from recon.understanding.options import UnderstandTask
    from recon.understanding.pipeline import overall, understand

    view = arguments.pop("page", False)
    task = from_json(UnderstandTask, arguments)
    content = yield from _events(understand(task), overall)
    files = [Path(content["out"]) / name for name in ("mesh.glb", "part.glb")]
    files.append(write_understanding_page(Path(content["out"]), content))
    if view:
        files.append(write_understanding_view(task.result, Path(content["out"])))
    return {**content, "files": [str(f) for f in files if f.exists()]}


def attack_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `attacks.bench.suite.Suite` as JSON, and `command`. Result: `files`, and the board of the report."""
    from app.config import from_json
    from attacks.bench.extras import run_extras
    from attacks.bench.report import write_report
    from attacks.bench.running import run_suite
    from attacks.bench.suite import Suite

    command = arguments.pop("command")
    arguments["scenes"] = [Path(s) for s in arguments["scenes"]]
    suite = from_json(Suite, arguments)
    o = suite.options
    extra = o.transfer or o.corruptions or o.pose_estimation or o.certificate
    rows = yield from _events(run_suite(suite), lambda p: (0.5 if extra else 1.0) * p.fraction)
    extras = yield from _events(run_extras(suite), lambda p: 0.5 + 0.5 * p.fraction)
    content = write_report(suite, rows, extras, command)
    files = [str(suite.out / name) for name in ("leaderboard.html", "results.csv", "results.json")]
    return {"files": files, "board": content["board"]}


def inspect_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `attacks.inspection.InspectTask` as JSON. Result: the findings."""
    from app.config import from_json
    from attacks.inspection import InspectTask, inspect_photos

    return (yield from _events(inspect_photos(from_json(InspectTask, arguments)), lambda p: p.fraction))


def intake_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.intake.IntakeTask` as JSON. Result: the content of `photos.json`."""
    from app.config import from_json
    from app.intake import IntakeTask, intake

    return (yield from _events(intake(from_json(IntakeTask, arguments)), lambda p: p.fraction))


def examine_kind(arguments: dict[str, Any]) -> Work:
    """The same for photos that are there already."""
    from app.config import from_json
    from app.intake import IntakeTask, examine

    return (yield from _events(examine(from_json(IntakeTask, arguments)), lambda p: p.fraction))


def masks_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: `scene`, the folder of photos. Writes `masks/` in it. Result: how much of each photo its mask covers."""
    from app.posing import attach_masks
    from data.foreground import cut_out
    from data.readers import read_scene

    root = Path(arguments["scene"])
    covers = yield from _events(cut_out(read_scene(root, root), root / "masks"), lambda p: p.fraction)
    attach_masks(root)
    return {"covers": covers}


def cameras_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.posing.CamerasTask` as JSON. Result: the content of `cameras.json`, without points."""
    from app.config import from_json
    from app.posing import CamerasTask, find_cameras

    content = yield from _events(find_cameras(from_json(CamerasTask, arguments)), lambda p: max(p.fraction, 0.0) * (0.9 if p.stage == "poses" else 1.0))
    return {key: content[key] for key in ("source", "reprojection_error_px", "findings", "dropped")} | {"registered": len(content["cameras"])}


def view_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `app.views.ViewTask` as JSON. Result: the files written."""
    from app.config import from_json
    from app.views import ViewTask, view

    return (yield from _events(view(from_json(ViewTask, arguments)), lambda p: p.fraction))


def pack_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: `folder` and `out`. Result: the zip of all that is in the folder, but for what only a resumed run needs."""
    from app.packing import pack

    return (yield from _events(pack(arguments["folder"], arguments["out"]), lambda p: p.fraction))


def machine_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: `root`. Result: what this machine is and how fast."""
    from app.estimates import measure

    return (yield from _events(measure(arguments), lambda p: p.fraction))


def _events(work: Generator[Progress, None, Any], overall: Callable[[Progress], float], interval: float = 0.1) -> Generator[dict[str, Any], None, Any]:
    """Progress as dictionaries, at most one in ``interval`` seconds within a stage: a step may take a millisecond."""
    last_stage, last_time = "", 0.0
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            return end.value
        now, share = time.monotonic(), overall(progress)
        if progress.stage != last_stage or now - last_time > interval or (progress.values.get("preview") or progress.values.get("preview_jpeg")):
            last_stage, last_time = progress.stage, now
            try:
                yield {
                    "stage": progress.stage, "fraction": progress.fraction, "overall": share,
                    "message": progress.message, "values": dict(progress.values),
                }  # fmt: skip
            except GeneratorExit:
                work.close()
                raise


KINDS: dict[str, Callable[[dict[str, Any]], Work]] = {
    "reconstruct": reconstruct_kind, "render": render_kind, "export": export_kind, "attack": attack_kind, "inspect": inspect_kind,
    "intake": intake_kind, "examine": examine_kind, "masks": masks_kind, "cameras": cameras_kind, "view": view_kind, "pack": pack_kind,
    "machine": machine_kind, "edit": edit_kind, "tryout": tryout_kind, "evaluate_edit": evaluate_edit_kind,
    "understand": understand_kind,
}  # fmt: skip
