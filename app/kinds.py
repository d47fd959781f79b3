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


def attack_kind(arguments: dict[str, Any]) -> Work:
    """`arguments`: an `attacks.bench.suite.Suite` as JSON, and `command`. Result: `files`, and the board of the report."""
    from pathlib import Path

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


def _events(work: Generator[Progress, None, Any], overall: Callable[[Progress], float], interval: float = 0.1) -> Generator[dict[str, Any], None, Any]:
    """Progress as dictionaries, at most one in ``interval`` seconds within a stage: a step may take a millisecond."""
    last_stage, last_time = "", 0.0
    while True:
        try:
            progress = next(work)
        except StopIteration as end:
            return end.value
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


KINDS: dict[str, Callable[[dict[str, Any]], Work]] = {
    "reconstruct": reconstruct_kind, "render": render_kind, "export": export_kind, "attack": attack_kind, "inspect": inspect_kind,
}  # fmt: skip
