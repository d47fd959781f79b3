"""Robustness: were these photos tampered with? And what would a small change of them do?"""

from pathlib import Path
from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.steps.explore import compare
from app.studio.ui import Ui, asset, text

NAME = "Robustness"
_METHODS = [("NeRFool: against the geometry", "nerfool"), ("PGD: against the picture", "pgd"), ("Depth: against the depth", "depth"), ("FGSM: one step", "fgsm")]


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    gr.Markdown("Photos from strangers can be changed so little that nobody sees it, and still ruin a reconstruction.")
    look = gr.Button("Inspect these photos", variant="primary", elem_id="inspect")
    found = gr.HTML(elem_id="inspected")
    gr.Markdown("**See an attack.** It changes the photos of this result, in memory, and shows what one view becomes.")
    with gr.Row():
        method = gr.Dropdown(_METHODS, value="nerfool", label="Attack", elem_id="method")
        eps = gr.Slider(1, 16, value=8, step=1, label="Largest change of a value, of 255", elem_id="eps")
        steps = gr.Slider(5, 100, value=20, step=5, label="Steps", elem_id="steps")
    attack = gr.Button("Attack", variant="primary", elem_id="attack")
    shown_attack = gr.HTML(elem_id="attacked", js_on_load=asset("compare.js"))

    def shown(user: str, project: Project | None) -> list[Any]:
        if project is None:
            return ["<p>Add photos first.</p>", ""]
        return [_inspected(project.read("robustness/inspection.json")), _attacked(ui, project)]

    ui.show([found, shown_attack], shown)
    ui.act(look.click, desk.inspect)
    ui.act(attack.click, lambda user, project, m, e, s: desk.attack(user, project, None, m, e, s), [method, eps, steps])


def _inspected(found: dict[str, Any]) -> str:
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{text(Path(p['file']).name)}</td><td>{p['score']:.2f}</td><td>{text(p['why']) or 'nothing unusual'}</td></tr>" for p in sorted(found["photos"], key=lambda p: -p["score"])[:20]
    )
    return f'<h2>{text(found["verdict"])}</h2><details><summary>The photos, the most suspicious first</summary><table><tr><th scope="col">photo</th><th scope="col">score, 0 to 1</th><th scope="col">why</th></tr>{rows}</table></details>'


def _attacked(ui: Ui, project: Project) -> str:
    """Before and after of the last attack: a photo, and the view that was reconstructed from such photos."""
    done = [t for t in ui.desk.queue.of(project.key) if t.kind == "attack" and t.status == "done"]
    if not done:
        return ""
    out = project.folder / "robustness" / Path(done[-1].arguments["out"]).name  # the folder of projects may have been moved since
    method = done[-1].arguments["options"]["method"][0]
    places = [p.parent for p in sorted((out / "pictures").rglob("attacked.png"))]
    if not places:
        return ""
    place = next((p for p in places if f"{method}" in p.as_posix().split("/pictures/")[1]), places[-1])
    at = lambda name: ui.desk.link(place / name)  # noqa: E731
    board = next((b for b in project.read(f"robustness/{out.name}/results.json").get("board", []) if b["method"] == method and b["eps"] > 0), None)
    loss = f" The view loses {board['loss']:.1f} dB against the same view from untouched photos." if board and board.get("loss") is not None else ""
    report = ui.desk.link(out / "leaderboard.html")
    return (
        f'<h2>{text(done[-1].title)}</h2><p>{text(loss)} <a href="{report}" target="_blank" rel="noopener">Whole report</a></p>'
        f'{compare(at("photo.png"), at("photo_attacked.png"), "a photo", "the same photo, attacked")}<br>'
        f'{compare(at("clean.png"), at("attacked.png"), "the view, from untouched photos", "from attacked photos")}'
    )

