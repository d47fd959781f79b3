"""`lumigraph edit` and `lumigraph evaluate-edit`: what they are given, what they print, and the page about an edit."""

import html
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from data.errors import InputError
from data.progress import Progress
from recon.editing.options import EditOptions, EditTask
from recon.editing.prompts import checked, understood

_OUT = tyro.conf.arg(aliases=["-o"])
_FLAT = tyro.conf.arg(name="")


@dataclass(frozen=True)
class Edit:
    """Change a scene by a sentence: its photos are edited so that they agree in 3D, and the scene follows.

    OUT2 is a whole result: edited photos, field, mesh, and a report of before and after. Edits stack up: edit OUT2 again, or --undo the last;
    its edit.toml says how to --repeat them. The editor that comes with the program knows some three hundred words and works offline on any machine;
    --model takes larger ones. Without a model: --do recolor, remove, crop, background.
    """

    result: tyro.conf.Positional[Path]
    """Folder that `reconstruct` or an earlier edit wrote."""
    prompt: tyro.conf.Positional[str] = ""
    """What should change: "make it autumn"."""
    out: Annotated[Path | None, _OUT] = None
    """Folder for the edited result."""
    options: Annotated[EditOptions, _FLAT] = field(default_factory=EditOptions)
    try_on: str = ""
    """Edit only this photo (its file name), by itself, to see what the sentence does; -o is then a picture."""
    repeat: Path | None = None
    """An edit.toml: its edits are done again."""
    undo: bool = False
    """Take back the last edit of a result that was edited."""
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
    json: bool = False
    """Print the report as JSON on standard output, for other programs."""


@dataclass(frozen=True)
class EvaluateEdit:
    """How good an edit is: do its views agree, is it true outside of its region, was the asked change made?

    With two results, measures the second against the first. With --accuracy N, judges the editor on N procedural edits whose answer is known.
    """

    before: tyro.conf.Positional[Path | None] = None
    """The result that was edited."""
    after: tyro.conf.Positional[Path | None] = None
    """The edited result."""
    accuracy: int = 0
    """Judge the editor on so many procedural edits instead."""
    model: str = "shipped"
    """The editor to judge."""
    clip: str = ""
    """Id or folder of a CLIP model, for directional similarity; must be on this machine."""
    source: str = ""
    """For CLIP: what the scene shows before, in words."""
    target: str = ""
    """For CLIP: what it shows after."""
    seed: int = 0
    """Of the procedural worlds."""
    device: str = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""
    json: bool = False
    """Print the result as JSON on standard output, for other programs."""


def run_edit(command: Edit, run_job: Callable[[str, dict[str, Any], bool], dict[str, Any]]) -> int:
    """Run it as a job and say where the result is."""
    from app.config import to_json

    if command.out is None:
        raise InputError("The edited result needs a place. Give -o FOLDER.")
    if command.options.do == "prompt" and command.repeat is None and not command.undo:  # said at once, not after a job has begun
        (understood if command.options.model == "shipped" else checked)(command.prompt)
    if command.try_on:
        values = {"result": str(command.result), "photo": command.try_on, "prompt": command.prompt, "options": to_json(command.options), "out": str(command.out)}
        found = run_job("tryout", values, command.json)
        if not command.json:
            print(found["files"][0])
        return 0
    task = EditTask(command.result, command.out, command.prompt, command.options, command.repeat, command.undo, command.overwrite)
    report = run_job("edit", to_json(task), command.json)
    if not command.json:
        for line in _told(report["edits"]):
            print(line)
        print(f"{command.out / 'mesh.glb'}\n{command.out / 'report.html'}")
    return 0


def _told(edits: list[dict[str, Any]]) -> list[str]:
    out = []
    for e in edits:
        words = [f"  {e['prompt'] or e['do']}"]
        if "warp_error" in e:
            words.append(f"views differ by {100 * e['warp_error']:.1f} % where they show the same ({100 * e['warp_error_before']:.1f} % before the edit)")
        if e.get("seen_behind") is not None:
            words.append(f"{100 * e['seen_behind']:.0f} % of what was hidden is in other photos, the rest was continued")
        if e.get("unchanged_outside"):
            words.append("nothing changed outside of the region")
        out.append(": ".join([words[0], "; ".join(words[1:])]) if words[1:] else words[0])
    return out


def run_evaluate_edit(command: EvaluateEdit, run_job: Callable[[str, dict[str, Any], bool], dict[str, Any]]) -> int:
    """Measure, and print one figure a line."""
    from app.config import to_json

    if command.accuracy < 0 or (not command.accuracy and (command.before is None or command.after is None)):
        raise InputError("There is nothing to measure. Give a result and the edited result, or --accuracy N to judge the editor itself.")
    found = run_job("evaluate_edit", to_json(command), command.json)
    if not command.json:
        for key, value in found.items():
            if isinstance(value, (int, float)):
                print(f"{key:20} {value:.4g}")
            elif key == "kinds":
                for kind, row in value.items():
                    print(f"  {kind:18} {row['accuracy']:.2f} of {row['edits']}")
    return 0


def evaluate(arguments: dict[str, Any]) -> Generator[Progress, None, dict[str, Any]]:
    """`evaluate-edit` as work that tells how far it is."""
    from recon.editing.editors import chosen_device, open_editor
    from recon.editing.evaluation import EvaluateTask, evaluate_edit

    device = str(chosen_device(arguments["device"]))
    if not arguments["accuracy"]:
        return (yield from evaluate_edit(EvaluateTask(Path(arguments["before"]), Path(arguments["after"]), arguments["clip"], arguments["source"], arguments["target"], device)))
    from recon.editing.accuracy import judge, summary

    editor = open_editor(EditOptions(model=arguments["model"], device=arguments["device"]))
    return summary((yield from judge(editor, arguments["accuracy"], arguments["seed"])))


def write_edit_page(out: Path, report: dict[str, Any]) -> Path:
    """``out/report.html`` of an edited result: before and after under a slider, what was done, how well the views agree; one file."""
    from app.report import STYLE, figure
    from data.files import atomic_write

    rows = "".join(
        f"<tr><td>{html.escape(e['prompt'] or e['do'])}</td><td>{html.escape(e.get('editor', 'no model'))}</td><td>{html.escape(e.get('region') or 'everywhere')}</td>"
        f"<td>{_percent(e.get('warp_error_before'))}</td><td>{_percent(e.get('warp_error'))}</td><td>{_outside(e)}</td></tr>"
        for e in report["edits"]
    )  # fmt: skip
    names = report["pictures"]["edits"]
    pairs = "".join(
        f'<div class="pair">{figure(out / a, "before", 640)}{figure(out / b, "after", 640)}<input type="range" min="0" max="100" value="50" aria-label="Where before ends and after begins"></div>'
        for a, b in zip(names[::2], names[1::2])
    )  # fmt: skip
    sides = "".join(figure(out / name, "", 480) for name in report["pictures"]["sides"])
    title = ", then ".join(e["prompt"] or e["do"] for e in report["edits"]) or "all edits undone"
    page = f"""<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{html.escape(title)} - Lumigraph edit</title><style>{STYLE}{_STYLE}</style>
<h1>{html.escape(title)}</h1><p>An edit of {html.escape(Path(report["edited_from"]).name)}; {report["seconds"]["total"]:.0f} s. <code>lumigraph edit RESULT --repeat edit.toml -o OUT</code> does it again.</p>
<h2>Before and after</h2><div class="grid wide">{pairs}</div>
<h2>What was done</h2><table><tr><th>edit</th><th>editor</th><th>where</th><th>views differ, before</th><th>after</th><th>outside of the region</th></tr>{rows}</table>
<p>"Views differ": mean difference of colour between a view and its neighbours warped into it by depth, where both show the same place.</p>
<h2>The mesh from four sides</h2><div class="grid">{sides}</div>
<script>{_SCRIPT}</script></html>
"""
    path = out / "report.html"
    atomic_write(path, page.encode())
    return path


_STYLE = ".pair{position:relative;--at:50%}.pair figure:nth-child(2){position:absolute;inset:0;clip-path:inset(0 0 0 var(--at))}.pair figcaption{position:absolute;top:.3rem;padding:0 .4rem;background:#000a;color:#fff;border-radius:4px}.pair figure:nth-child(1) figcaption{left:.3rem}.pair figure:nth-child(2) figcaption{right:.3rem}.pair input{width:100%}"  # fmt: skip
_SCRIPT = "for(const p of document.querySelectorAll('.pair'))p.querySelector('input').oninput=e=>p.style.setProperty('--at',e.target.value+'%')"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _outside(e: dict[str, Any]) -> str:
    if e.get("unchanged_outside"):
        return "unchanged"
    return f"{e['psnr_outside']:.1f} dB" if e.get("psnr_outside") else ""
