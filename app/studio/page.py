"""The page: projects at the side, what is going on at the top, the walk from photos to export below."""

from typing import Any

import gradio as gr

from app.projects import Project
from app.studio import api
from app.studio.desk import Desk
from app.studio.steps import cameras, edit, explore, export, photos, reconstruct, robustness, understand
from app.studio.ui import Ui, asset, text

FOOTER: list[Any] = ["api"]
STEPS = (photos, cameras, reconstruct, explore, understand, edit, robustness, export)
"""In the order of the walk."""

_URL = "(p) => { const u = new URL(location); p ? u.searchParams.set('project', p) : u.searchParams.delete('project'); history.replaceState(null, '', u); return []; }"


def looks() -> dict[str, Any]:
    """Theme, styles and scripts: all from this machine."""
    theme = gr.themes.Soft(
        primary_hue="indigo", neutral_hue="slate", font=["system-ui", "-apple-system", "Segoe UI", "sans-serif"], font_mono=["ui-monospace", "monospace"]
    ).set(button_primary_background_fill="*primary_700", button_primary_background_fill_hover="*primary_600", button_primary_background_fill_dark="*primary_600", block_label_text_color="*primary_800", block_title_text_color="*primary_800",
      checkbox_label_background_fill_selected="*primary_700", checkbox_label_background_fill_selected_dark="*primary_700", body_text_color_subdued="*neutral_600",
      link_text_color="*primary_700", link_text_color_dark="*primary_300", link_text_color_hover_dark="*primary_200", link_text_color_visited_dark="*primary_300",
      block_info_text_color="*neutral_600")
    return {"theme": theme, "css": asset("page.css"), "head": f"<script>{asset('page.js')}</script>"}


def build(desk: Desk, with_login: bool = False) -> gr.Blocks:
    """The page over a desk."""
    with gr.Blocks(title="Lumigraph studio", analytics_enabled=False, fill_width=True) as page:
        ui = Ui(desk)
        _sidebar(ui, with_login)
        heading = gr.HTML("<h1>Lumigraph</h1>", elem_id="heading")
        bar = gr.HTML("", elem_id="jobs", js_on_load=asset("jobs.js"))
        with gr.Tabs(selected=0, elem_id="walk") as walk:
            for number, step in enumerate(STEPS):
                with gr.Tab(f"{number + 1} {step.NAME}", id=number, elem_id=f"step-{step.NAME.lower()}"):
                    step.build(ui, walk, number)
        ui.show([heading], lambda user, project: [f"<h1>{text(project.name) if project else 'Photos to 3D, on this machine'}</h1>"])
        ui.act(bar.click, _bar_clicked(ui), sent=True, every=True)
        ui.again(page.load)
        page.load(lambda p: p, ui.project, ui.project, js="() => new URL(location).searchParams.get('project') || ''", queue=False, show_progress="hidden", api_visibility="private")
        ui.again(ui.project.change)
        ui.again(bar.change)
        ui.act(ui.project.change, _where_to(ui), [], [walk])
        ui.project.change(None, ui.project, None, js=_URL, queue=False, api_visibility="private")
        ui.wire()
        api.register(desk)
    return page.queue(max_size=200, default_concurrency_limit=8)


def _where_to(ui: Ui) -> Any:
    """The step at which one goes on with a project that was just opened."""

    def where(user: str, project_id: str) -> gr.Tabs:
        project = ui.desk.projects.open(user, project_id) if project_id else None
        if project is None or not project.read("photos.json"):
            return gr.Tabs(selected=0)
        if project.results():
            return gr.Tabs(selected=3)
        return gr.Tabs(selected=2 if project.read("cameras.json") else 0)

    return where


def _bar_clicked(ui: Ui) -> Any:
    """The bar's own buttons: cancel, go on."""

    def clicked(user: str, project: str, asked: dict[str, Any]) -> None:
        act = {"cancel": ui.desk.cancel, "resume": ui.desk.resume}.get(str(asked.get("act")))
        if act is not None:
            act(user, project, str(asked.get("job", "")))

    return clicked


def _sidebar(ui: Ui, with_login: bool) -> None:
    """Past projects, the machine, the queue."""
    desk = ui.desk
    with gr.Sidebar(width=290, elem_id="side"):
        gr.HTML("<h2>Projects</h2>")
        new = gr.Button("New project", variant="primary", elem_id="new")
        example = gr.Button("Try the example", elem_id="example")
        chosen = gr.Radio([], label="Open", elem_id="projects", show_label=False, visible=False)
        with gr.Accordion("Rename or delete", open=False, visible=False, elem_id="manage") as manage:
            name = gr.Textbox(label="Name", max_length=80, elem_id="name")
            rename = gr.Button("Rename", size="sm", elem_id="rename")
            sure = gr.Checkbox(label="Yes, delete all of it for good", elem_id="sure")
            delete = gr.Button("Delete", variant="stop", size="sm", elem_id="delete")
        machine = gr.HTML(elem_id="machine")
        if with_login:
            gr.HTML('<form method="post" action="/logout"><button class="plain">Log out</button></form>')

    def shown(user: str, project: Project | None) -> list[Any]:
        listed = desk.listed(user)
        choices = [(_label(p), p["id"]) for p in listed]
        total = sum(p["bytes"] for p in listed)
        used = f"<p>{text(desk.machine())}</p><p>Projects take {_bytes(total)}.</p>"
        return [
            gr.Radio(choices, value=project.id if project else None, visible=bool(choices)), gr.Accordion(visible=project is not None),
            used,
        ]  # fmt: skip

    ui.show([chosen, manage, machine], shown)
    # Only when another project is opened: whoever is typing a name keeps it.
    ui.act(ui.project.change, lambda user, project: desk.projects.open(user, project).name if project else "", [], [name])
    ui.act(chosen.input, lambda user, _, value: value or "", [chosen], [ui.project])
    ui.act(new.click, lambda user, _: "", [], [ui.project])
    ui.act(example.click, lambda user, _: desk.example(user).id, [], [ui.project])
    renamed = ui.act(rename.click, desk.rename, [name])
    ui.again(renamed.success)
    ui.act(delete.click, _deleted(ui), [sure], [ui.project, sure])


def _deleted(ui: Ui) -> Any:
    from data.errors import InputError

    def deleted(user: str, project: str, sure: bool) -> tuple[str, bool]:
        if not sure:
            raise InputError("Deleting cannot be undone. Tick the box above the button first.")
        ui.desk.delete(user, project)
        return "", False

    return deleted


def _label(project: dict[str, Any]) -> str:
    parts = [f"{project['photos']} photos"] if project["photos"] else []
    if project["results"]:
        parts.append(f"{len(project['results'])} result{'s' if len(project['results']) > 1 else ''}")
    return f"{project['name']} ({', '.join([*parts, _bytes(project['bytes'])])})"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GB" if count >= 2**30 else f"{count / 2**20:.0f} MB" if count >= 2**20 else f"{count / 1024:.0f} kB"
