"""The page: drop photos, read what is wrong with them, start, watch, cancel, turn the mesh around, download."""

import html
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from app.config import to_json
from app.jobs import Event, Job, JobFailed
from app.studio.projects import input_of, inspect, new_project
from data.errors import Cancelled, InputError, OutputError
from recon.options import ReconstructOptions, Task

_INTRO = "# Lumigraph\nPhotos to 3D, on this machine. Drop 20 to 60 overlapping photos of one thing or place, a zip of them, or a video."
_QUALITIES = [("Draft: two or three minutes", "draft"), ("Standard: five to ten minutes", "standard"), ("High: an hour, or a GPU", "high")]
_STAGE_NAMES = {
    "read": "Reading photos", "poses": "Finding the cameras", "prepare": "Preparing photos", "stereo": "Comparing photos", "train": "Learning the scene",
    "evaluate": "Scoring held-out views", "depth": "Measuring depth", "mesh": "Building the mesh", "texture": "Painting the texture", "realtime": "Choosing photos to show", "refine": "Refining the mesh",
    "previews": "Taking pictures", "turntable": "Filming the turntable", "start": "Starting",
}  # fmt: skip


def build(projects: Path, defaults: ReconstructOptions | None = None) -> gr.Blocks:
    """The page; ``projects`` is where uploads and results are kept, ``defaults`` what every job starts from."""
    options = defaults or ReconstructOptions()
    projects.mkdir(parents=True, exist_ok=True)
    with gr.Blocks(title="Lumigraph studio") as page:
        project = gr.State(None)
        job = gr.State(None)
        mesh = gr.State(None)
        gr.Markdown(_INTRO)
        with gr.Row():
            with gr.Column(scale=2):
                files = gr.File(label="Photos, a zip or a video", file_count="multiple", type="filepath", elem_id="photos", height=180)
                findings = gr.Markdown(elem_id="findings")
                quality = gr.Radio(_QUALITIES, value="draft", label="Quality")
                with gr.Row():
                    start = gr.Button("Reconstruct", variant="primary", interactive=False, elem_id="start")
                    cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="cancel")
                status = gr.Markdown(elem_id="status")
                preview = gr.Image(label="So far", interactive=False, visible=False, height=200)
            with gr.Column(scale=3):
                model = gr.Model3D(label="Mesh", clear_color=(1.0, 1.0, 1.0, 1.0), height=480, elem_id="mesh")
                video = gr.Video(label="Turntable", visible=False, autoplay=True, loop=True, height=240)
                with gr.Row():
                    glb = gr.DownloadButton("Download GLB", interactive=False, elem_id="download")
                    report = gr.DownloadButton("Download report", interactive=False)
                    viewer = gr.DownloadButton("Download interactive page", interactive=False)
                scene = gr.HTML(visible=False, elem_id="realtime")

        files.upload(lambda names: _check(projects, names), files, [project, findings, start])
        files.clear(lambda: (None, "", gr.Button(interactive=False)), None, [project, findings, start])
        outputs = [job, status, preview, mesh, video, glb, report, start, cancel]
        # One reconstruction at a time: two would share the processor and both be slower than in turn.
        run = start.click(partial(_run, options), [project, quality], outputs, concurrency_limit=1, concurrency_id="reconstruct")
        # Not an output of the generator: Gradio 6 announces a generator's last value twice, and a viewer still loading
        # when the second comes stays blank.
        run.success(lambda path: path, mesh, model).success(_in_real_time, mesh, [scene, viewer])
        cancel.click(_cancel, job, [status, start, cancel], queue=False)
    return page.queue(max_size=16)


def _check(root: Path, names: list[str] | None) -> tuple[str | None, str, gr.Button]:
    """Copy the upload, look at the photos, say what is wrong."""
    if not names:
        return None, "", gr.Button(interactive=False)
    try:
        folder = new_project(root, names)
        count, notes, found = inspect(folder)
    except (InputError, OutputError) as error:
        return None, f"**This cannot be used.** {error}", gr.Button(interactive=False)
    lines = [f"**{count} photos.**"] + [f"- {note}" for note in notes]
    lines += [f"- **{finding.severity}**: {finding}" for finding in found] or ["No problems seen."]
    return str(folder), "\n".join(lines), gr.Button(interactive=True)


def _run(options: ReconstructOptions, project: str | None, quality: Any) -> Iterator[tuple[Any, ...]]:
    """One job, as updates of the page: (job, status, preview, mesh, video, glb, report, start, cancel)."""
    keep = gr.skip()
    if project is None:
        yield None, "Add photos first.", keep, keep, keep, keep, keep, keep, keep
        return
    folder = Path(project)
    out = folder / f"result-{quality}"
    task = Task(input_of(folder), out, replace(options, quality=quality), resume=out.exists())
    job = Job("reconstruct", to_json(task))
    idle, busy = gr.Button(interactive=True), gr.Button(interactive=False)
    started = time.monotonic()
    yield job, "Starting ...", gr.Image(visible=False), keep, gr.Video(visible=False), keep, keep, busy, idle
    try:
        for event in job.run():
            picture = event.values.get("preview")
            shown = gr.Image(str(out / picture), visible=True) if picture else keep
            yield keep, _status(event, time.monotonic() - started), shown, keep, keep, keep, keep, keep, keep
    except Cancelled:
        yield None, "Cancelled. Press Reconstruct to go on where it stopped.", keep, keep, keep, keep, keep, idle, busy
        return
    except (InputError, OutputError, JobFailed) as error:
        yield None, f"**It did not work.** {error}", keep, keep, keep, keep, keep, idle, busy
        return
    report = job.result or {}
    score = f"{report['mesh']['faces']:,} faces from {report['views']['used']} of {report['views']['given']} photos in {report['seconds']['total']:.0f} s."
    notes = "".join(f"\n- {warning}" for warning in report["warnings"])
    glb, page = gr.DownloadButton(value=str(out / "mesh.glb"), interactive=True), gr.DownloadButton(value=str(out / "report.html"), interactive=True)
    yield None, f"**Done.** {score}{notes}", gr.Image(visible=False), str(out / "mesh.glb"), gr.Video(str(out / "turntable.mp4"), visible=True), glb, page, idle, busy


def _in_real_time(mesh: str | None) -> tuple[gr.HTML, gr.DownloadButton]:
    """The page that shows the photos on the mesh, within this one."""
    if mesh is None:
        return gr.HTML(visible=False), gr.DownloadButton(interactive=False)
    result = Path(mesh).parent
    job = Job("export", {"result": str(result), "format": "html"})
    for _ in job.run():
        pass
    path = Path((job.result or {})["files"][0])
    frame = f'<iframe title="The scene in real time" srcdoc="{html.escape(path.read_text())}" style="width:100%;height:560px;border:0"></iframe>'
    return gr.HTML(frame, visible=True), gr.DownloadButton(value=str(path), interactive=True)


def _status(event: Event, elapsed: float) -> str:
    """A line with stage, share and time left."""
    share = min(max(event.overall, 0.0), 1.0)
    left = f", about {_clock(elapsed * (1 - share) / share)} left" if share > 0.05 else ""
    filled = round(share * 30)
    return f"**{_STAGE_NAMES.get(event.stage, event.stage)}** {event.message}\n\n`{'█' * filled}{'░' * (30 - filled)}` {share:.0%}, {_clock(elapsed)}{left}"


def _clock(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"


def _cancel(job: Job | None) -> tuple[str, gr.Button, gr.Button]:
    if job is not None:
        job.cancel()
    return "Cancelling ...", gr.Button(interactive=True), gr.Button(interactive=False)


def launch(host: str, port: int, projects: Path, open_browser: bool, defaults: ReconstructOptions) -> None:
    """Serve the page until interrupted; the first free port from ``port`` on is taken."""
    page = build(projects, defaults)
    for candidate in range(port, port + 20):
        try:
            page.launch(
                server_name=host, server_port=candidate, inbrowser=open_browser, share=False, max_file_size="200mb",
                allowed_paths=[str(projects.resolve())], show_error=True, theme=gr.themes.Soft(),
            )  # fmt: skip
            return
        except OSError:
            continue
    raise InputError(f"No port from {port} to {port + 19} is free. Choose another with --port.")
