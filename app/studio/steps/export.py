"""Export: the result for another program, or all of it as one zip."""

from typing import Any

import gradio as gr

from app.projects import Project
from app.studio.ui import Ui, text

NAME = "Export"
_TARGETS = [("As it is", "none"), ("Blender", "blender"), ("Unity", "unity"), ("A web page or phone", "web"), ("3D printing", "print")]
_FORMATS = [
    ("GLB: mesh with texture", "glb"), ("OBJ: mesh with texture", "obj"), ("PLY: mesh with colours", "ply"), ("STL: shape alone", "stl"), ("USDZ: for Apple devices", "usdz"),
    ("Points (PLY)", "points"), ("Interactive page (HTML)", "html"), ("Photos and cameras (nerfstudio)", "transforms"), ("Photos and cameras (COLMAP)", "colmap"),
]  # fmt: skip


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    stats = gr.HTML(elem_id="mesh-stats")
    with gr.Row():
        target = gr.Radio(_TARGETS, value="none", label="For", elem_id="target")
        form = gr.Dropdown(_FORMATS, value="glb", label="Format", elem_id="format", info="Presets (Blender, Unity, ...) choose it themselves.")
    with gr.Row():
        faces = gr.Number(value=None, label="Most faces (empty: all)", precision=0, elem_id="faces")
        texture = gr.Dropdown([("as it is", 0), ("512", 512), ("1024", 1024), ("2048", 2048), ("4096", 4096)], value=0, label="Texture, texels a side", elem_id="texture")
        flatten = gr.Checkbox(label="Take the light out of the texture", elem_id="flatten")
        normal = gr.Checkbox(label="Keep fine shape as a normal map (GLB, with fewer faces)", elem_id="normal-map")
    part = gr.Radio([("All of it", ""), ("What I selected in the Understand step", "select"), ("The subject, as found there", "foreground")], value="", label="Part", elem_id="part")
    with gr.Row():
        go = gr.Button("Export", variant="primary", elem_id="export")
        pack = gr.Button("Everything as one zip", elem_id="pack")
    files = gr.HTML(elem_id="files")

    def shown(user: str, project: Project | None) -> list[Any]:
        return [_statistics(project), _files(ui, project)]

    ui.show([stats, files], shown)
    ui.act(go.click, lambda user, project, t, f, n, x, fl, nm, p: desk.export(user, project, None, f, t, n, x, fl, nm, p), [target, form, faces, texture, flatten, normal, part])
    ui.act(pack.click, lambda user, project: desk.pack(user, project, None))


def _statistics(project: Project | None) -> str:
    if project is None or not project.results():
        return "<p>There is nothing to export yet. Reconstruct first.</p>"
    mesh = project.read(f"results/{project.results()[-1]}/report.json")["mesh"]
    closed = "closed" if mesh.get("watertight") else f"open, {len(mesh.get('open_rims', []))} rims"
    rows = [("vertices", f"{mesh['vertices']:,}"), ("faces", f"{mesh['faces']:,}"), ("pieces", mesh.get("components", "")), ("surface", closed), ("texture", f"{mesh['texture']} x {mesh['texture']}")]
    return "<h2>The mesh</h2><table>" + "".join(f'<tr><th scope="row">{k}</th><td>{text(v)}</td></tr>' for k, v in rows) + "</table>"


def _files(ui: Ui, project: Project | None) -> str:
    """What was exported so far, the newest first."""
    if project is None:
        return ""
    folder = project.folder / "exports"
    found = sorted((p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".") and len(p.relative_to(folder).parts) == 2), key=lambda p: -p.stat().st_mtime) if folder.is_dir() else []
    rows = "".join(f'<li><a href="{ui.desk.link(p)}?download=true" download>{text(p.name)}</a> ({p.parent.name}, {p.stat().st_size / 2**20:.1f} MB)</li>' for p in found[:30])
    return f'<h2>Files</h2><ul class="files">{rows}</ul>' if rows else ""
