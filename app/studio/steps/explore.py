"""Explore: walk around the result, ask the field for this very view, compare with photos, film a way through it."""

from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.ui import Ui, asset, text

NAME = "Explore"
_WHAT = [("The field itself (slow, best)", "field"), ("Photos blended on the mesh", "realtime"), ("The textured mesh", "mesh")]
_SHOW = [("Colour", "color"), ("Depth", "depth"), ("Normals", "normals")]
_CAMERA = "(...v) => [...v.slice(0, -1), window.lumigraph.camera]"


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    result = gr.Dropdown([], label="Result", elem_id="result", visible=False)
    viewer = gr.HTML(elem_id="viewer")
    with gr.Row():
        what = gr.Radio(_WHAT, value="field", label="Draw", elem_id="what")
        show = gr.Radio(_SHOW, value="color", label="Show", elem_id="show")
    with gr.Row():
        here = gr.Button("Draw what I see now", variant="primary", elem_id="draw-here")
        photo = gr.Dropdown([], label="Photo", elem_id="compare-photo", scale=2)
        beside = gr.Button("Compare with this photo", elem_id="compare")
    picture = gr.HTML(elem_id="picture", js_on_load=asset("compare.js"))
    camera = gr.JSON(visible=False)
    with gr.Accordion("Film", open=False, elem_id="film"):
        gr.HTML("<p>Move the view, add it, move on. The camera passes smoothly through all views that you add; with none, it circles.</p>")
        keys = gr.HTML(elem_id="keys", js_on_load=asset("keys.js"))
        with gr.Row():
            add = gr.Button("Add this view", elem_id="key-add")
            clear = gr.Button("Remove all", elem_id="key-clear")
        drawn = gr.Radio(_WHAT, value="realtime", label="Draw", elem_id="film-what")
        with gr.Row():
            seconds = gr.Slider(1, 30, value=4, step=1, label="Seconds", elem_id="seconds")
            size = gr.Dropdown([("640 x 480", "640x480"), ("1280 x 720", "1280x720"), ("1920 x 1080", "1920x1080")], value="640x480", label="Size", elem_id="film-size")
            loop = gr.Checkbox(label="Come back to the first view", elem_id="loop")
        film = gr.Button("Film it", variant="primary", elem_id="film-it")
        videos = gr.HTML(elem_id="videos")
    with gr.Row():
        change = gr.Button("Change the scene", elem_id="explore-edit")
        on = gr.Button("On to the export", elem_id="explore-next")

    def shown(user: str, project: Project | None) -> list[Any]:
        names = project.results() if project else []
        if project is None or not names:
            return [gr.Dropdown(choices=[], value=None, visible=False), "<p>There is nothing to see yet. Reconstruct first.</p>", gr.Dropdown(choices=[], value=None), "", "", ""]
        newest = names[-1]
        views = project.read(f"results/{newest}/report.json").get("cameras", {}).get("names", [])
        photos = [v.split("/")[-1] for v in views]
        return [
            gr.Dropdown(choices=names, value=newest, visible=len(names) > 1), _viewer(project, newest), gr.Dropdown(choices=photos, value=photos[0] if photos else None),
            _picture(ui, project), _keys(project), _videos(ui, project),
        ]  # fmt: skip

    ui.show([result, viewer, photo, picture, keys, videos], shown)
    ui.act(result.input, lambda user, project, name: _viewer(desk.projects.open(user, project), name), [result], [viewer])
    ui.act(here.click, lambda user, project, r, w, s, c: desk.view(user, project, r, _stood(c), "", w, s), [result, what, show, camera], js=_CAMERA)
    ui.act(beside.click, lambda user, project, r, w, s, p: desk.view(user, project, r, None, p or "", w, s), [result, what, show, photo])

    def keyed(user: str, project: str, view: Any) -> str:
        opened = desk.projects.open(user, project)
        desk.keys(user, project, [*opened.meta.get("keys", []), _stood(view)])
        return _keys(opened)

    ui.act(add.click, keyed, [camera], [keys], js=_CAMERA)
    ui.act(clear.click, lambda user, project: _keys(desk.keys(user, project, [])), [], [keys])

    def filmed(user: str, project: str, r: str, w: str, s: float, z: str, around: bool) -> None:
        views = desk.projects.open(user, project).meta.get("keys", [])
        width, height = (int(v) for v in str(z).split("x"))
        desk.video(user, project, r, views if len(views) > 1 else "orbit", s, w, width, height, around)

    ui.act(film.click, filmed, [result, drawn, seconds, size, loop])
    ui.act(change.click, lambda user, project: gr.Tabs(selected=number + 2), [], [walk])
    ui.act(on.click, lambda user, project: gr.Tabs(selected=number + 4), [], [walk])


def _stood(camera: Any) -> dict[str, Any]:
    """What the viewer said about its camera."""
    from data.errors import InputError

    if not isinstance(camera, dict):
        raise InputError("The view has not said yet where you stand. Wait until it shows the scene, move it a little and try again.")
    return camera


def _viewer(project: Project, name: str) -> str:
    """The interactive page, in a frame that can reach neither our cookies nor the network."""
    folder = project.result(name)
    if not (folder / "view.html").exists():
        return "<p>This result has no interactive view.</p>"
    at = f"/files/{project.id}/results/{text(name)}/view.html"
    return f'<iframe title="The scene in 3D" src="{at}" sandbox="allow-scripts allow-downloads" allow="fullscreen"></iframe>'


def _picture(ui: Ui, project: Project) -> str:
    """The last picture that was drawn, on its photo if it has one."""
    drawn = [t for t in ui.desk.queue.of(project.key) if t.kind == "view" and t.status == "done"]
    if not drawn:
        return ""
    links = ui.desk.links(drawn[-1])
    if not links:
        return ""
    if len(links) == 1:
        return f'<p><img src="{links[0]["url"]}" alt="The view as drawn" style="max-width:100%;border-radius:8px"> <a href="{links[0]["url"]}?download=true">Download</a></p>'
    return compare(links[1]["url"], links[0]["url"], "the photo", "as drawn")


def compare(left: str, right: str, left_name: str, right_name: str) -> str:
    """Two pictures under one slider."""
    return (
        f'<div class="compare"><img src="{left}" alt="{text(left_name)}"><img src="{right}" alt="{text(right_name)}">'
        f'<input type="range" min="0" max="100" value="50" aria-label="Where {text(left_name)} ends and {text(right_name)} begins">'
        f'<div class="sides-named"><span>{text(left_name)}</span><span>{text(right_name)}</span></div></div>'
    )


def _keys(project: Project) -> str:
    import json

    views = project.meta.get("keys", [])
    buttons = "".join(f'<button type="button" data-key="{i}">View {i + 1}</button> ' for i in range(len(views)))
    play = '<button type="button" data-play="1">Preview the way</button>' if len(views) > 1 else ""
    return f'<div class="keys">{buttons}{play}<template>{text(json.dumps(views))}</template></div>' if views else "<p>No views added.</p>"


def _videos(ui: Ui, project: Project) -> str:
    made = [t for t in ui.desk.queue.of(project.key) if t.kind == "render" and t.status == "done"]
    links = [link for t in made for link in ui.desk.links(t)]
    return "".join(f'<p><video src="{link["url"]}" controls loop muted playsinline style="max-width:100%" aria-label="A way through the scene"></video><br><a href="{link["url"]}?download=true">Download {text(link["name"])}</a></p>' for link in links[-3:][::-1])
