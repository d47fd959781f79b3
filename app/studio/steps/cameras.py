"""Cameras: where each photo was taken, which could not be connected and why, and the part of the scene that counts."""

import json
from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.ui import Said, Ui, asset, text

NAME = "Cameras"


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    with gr.Row():
        find = gr.Button("Find the cameras", variant="primary", elem_id="find-cameras")
        on = gr.Button("On to the reconstruction", elem_id="cameras-next")
    told = gr.HTML(elem_id="cameras-told")
    view = gr.HTML(elem_id="cameras-view", js_on_load=asset("cameras.js"))

    def shown(user: str, project: Project | None) -> list[Any]:
        if project is None:
            return ["<p>Add photos first.</p>", ""]
        cameras = project.read("cameras.json")
        if not cameras:
            return ["<p>From overlapping photos the studio finds out where each was taken. Then you see them here, with points on what they show.</p>", ""]
        shown = {**{k: cameras[k] for k in ("cameras", "points", "colors", "up")}, "suggested": cameras["box"], "box": project.meta.get("box")}
        # As text of an element, so that nothing in it can be taken for markup.
        return [_told(cameras), f'<div class="scene"><canvas tabindex="0" role="img" aria-label="Cameras and points in 3D. Drag or use the arrow keys to turn, plus and minus to zoom."></canvas><div class="sliders"></div></div><template>{text(json.dumps(shown))}</template>']

    ui.show([told, view], shown)
    ui.act(find.click, desk.find_cameras)
    ui.act(view.click, _cropped(ui), sent=True)
    ui.act(on.click, lambda user, project: gr.Tabs(selected=number + 1), [], [walk])


def _cropped(ui: Ui) -> Any:
    def cropped(user: str, project: str, asked: dict[str, Any]) -> Said:
        ui.desk.crop(user, project, asked.get("box"))
        return Said("The mesh will be made of what is in the box." if asked.get("box") else "The studio chooses what to mesh.")

    return cropped


def _told(cameras: dict[str, Any]) -> str:
    dropped, found = cameras["dropped"], len(cameras["cameras"])
    where = "Found by comparing the photos" if cameras["source"] == "colmap" else f"They came with the photos ({text(cameras['source'])})"
    error = cameras["reprojection_error_px"]
    fit = f"; they fit to {error:.2f} pixels" if error is not None else ""
    rows = "".join(f'<li class="{text(f["severity"])}"><strong>{text(f["message"])}</strong> {text(f["advice"])}</li>' for f in cameras["findings"])
    lost = "".join(f"<tr><td>{text(d['file'])}</td><td>{text(d['why'])}</td></tr>" for d in dropped)
    table = f'<details open><summary>{len(dropped)} photos left out</summary><table><tr><th scope="col">photo</th><th scope="col">why</th></tr>{lost}</table></details>' if dropped else ""
    return f'<h2>{found} cameras</h2><p>{where}{fit}.</p><ul class="findings">{rows}</ul>{table}'
