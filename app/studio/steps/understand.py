"""Understand: what is where, in the photos and in 3D; click to select."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.steps.edit import photos_of
from app.studio.steps.explore import compare
from app.studio.ui import Ui, asset, text

NAME = "Understand"
_TASKS = [
    ("Things", "instances"), ("What I click on", "select"), ("The subject", "foreground"), ("Classes", "segment"), ("Materials", "materials"), ("Flat surfaces", "planes"),
    ("What looks alike", "features"), ("Edges", "edges"), ("Normals", "normals"), ("Depth", "depth"), ("Key points", "keypoints"),
]  # fmt: skip
_CLICKS = "(...v) => [...v.slice(0, -1), (window.lumigraph.clicks ?? []).filter((c) => c.project === v[0])]"


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    task = gr.Radio(_TASKS, value="instances", label="What to look for", elem_id="understand-task")
    photo = gr.Dropdown([], label="Photo", elem_id="understand-photo", info="To click on, to compare.")
    canvas = gr.HTML(elem_id="clicks", js_on_load=asset("clicks.js"), visible=False)
    go = gr.Button("Look for it", variant="primary", elem_id="understand")
    answer = gr.HTML(elem_id="understood")
    compared = gr.HTML(elem_id="understood-photo", js_on_load=asset("compare.js"))
    view = gr.HTML(elem_id="understood-3d")
    clicks = gr.JSON(visible=False)
    with gr.Row():
        change = gr.Button("Change what was found", elem_id="understand-edit")
        on = gr.Button("Export what was found", elem_id="understand-export")

    def drawn(user: str, project: Project | None, chosen: str, name: str | None) -> list[Any]:
        names = project.results() if project else []
        if project is None or not names:
            return [gr.HTML("", visible=False), "<p>There is nothing to look at yet. Reconstruct first.</p>", "", ""]
        photos = photos_of(project, names[-1])
        name = name if name in photos else photos[len(photos) // 2] if photos else None
        content = desk.understood(user, project.id, None, chosen)
        at = f"/files/{project.id}/results/{text(names[-1])}"
        pictures = f"{at}/understanding/{chosen}/overlays/{text(Path(name or '').stem)}.jpg"
        # Asked again, the same address shows something new.
        mark = f"?{text(content['made'])}" if content else ""
        return [
            gr.HTML(_canvas(project, names[-1], name), visible=chosen == "select"), _answer(content),
            f'<h2>In the photo</h2>{compare(f"{at}/images/{text(name)}", pictures + mark, "the photo", "found")}' if content and name else "",
            _in_3d(content, mark, f"{at}/view.html" if chosen == "select" else None),
        ]  # fmt: skip

    def shown(user: str, project: Project | None) -> list[Any]:
        names = project.results() if project else []
        photos = photos_of(project, names[-1]) if project and names else []
        done = [t for t in desk.queue.of(project.key) if t.kind == "understand" and t.status == "done"] if project else []
        chosen = done[-1].arguments["options"]["task"] if done else "instances"
        return [gr.Radio(value=chosen), gr.Dropdown(choices=photos, value=photos[len(photos) // 2] if photos else None), *drawn(user, project, chosen, None)]

    ui.show([task, photo, canvas, answer, compared, view], shown)

    def turned(user: str, project_id: str, chosen: str, name: str | None) -> list[Any]:
        return drawn(user, desk.projects.open(user, project_id) if project_id else None, chosen, name)

    ui.act(task.input, turned, [task, photo], [canvas, answer, compared, view])
    ui.act(photo.input, turned, [task, photo], [canvas, answer, compared, view])

    def asked(user: str, project: str, chosen: str, clicked: Any) -> None:
        desk.understand(user, project, None, chosen, clicked if isinstance(clicked, list) else [])

    ui.act(go.click, asked, [task, clicks], js=_CLICKS)
    ui.act(change.click, lambda user, project: gr.Tabs(selected=number + 1), [], [walk])
    ui.act(on.click, lambda user, project: gr.Tabs(selected=number + 3), [], [walk])


def _canvas(project: Project, result: str, photo: str | None) -> str:
    """A photo to click on."""
    if not photo:
        return ""
    source = f"/files/{project.id}/results/{text(result)}/images/{text(photo)}"
    return (
        '<div class="brush"><button type="button" data-act="inside" aria-pressed="true">Belongs to it</button><button type="button" data-act="outside" aria-pressed="false">Does not</button>'
        '<button type="button" data-act="forget">Forget the clicks</button><output></output></div>'
        f'<div class="clicks" data-photo="{text(photo)}" data-project="{text(project.id)}"><img src="{source}" alt="The photo to click on"></div>'
    )


def _answer(content: dict[str, Any]) -> str:
    """What was found, in words and as a table."""
    from app.understanding import told

    if not content:
        return "<p>This was not looked for yet; it takes some seconds. What is found serves as a region in the Edit step and as a part in the Export step.</p>"
    lines = "".join(f"<p>{text(line.strip().capitalize())}.</p>" for line in told(content))
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:rgb({",".join(str(v) for v in one["color"])})"></span> {text(one["name"])}</td><td>{100 * one["share_of_photos"]:.1f} %</td>'
        f"<td>{len(one['in_photos'])}</td><td>{one['faces']:,}</td></tr>"
        for one in content.get("labels", [])[:40]
    )  # fmt: skip
    table = f'<table><tr><th scope="col">label</th><th scope="col">of the photos</th><th scope="col">in photos</th><th scope="col">faces</th></tr>{rows}</table>' if rows else ""
    links = " ".join(f'<a href="{f["url"]}?download=true" download>{text(f["name"])}</a>' for f in content["files"] if f["name"].endswith(".glb"))
    report = next((f'<a href="{f["url"]}" target="_blank" rel="noopener">Whole report</a>' for f in content["files"] if f["name"] == "report.html"), "")
    return f"<h2>What was found</h2>{lines}{table}<p>{links} {report}</p>"


def _in_3d(content: dict[str, Any], mark: str, before: str | None) -> str:
    """The answer in 3D; before there is one, what `before` shows: clicks on places of the scene count as well."""
    page = next((f["url"] + mark for f in content.get("files", []) if f["name"] == "view.html"), before)
    title = "What was found, in 3D" if content else "The scene in 3D"
    hint = "<p>A click on a place of the scene counts like one in a photo.</p>" if before else ""
    return f'<h2>In 3D</h2>{hint}<iframe class="viewer" title="{title}" src="{page}" sandbox="allow-scripts allow-downloads" allow="fullscreen"></iframe>' if page else ""
