"""Reconstruct: choose how well, see how long it will take here, start; watching, cancelling and going on are at the top of the page."""

from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.ui import Ui, text
from data.errors import InputError

NAME = "Reconstruct"
_QUALITIES = [("Glance: coarse, to see whether it works", "glance"), ("Draft", "draft"), ("Standard", "standard"), ("High: for a GPU, or a night", "high")]
_ENGINES = [("Let the studio choose", "auto"), ("General: no training on the scene", "general"), ("Hash grid: trained on the photos", "hashgrid")]


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    quality = gr.Radio(_QUALITIES, value="draft", label="Quality", elem_id="quality")
    with gr.Accordion("More", open=False, elem_id="more-options"):
        engine = gr.Radio(_ENGINES, value="auto", label="Engine", elem_id="engine")
        tune = gr.Radio([("No", "none"), ("10 seconds", "10s"), ("1 minute", "1m"), ("5 minutes", "5m")], value="none", label="Refine on the photos", elem_id="tune")
        weights = gr.Checkbox(label="Photos from strangers: use weights that were trained against attacks (general engine)", elem_id="robust")
    estimate = gr.HTML(elem_id="estimate")
    with gr.Row():
        start = gr.Button("Reconstruct", variant="primary", elem_id="start")
        on = gr.Button("Explore the result", elem_id="reconstruct-next")
    outcome = gr.HTML(elem_id="outcome")

    def estimated(user: str, project: str, *chosen: Any) -> str:
        if not project:
            return "<p>Add photos first.</p>"
        try:
            found = desk.estimate(user, project, *chosen)
        except InputError as error:
            return f"<p>{text(error)}</p>"
        name = "general" if found["engine"] == "general" else "hash-grid"
        return f"<p><strong>Takes {text(found['text'])}</strong> with the {name} engine ({text(found['basis'])}).</p>"

    def shown(user: str, project: Project | None) -> list[Any]:
        return [_outcome(project)]

    ui.show([outcome], shown)
    for event in (quality.input, engine.input, tune.input, ui.version.change):
        ui.act(event, estimated, [quality, engine, tune], [estimate])
    ui.act(start.click, lambda user, project, q, e, t, w: desk.reconstruct(user, project, q, e, t, "robust" if w else "standard"), [quality, engine, tune, weights])
    ui.act(on.click, lambda user, project: gr.Tabs(selected=number + 1), [], [walk])


def _outcome(project: Project | None) -> str:
    """What the newest result is like."""
    if project is None or not project.results():
        return ""
    name = project.results()[-1]
    folder = project.result(name)
    report = project.read(f"results/{name}/report.json")
    notes = "".join(f'<li class="note">{text(w)}</li>' for w in report.get("warnings", []))
    sides = "".join(f'<img src="/files/{project.id}/results/{name}/previews/side_{i}.png" alt="The mesh from side {i + 1}">' for i in range(4) if (folder / f"previews/side_{i}.png").exists())
    turning = f'<video src="/files/{project.id}/results/{name}/turntable.mp4" autoplay loop muted playsinline controls aria-label="The mesh turning"></video>' if (folder / "turntable.mp4").exists() else ""
    mesh, views = report["mesh"], report["views"]
    return (
        f"<h2>Result {text(name)}</h2><p>{mesh['faces']:,} faces from {views['used']} of {views['given']} photos in {report['seconds']['total']:.0f} seconds, "
        f'{text(report["engine"])} engine. <a href="/files/{project.id}/results/{name}/report.html" target="_blank" rel="noopener">Whole report</a></p>'
        f'<ul class="findings">{notes}</ul><div class="sides">{turning}{sides}</div>'
    )
