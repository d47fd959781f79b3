"""The kinds of work that run as jobs: each takes JSON, yields event dictionaries and returns a JSON-able result."""

import time
from collections.abc import Callable, Generator
from typing import Any

from data.progress import Progress

Work = Generator[dict[str, Any], None, dict[str, Any]]


def reconstruct_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: a `recon.pipeline.Task` as JSON. Result: the report."""
    from app.config import from_json, write_run_file
    from app.report import write_html
    from recon.options import Task
    from recon.pipeline import overall, reconstruct

    task = from_json(Task, arguments)
    engine = "hashgrid"

    def share(progress: Progress) -> float:
        nonlocal engine
        engine = progress.values.get("engine", engine)
        return overall(progress, engine)

    report = yield from _events(reconstruct(task), share)
    write_run_file(task)
    write_html(task.out, report)
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


def _events(work: Generator[Progress, None, Any], overall: Callable[[Progress], float], interval: float = 0.1) -> Work:
    """Progress as dictionaries, at most one in ``interval`` seconds within a stage: a step may take a millisecond."""
    last_stage, last_time = "", 0.0
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        now, share = time.monotonic(), overall(progress)
        if progress.stage != last_stage or now - last_time > interval or progress.values.get("preview"):
            last_stage, last_time = progress.stage, now
            try:
                yield {
                    "stage": progress.stage, "fraction": progress.fraction, "overall": share,
                    "message": progress.message, "values": dict(progress.values),
                }  # fmt: skip
            except GeneratorExit:
                work.close()
                raise


KINDS: dict[str, Callable[[dict[str, Any]], Work]] = {"reconstruct": reconstruct_kind, "render": render_kind, "export": export_kind}


