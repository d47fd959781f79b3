"""`lumigraph understand`: what it is given, what it prints, and the page about an answer."""

import html
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from recon.understanding.options import UnderstandOptions, UnderstandTask

_OUT = tyro.conf.arg(aliases=["-o"])
_FLAT = tyro.conf.arg(name="")
TITLES = {
    "instances": "Things", "segment": "Classes", "materials": "Materials", "planes": "Flat surfaces", "edges": "Edges", "normals": "Normals", "depth": "Depth",
    "keypoints": "Key points", "features": "Features", "foreground": "The subject", "select": "What was selected",
}  # fmt: skip


@dataclass(frozen=True)
class Understand:
    """What is where in a scene, the same in all of its photos and on its mesh.

    2D predictions of the photos are blended as their colours are, so that they agree in 3D with no training on the scene. Written are a map of every
    photo, the coloured mesh, labels.json (names, areas, boxes) and a report. What --task select finds is a region for `lumigraph edit --region select`.
    """

    result: tyro.conf.Positional[Path]
    """Folder that `reconstruct` or `edit` wrote."""
    out: Annotated[Path | None, _OUT] = None
    """Folder for the answer; RESULT/understanding/TASK if not given. An earlier answer there is replaced."""
    options: Annotated[UnderstandOptions, _FLAT] = field(default_factory=UnderstandOptions)
    json: bool = False
    """Print the content of labels.json on standard output, for other programs."""


def run_understand(command: Understand, run_job: Callable[[str, dict[str, Any], bool], dict[str, Any]]) -> int:
    """Run it as a job and say what was found."""
    from app.config import to_json

    found = run_job("understand", to_json(UnderstandTask(command.result, command.out, command.options)), command.json)
    if not command.json:
        for line in told(found):
            print(line)
        print("\n".join(found["files"]))
    return 0


def told(found: dict[str, Any]) -> list[str]:
    """What was found, in words."""
    lines = []
    if "labels" in found:
        shown = [one for one in found["labels"] if one["faces"] or one["share_of_photos"] > 0.001]
        lines.append(f"  {len(shown)} {'label' if len(shown) == 1 else 'labels'}: " + ", ".join(one["name"] for one in shown[:12]) + (" ..." if len(shown) > 12 else ""))
    if "views_agree" in found:
        lines.append(f"  the photos agree about {100 * found['views_agree']:.1f} % of what two of them show")
    if found.get("vertices", {}).get("agreement") is not None:
        lines.append(f"  the photos agree to {100 * found['vertices']['agreement']:.1f} % at the vertices of the mesh")
    if found.get("box"):
        lines.append("  box: " + " ".join(f"{v:.4g}" for corner in found["box"] for v in corner))
    return lines


def write_understanding_page(out: Path, content: dict[str, Any]) -> Path:
    """``out/report.html``: pictures, what was found, how well the photos agree; one file."""
    from app.report import STYLE, figure
    from data.files import atomic_write

    names = [Path(n).stem for n in content["photos"]]
    some = names[:: max(len(names) // 8, 1)][:8]
    pictures = "".join(figure(out / "overlays" / f"{n}.jpg", n, 640) for n in some)
    rows = "".join(
        f'<tr><td><span class="swatch" style="background:rgb({",".join(str(v) for v in one["color"])})"></span> {html.escape(one["name"])}</td><td>{100 * one["share_of_photos"]:.1f} %</td>'
        f"<td>{len(one['in_photos'])}</td><td>{one['faces']:,}</td><td>{one['area']:.4g}</td><td>{_box(one['box'])}</td><td>{_percent(one['agreement'])}</td></tr>"
        for one in content.get("labels", [])
    )  # fmt: skip
    table = f"<h2>What was found</h2><table><tr><th>label</th><th>of the photos</th><th>in photos</th><th>faces</th><th>area</th><th>box</th><th>photos agree</th></tr>{rows}</table>" if rows else ""
    title = TITLES.get(content["task"], content["task"])
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)} - Lumigraph</title><style>{STYLE}.swatch{{display:inline-block;width:1em;height:1em;border-radius:3px;vertical-align:-2px}}</style>
<h1>{html.escape(title)}</h1><p>Task {html.escape(content["task"])}, model {html.escape(Path(content["model"]).name)}; {content["seconds"]:.0f} s.</p>
{"".join(f"<p>{html.escape(line.strip().capitalize())}.</p>" for line in told(content)[0 if not rows else 1:])}
<h2>Photos</h2><div class="grid wide">{pictures}</div>{table}
<p>mesh.glb is the mesh in these colours (at its vertices: the attribute _LABEL, the number of the label); maps/ has one picture for each photo.</p></html>
"""
    path = out / "report.html"
    atomic_write(path, page.encode())
    return path


def write_understanding_view(result: Path, out: Path) -> Path:
    """``out/view.html``: the answer in 3D. It is the page that shows photos on the mesh, with the answer laid over the photos: predictions are blended
    as colours are."""
    from dataclasses import replace

    import cv2
    import numpy as np

    from app.export import PAGE_FACES
    from app.viewer import write_page
    from data.images import load_rgba
    from recon.surface.realtime.baked import lighter
    from recon.surface.realtime.stored import load_baked

    baked = lighter(load_baked(result), PAGE_FACES)
    photos = baked.around.photos.copy()
    for k, name in enumerate(baked.names):
        picture, _ = load_rgba(out / "overlays" / f"{Path(name).stem}.jpg")
        photos[k, :, :, :3] = cv2.resize(picture, (photos.shape[2], photos.shape[1]), interpolation=cv2.INTER_AREA)
    return write_page(replace(baked, around=replace(baked.around, photos=np.ascontiguousarray(photos))), out / "view.html", f"{result.resolve().name}, {out.name}")


def _box(box: list[list[float]] | None) -> str:
    return "" if box is None else " &ndash; ".join(", ".join(f"{v:.3g}" for v in corner) for corner in box)


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f} %"
