"""Photos: drop them, see what is wrong with each, leave some out, cut the subject out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import gradio as gr

from app.projects import Project
from app.studio.ui import Ui, asset, text

NAME = "Photos"
_KINDS = {"blur": "blurred", "dark": "too dark", "bright": "too bright", "duplicate": "the same as another"}


def build(ui: Ui, walk: gr.Tabs, number: int) -> None:
    desk = ui.desk
    intro = gr.Markdown(elem_id="photos-intro")
    with gr.Row():
        files = gr.File(label="Photos, a video or a zip", file_count="multiple", elem_id="photos", height=150)
        folder = gr.File(label="Or a whole folder", file_count="directory", elem_id="folder", height=150)
    findings = gr.HTML(elem_id="findings")
    gallery = gr.HTML(elem_id="gallery", js_on_load=asset("photos.js"))
    with gr.Row(visible=False) as more:
        masks = gr.Radio(
            [("Keep everything", "none"), ("Cut the subject out", "auto")], value="none", label="Background", elem_id="masks",
            info="Cutting out works where the subject stands apart from its background and touches no edge. Look at the result before you go on.",
        )  # fmt: skip
        on = gr.Button("On to the cameras", variant="primary", elem_id="photos-next")

    def shown(user: str, project: Project | None) -> list[Any]:
        content: dict[str, Any] = desk.findings(project) if project else {"photos": {}, "left_out": [], "masks": "none"}
        photos = content["photos"].get("photos", [])
        count = len(photos)
        words = (
            "Drop 20 to 60 overlapping photos of one thing or place, a zip of them, or a video. Everything stays on this machine."
            if project is None
            else "Drop more photos to add them."
        )
        return [words, _findings(content) if project else "", _gallery(project, content) if project else "", gr.Row(visible=count > 1), content["masks"]]

    ui.show([intro, findings, gallery, more, masks], shown)
    for box in (files, folder):
        taken = ui.act(box.upload, _taken(ui), [box], [ui.project, box])
        ui.again(taken.success)
    ui.act(gallery.click, lambda user, project, asked: desk.leave_out(user, project, [str(asked["name"])], bool(asked["out"])), sent=True, every=True)
    ui.act(masks.input, desk.masks, [masks])
    ui.act(on.click, lambda user, project: _cameras(ui, user, project, number), [], [walk])


def _cameras(ui: Ui, user: str, project: str, number: int) -> Any:
    """To the next step, whose work begins at once."""
    if not ui.desk.projects.open(user, project).read("cameras.json"):
        ui.desk.find_cameras(user, project)
    return gr.Tabs(selected=number + 1)


def _taken(ui: Ui) -> Any:
    def taken(user: str, project: str, names: Sequence[str] | str | None) -> tuple[str, None]:
        files = ui.desk.uploaded(names)
        if project:
            return ui.desk.add(user, project, files).id, None
        return ui.desk.create(user, _title(files), files).id, None

    return taken


def _title(files: Sequence[tuple[Path, str]]) -> str:
    """A name for a new project: the zip's or the video's, or what the photos' names have in common."""
    import time
    from itertools import takewhile

    stems = [Path(name).stem for _, name in files]
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*stems, strict=False))
    common = "".join(letters[0] for letters in same)
    if len(stems) > 1:
        common = common.strip("_-. 0123456789")
    return common if len(common) > 2 else f"Photos of {time.strftime('%d %B, %H:%M')}"


def _findings(content: dict[str, Any]) -> str:
    """What is wrong, in plain words, the worst first."""
    photos = content["photos"]
    if not photos:
        return ""
    order = {"serious": 0, "warning": 1, "note": 2}
    rows = [
        f'<li class="{text(f["severity"])}"><strong>{text(f["message"])}</strong> {text(f["advice"])}</li>'
        for f in sorted(photos["findings"], key=lambda f: order.get(f["severity"], 3))
    ]
    rows += [f'<li class="warning"><strong>{text(d["file"])} cannot be used.</strong> {text(d["why"])}</li>' for d in photos["dropped"]]
    rows += [f'<li class="note">{text(n)}</li>' for n in photos["notes"]]
    kind = {"photos": "photos", "video": "frames of a video"}.get(photos["format"], f"photos of a data set ({photos['format']})")
    cameras = " Their cameras are known." if photos["posed"] else ""
    masked = " They came with masks." if photos["masked"] and content["masks"] == "none" else ""
    good = "" if rows else '<li class="good"><strong>No problems seen.</strong></li>'
    return f'<h2>{len(photos["photos"])} {text(kind)}</h2><p>{cameras}{masked}</p><ul class="findings">{"".join(rows)}{good}</ul>'


def _gallery(project: Project, content: dict[str, Any]) -> str:
    """One card a photo: what it shows, what is wrong with it, and a button to leave it out."""
    photos = content["photos"].get("photos", [])
    wrong: dict[str, list[str]] = {}
    for finding in content["photos"].get("findings", []):
        for name in finding["photos"]:
            wrong.setdefault(name, []).append(_KINDS.get(finding["kind"], finding["kind"]))
    removable = content["photos"].get("format") in ("photos", "video", "nerfstudio") and len(photos) > 2
    at = f"/files/{project.id}/"
    # A photo's file may change under the same thumbnail's name: the number of the look makes its address new.
    look = int((project.folder / "photos.json").stat().st_mtime) if photos else 0
    masked = {p.stem for p in (project.folder / "scene" / "masks").glob("*.png")} if content["masks"] == "auto" else set()
    cards = []
    for photo in photos:
        name, bad = photo["name"], wrong.get(photo["name"], [])
        note = f'<em>{text(", ".join(bad))}</em>' if bad else f'{photo["width"]} x {photo["height"]}'
        stem = Path(name).stem
        cut = f' style="--mask:url(&quot;{at}scene/masks/{quote(stem)}.png&quot;)" class="cut"' if stem in masked else ""
        button = f'<button type="button" data-name="{text(name)}" data-out="1" aria-label="Leave out {text(name)}">Leave out</button>' if removable else ""
        cards.append(
            f'<li class="{"bad" if bad else ""}"><span{cut}><img loading="lazy" src="{at}{quote(photo["thumb"])}?{look}" alt="{text(name)}"></span>'
            f"<span>{text(Path(name).name)}<br>{note}</span>{button}</li>"
        )
    for name in content["left_out"]:
        cards.append(f'<li class="out"><span>{text(name)}<br>left out</span><button type="button" data-name="{text(name)}" aria-label="Use {text(name)} again">Use again</button></li>')
    return f'<ul class="cards" aria-label="Photos">{"".join(cards)}</ul>' if cards else ""
