"""Edit: say what should change, try it on one photo, change the scene; compare, undo."""

from pathlib import Path
from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.edits import Asked
from app.studio.steps.explore import compare
from app.studio.ui import Ui, asset, text

NAME = "Edit"
_WHERE = [("Everywhere", ""), ("The subject", "subject"), ("All but the subject", "background"), ("What is in the box of the Cameras step", "box"), ("What I selected in the Understand step", "select"), ("What I paint on a photo", "painted")]
_HOW = [("As the sentence says", "prompt"), ("Another colour", "recolor"), ("Remove it, and fill what was behind", "remove"), ("Keep only it", "crop"), ("Another background", "background")]
_PAINTED = "(...v) => [...v.slice(0, -1), window.lumigraph.mask]"


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    prompt = gr.Textbox(label="What should change?", placeholder="make it autumn", max_length=500, elem_id="prompt")
    gr.HTML(_chips(desk.suggestions()), elem_id="suggestions", js_on_load=asset("chips.js"))
    with gr.Row():
        where = gr.Radio(_WHERE, value="", label="Where", elem_id="where")
        photo = gr.Dropdown([], label="Photo", elem_id="edit-photo", info="To try on, to paint on, to compare.")
    paint = gr.HTML(elem_id="paint", js_on_load=asset("paint.js"), visible=False)
    with gr.Accordion("More", open=False, elem_id="more-edits"):
        how = gr.Radio(_HOW, value="prompt", label="How", elem_id="how", info="All but the first need no model. They need to know where.")
        color = gr.ColorPicker(value="#c02020", label="Colour, of another colour or background", elem_id="color")
        strength = gr.Slider(0, 1, value=1, step=0.05, label="Strength", elem_id="strength")
        views = gr.Slider(2, 24, value=6, step=1, label="Views that are edited first and together", elem_id="key-views")
        seed = gr.Number(value=0, label="Random seed: another one, another edit", precision=0, elem_id="edit-seed")
    with gr.Row():
        attempt = gr.Button("Try it on this photo", elem_id="try-edit")
        go = gr.Button("Edit the scene", variant="primary", elem_id="edit")
    tried = gr.HTML(elem_id="tried", js_on_load=asset("compare.js"))
    stack = gr.HTML(elem_id="edits")
    with gr.Row():
        undo = gr.Button("Undo the last edit", elem_id="undo", visible=False)
        redo = gr.Button("Bring the undone edit back", elem_id="redo", visible=False)
        look = gr.Button("Look at it in 3D", elem_id="edit-look", visible=False)
    compared = gr.HTML(elem_id="before-after", js_on_load=asset("compare.js"))
    mask = gr.JSON(visible=False)

    def shown(user: str, project: Project | None) -> list[Any]:
        names = project.results() if project else []
        if project is None or not names:
            return [gr.Dropdown(choices=[], value=None), "", "<p>There is nothing to edit yet. Reconstruct first.</p>", *(gr.Button(visible=False) for _ in range(3)), ""]
        photos = photos_of(project, names[-1])
        about = desk.edits(user, project.id)
        return [
            gr.Dropdown(choices=photos, value=photos[len(photos) // 2] if photos else None), _tried(ui, project), _stack(project, about["edits"], names[-1]),
            gr.Button(visible=about["can_undo"]), gr.Button(visible=about["can_redo"]), gr.Button(visible=bool(about["edits"])), _compared(project, names[-1], None),
        ]  # fmt: skip

    ui.show([photo, tried, stack, undo, redo, look, compared], shown)

    def turned(user: str, project: str, name: str | None, chosen: str) -> tuple[Any, str]:
        opened = desk.projects.open(user, project)
        return gr.HTML(_canvas(opened, name), visible=chosen == "painted"), _compared(opened, opened.results()[-1] if opened.results() else "", name)

    ui.act(photo.input, turned, [photo, where], [paint, compared])
    ui.act(where.input, turned, [photo, where], [paint, compared])

    def asked(user: str, project: str, sentence: str, chosen: str, what: str, hue: str, much: float, first: float, number: float, painted: Any) -> Asked:
        region = chosen
        if chosen == "box":
            box = desk.projects.open(user, project).meta.get("box")
            if box is None:
                from data.errors import InputError

                raise InputError("There is no box. Draw one in the Cameras step, or choose another place.")
            region = " ".join(str(v) for v in box)
        if chosen == "painted":
            region = ""
            painted = painted if isinstance(painted, dict) else {"photo": "", "png": ""}
        return Asked(sentence or "", what, region, painted if chosen == "painted" else None, _hex(hue), float(much), int(first), int(number or 0))

    def edited(user: str, project: str, *values: Any) -> None:
        desk.edit(user, project, None, asked(user, project, *values))

    def attempted(user: str, project: str, name: str | None, sentence: str, much: float, number: float) -> None:
        desk.try_edit(user, project, None, name or "", Asked(sentence or "", strength=float(much), seed=int(number or 0)))

    ui.act(attempt.click, attempted, [photo, prompt, strength, seed])
    ui.act(go.click, edited, [prompt, where, how, color, strength, views, seed, mask], js=_PAINTED)
    ui.again(ui.act(undo.click, lambda user, project: desk.undo_edit(user, project) and None).success)
    ui.again(ui.act(redo.click, lambda user, project: desk.redo_edit(user, project) and None).success)
    ui.act(look.click, lambda user, project: gr.Tabs(selected=number - 2), [], [walk])


def _chips(sentences: tuple[str, ...]) -> str:
    """Sentences to begin with: a click writes one into the box."""
    return '<div class="chips" role="group" aria-label="Sentences to begin with">' + "".join(f'<button type="button" data-words="{text(s)}">{text(s)}</button>' for s in sentences) + "</div>"


def photos_of(project: Project, name: str) -> list[str]:
    folder = project.result(name) / "images"
    return sorted(p.name for p in folder.iterdir() if p.suffix.lower() in (".png", ".jpg", ".jpeg")) if folder.is_dir() else []


def _tried(ui: Ui, project: Project) -> str:
    """The last sentence that was tried on one photo."""
    done = [t for t in ui.desk.queue.of(project.key) if t.kind == "tryout" and t.status == "done"]
    links = ui.desk.links(done[-1]) if done else []
    if len(links) < 2:
        return ""
    return f'<h2>Tried on one photo: {text(done[-1].arguments["prompt"])}</h2>{compare(links[1]["url"], links[0]["url"], "the photo", "tried")}'


def _stack(project: Project, edits: list[dict[str, Any]], name: str) -> str:
    """What led to the newest result."""
    if not edits:
        return "<p>This scene was not edited yet. Try a sentence on one photo first; it takes seconds.</p>"
    rows = []
    for e in edits:
        notes = []
        if e.get("region"):
            notes.append(f"only in {e['region']}")
        if "warp_error" in e:
            notes.append(f"views differ by {100 * e['warp_error']:.1f} % where they show the same, {100 * e['warp_error_before']:.1f} % before")
        if e.get("unchanged_outside"):
            notes.append("unchanged outside")
        rows.append(f'<li><strong>{text(e["prompt"] or e["do"])}</strong> {text("; ".join(notes))}</li>')
    report = f"/files/{project.id}/results/{text(name)}/report.html"
    return f'<h2>Edits of this scene</h2><ol class="edits">{"".join(rows)}</ol><p><a href="{report}" target="_blank" rel="noopener">Whole report</a></p>'


def _compared(project: Project, name: str, photo: str | None) -> str:
    """A photo before all edits and now."""
    if not name:
        return ""
    photos, folder = photos_of(project, name), project.result(name)
    chosen = photo if photo in photos else photos[len(photos) // 2] if photos else ""
    before = next((f"originals/{Path(chosen).stem}{s}" for s in (".jpg", ".png") if (folder / "originals" / f"{Path(chosen).stem}{s}").exists()), None)
    if before is None:
        return ""
    at = f"/files/{project.id}/results/{text(name)}"
    return f'<h2>Before and after</h2>{compare(f"{at}/{text(before)}", f"{at}/images/{text(chosen)}", "before", "after")}'


def _canvas(project: Project, photo: str | None) -> str:
    """A photo to paint on."""
    names = project.results()
    if not names or not photo or photo not in photos_of(project, names[-1]):
        return "<p>Choose a photo to paint on.</p>"
    source = f"/files/{project.id}/results/{text(names[-1])}/images/{text(photo)}"
    return (
        f'<div class="paint" data-photo="{text(photo)}"><img src="{source}" alt="The photo to paint on"><canvas aria-label="Paint where the edit applies"></canvas></div>'
        '<div class="brush"><label>Brush <input type="range" min="4" max="80" value="28"></label>'
        '<button type="button" data-act="paint" aria-pressed="true">Paint</button><button type="button" data-act="erase" aria-pressed="false">Erase</button>'
        '<button type="button" data-act="all">All of it</button><button type="button" data-act="clear">Nothing</button></div>'
    )


def _hex(color: str) -> str:
    """Gradio's colour, which may come as rgba(...)."""
    value = str(color or "").strip()
    if value.startswith("rgb"):
        numbers = value[value.index("(") + 1 : value.index(")")].split(",")[:3]
        return "#" + "".join(f"{min(max(round(float(n)), 0), 255):02x}" for n in numbers)
    return value
