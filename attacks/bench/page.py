"""The leaderboard as one HTML file: tables, curves, matrices and pictures inside; no script, no network."""

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data.files import atomic_write

COLORS = ("#d1495b", "#2e86ab", "#3c9d5b", "#edae49", "#7d53a8", "#00798c", "#8d5524", "#5c6b73", "#e07be0", "#444444")

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1 { margin-bottom: .2rem; } h2 { margin-top: 2.2rem; } .small { font-size: .85em; opacity: .8; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } th, td { padding: .2rem .55rem; border-bottom: 1px solid var(--line); text-align: right; }
th:first-child, td:first-child, td.word, th.word { text-align: left; } td { white-space: nowrap; } tr.control { opacity: .75; } .wide { overflow-x: auto; }
.bad { color: #d1495b; font-weight: 600; } .row { display: flex; flex-wrap: wrap; gap: .8rem; } figure { margin: 0; } figure img { max-width: 15rem; display: block; }
figcaption { font-size: .8em; opacity: .8; } svg text { fill: currentColor; font-size: 11px; } details { margin: .6rem 0; } code { background: var(--soft); padding: .1rem .3rem; }
"""


def write_page(path: Path, content: dict[str, Any], folder: Path) -> None:
    """Write the page.

    Args:
        content: see `report.write_report`.
        folder: where `pictures/` is.
    """
    board = content["board"]
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>Robustness</title><style>{STYLE}</style>",
        "<h1>Robustness</h1>",
        f"<p class=small>lumigraph {content['lumigraph']}, commit {content['commit'] or 'unknown'}, torch {content['torch']}, {content['time']}<br>"
        f"<code>{html.escape(content['command'])}</code></p>", _threat(content["options"]), _reading(content),
    ]  # fmt: skip
    for scene in _unique(board, "scene"):
        mine = [b for b in board if b["scene"] == scene]
        parts.append(f"<h2>{html.escape(scene)}</h2>")
        reasons = sorted({f"{b['victim']}, {b['defence']}: {r}" for b in mine for r in b["reasons"]})
        if reasons:
            parts.append("<p class=bad>Unreliable:</p><ul>" + "".join(f"<li>{html.escape(r)}</li>" for r in reasons) + "</ul>")
        parts += [_curves(mine), _table(mine)]
        parts.append(_pictures([r for r in content["rows"] if r["scene_name"] == scene], folder))
    parts.append(_branches(content["rows"]))
    for name, matrix in content.get("transfer", {}).items():
        parts.append(_matrix(name, matrix))
    if content.get("poses"):
        parts.append(_poses(content["poses"]))
    if content.get("certificate"):
        parts.append(_certificate(content["certificate"]))
    if content.get("corruptions"):
        parts.append(_corruptions(content["corruptions"]))
    atomic_write(path, "\n".join(parts).encode())


def _threat(options: dict[str, Any]) -> str:
    views = "all source photos" if options["views"] is None else f"{options['views']} of the source photos"
    knows = "the photos of the target views" if options["knowledge"] == "truth" else "what the model renders from the clean photos"
    paths = "features and colours" if options["paths"] == "both" else "features alone (colours are blended from the clean photos)"
    norm = "any value changes by at most epsilon" if options["norm"] == "linf" else "each photo changes by at most epsilon in root mean square"
    share = options.get("follow", 1.0)
    gradients = "" if share == 1 else f" Gradients of the general engine follow the surface through its depth volumes with a share of {share:g}."
    return (
        f"<p>The attacker knows model, weights, defence, poses and {knows}, and changes {views}: {norm} (steps of 255), written with 8 bits a value. "
        f"The change reaches {paths}. Photos of at most {options['side']} pixels, looked at with at most {options['look']}; {options['sources']} source photos a view.{gradients}</p>"
    )


def _reading(content: dict[str, Any]) -> str:
    lpips = {
        "alexnet": "LPIPS is the published network.",
        "lumigraph": "LPIPS is the published formula over features of a network of our own: compare its numbers only with each other.",
        "none": "LPIPS is missing: no network is at hand.",
    }[content["lpips_network"]]
    return (
        "<p class=small>PSNR, SSIM and LPIPS are against the photo, with &rarr; against the render of the clean photos. Depth: mean relative error against the clean "
        "render's. Opacity: mean change. Lost: share of pixels whose surface vanished. Chamfer: between the surface points now and before, % of their diagonal. "
        "Seen views: those that a universal attack learned from, the others are unseen. "
        f"Uniform, gaussian and random-sign are noise of the same budget. {lpips}</p>"
    )


def _table(board: Sequence[dict[str, Any]]) -> str:
    head = (
        "<tr><th class=word>attack<th class=word>defence<th class=word>victim<th>&epsilon;<th>PSNR<th>&plusmn; seeds<th>worst view<th>lost dB<th>SSIM<th>LPIPS"
        "<th>&rarr;PSNR<th>&rarr;SSIM<th>&rarr;LPIPS<th>depth %<th>depth % (true)<th>opacity<th>lost %<th>chamfer %<th>mesh chamfer %<th>mesh area<th>seen views PSNR<th>photo PSNR<th>photo SSIM<th>photo LPIPS<th>s<th>"
    )
    lines = []
    for b in sorted(board, key=lambda b: (b["victim"], b["defence"], b["eps"], b["setting"], b["psnr"])):
        label = b["method"] + (" (universal)" if b["setting"] == "universal" and b["control"] else "")
        numbers = (
            _n(b["psnr"], 2), _n(b["psnr_std"], 2), _n(b["worst_psnr"], 2), _n(b["loss"], 2), _n(b["ssim"], 3), _n(b["lpips"], 3), _n(b["psnr_clean"], 2),
            _n(b["ssim_clean"], 3), _n(b["lpips_clean"], 3), _n(b["depth"], 1, 100.0), _n(b["depth_truth"], 1, 100.0), _n(b["opacity"], 3), _n(b["lost"], 1, 100.0),
            _n(b["chamfer"], 2, 100.0), _n(b["mesh_chamfer"], 2, 100.0), _n(b["mesh_area"], 2), _n(b["seen_psnr"], 2), _n(b["photo_psnr"], 1), _n(b["photo_ssim"], 3), _n(b["photo_lpips"], 3), _n(b["seconds"], 1),
        )  # fmt: skip
        flag = "<span class=bad title='see above'>unreliable</span>" if b["unreliable"] else ""
        words = "".join(f"<td class=word>{html.escape(str(x))}" for x in (b["defence"], b["victim"]))
        lines.append(
            f"<tr class={'control' if b['control'] else 'attack'}><td>{html.escape(label)}{words}<td>{b['eps']:g}" + "".join(f"<td>{n}" for n in numbers) + f"<td>{flag}"
        )
    return f"<details open><summary>All figures</summary><div class=wide><table>{head}{''.join(lines)}</table></div></details>"


def _curves(board: Sequence[dict[str, Any]]) -> str:
    """PSNR and depth error over epsilon, one line for each attack, a figure for each victim and defence."""
    figures = []
    for victim in _unique(board, "victim"):
        for defence in _unique(board, "defence"):
            mine = [b for b in board if b["victim"] == victim and b["defence"] == defence]
            if len({b["eps"] for b in mine}) < 2:
                continue
            title = f"{victim}, {defence}"
            figures.append(chart(f"{title}: PSNR, dB", _lines(mine, "psnr")))
            figures.append(chart(f"{title}: relative depth error", _lines(mine, "depth")))
    return f"<div class=row>{''.join(figures)}</div>"


def _lines(board: Sequence[dict[str, Any]], name: str) -> dict[str, list[tuple[float, float]]]:
    out: dict[str, list[tuple[float, float]]] = {}
    for b in sorted(board, key=lambda b: b["eps"]):
        label = b["method"] + (" (universal)" if b["control"] and b["setting"] == "universal" else "")
        if b[name] is not None and math.isfinite(b[name]):
            out.setdefault(label, []).append((b["eps"], b[name]))
    return out


def chart(title: str, lines: dict[str, list[tuple[float, float]]], width: int = 420, height: int = 260, ticks: Sequence[float] = ()) -> str:
    """A line chart as SVG.

    Args:
        ticks: where the horizontal axis is labelled; at every point if not given.
    """
    points = [p for line in lines.values() for p in line]
    if not points:
        return ""
    x1 = max(p[0] for p in points) or 1
    y0, y1 = min(p[1] for p in points), max(p[1] for p in points)
    y0, y1 = (y0 - 0.05 * (y1 - y0 or 1), y1 + 0.05 * (y1 - y0 or 1))
    left, right, top, bottom = 44, max(118, 36 + round(6.4 * max(map(len, lines)))), 24, 30
    width += right - 118

    def at(p: tuple[float, float]) -> str:
        return f"{left + p[0] / x1 * (width - left - right):.1f},{top + (y1 - p[1]) / (y1 - y0) * (height - top - bottom):.1f}"

    out = [f"<svg width={width} height={height} role=img><title>{html.escape(title)}</title><text x={left} y=14>{html.escape(title)}</text>"]
    for i in range(5):
        value = y0 + (y1 - y0) * i / 4
        level = at((0.0, value)).split(",")[1]
        out.append(f"<line x1={left} x2={width - right} y1={level} y2={level} stroke='#8884'/><text x={left - 5} y={level} text-anchor=end dominant-baseline=middle>{value:.3g}</text>")
    for x in ticks or sorted({p[0] for p in points}):
        place = at((x, y0)).split(",")[0]
        out.append(f"<text x={place} y={height - 12} text-anchor=middle>{x:g}</text>")
    for i, (label, line) in enumerate(lines.items()):
        color, dash = COLORS[i % len(COLORS)], " stroke-dasharray='4 3'" if label.split(" ")[0] in ("uniform", "gaussian", "random-sign") else ""
        out.append(f"<polyline points='{' '.join(map(at, line))}' fill='none' stroke='{color}' stroke-width='2'{dash}/>")
        y = top + 14 * i + 6
        out.append(f"<line x1={width - right + 8} x2={width - right + 24} y1={y} y2={y} stroke='{color}' stroke-width='2'{dash}/>")
        out.append(f"<text x={width - right + 28} y={y + 4}>{html.escape(label)}</text>")
    return "".join(out) + "</svg>"


def _pictures(rows: Sequence[dict[str, Any]], folder: Path) -> str:
    """For every attack at its largest budget: what went in and what came out."""
    most: dict[tuple[str, ...], dict[str, Any]] = {}
    for row in rows:
        cell = row["cell"]
        name = (cell["victim"], cell["defence"], cell["method"], cell["setting"])
        if cell["seed"] == 0 and cell["eps"] > 0 and (name not in most or cell["eps"] > most[name]["cell"]["eps"]):
            most[name] = row
    captions = {
        "photo": "source photo", "photo_attacked": "changed", "photo_difference": "difference x 10", "truth": "photo of the target", "clean": "render, clean",
        "attacked": "render, attacked", "depth_clean": "nearness, clean", "depth_attacked": "nearness, attacked",
    }  # fmt: skip
    out = []
    for (victim, defence, method, _), row in most.items():
        place = folder / "pictures" / row["key"]
        figures = "".join(
            f"<figure><img alt='{text}' src='data:image/png;base64,{base64.b64encode((place / f'{name}.png').read_bytes()).decode()}'><figcaption>{text}</figcaption></figure>"
            for name, text in captions.items()
            if (place / f"{name}.png").exists()
        )
        if figures:
            title = f"{method} at {row['cell']['eps']:g}/255, {defence}, {victim}"
            out.append(f"<details><summary>{html.escape(title)}</summary><div class=row>{figures}</div></details>")
    return "".join(out)


def _branches(rows: Sequence[dict[str, Any]]) -> str:
    found = [(r["scene_name"], r["cell"], b) for r in rows for b in r.get("branches", [])]
    if not found:
        return ""
    names = list(found[0][2])
    head = "<tr><th class=word>scene<th class=word>attack<th>&epsilon;" + "".join(f"<th>{html.escape(n)}" for n in names)
    lines = [f"<tr><td>{html.escape(s)}<td class=word>{c['method']}<td>{c['eps']:g}" + "".join(f"<td>{_n(b[n], 2)}" for n in names) for s, c, b in found]
    return (
        "<h2>Which branch does the damage</h2><p class=small>PSNR against the clean render, with one branch of the attacked state replaced by the clean one.</p>"
        f"<div class=wide><table>{head}{''.join(lines)}</table></div>"
    )


def _matrix(name: str, matrix: dict[str, Any]) -> str:
    """Damage in dB: the photos were changed for the row and are used for the column."""
    labels_a, labels_b, values = matrix["made_for"], matrix["used_on"], matrix["loss"]
    flat = [v for row in values for v in row if v is not None and math.isfinite(v)]
    top = max(flat, default=1) or 1
    head = "<tr><th class=word>made for \\ used on" + "".join(f"<th>{html.escape(x)}" for x in labels_b)
    lines = []
    for label, row in zip(labels_a, values, strict=True):
        cells = "".join(f"<td style='background: rgba(209,73,91,{max(min((v or 0) / top, 1), 0) * 0.7:.2f})'>{_n(v, 2)}" for v in row)
        lines.append(f"<tr><td>{html.escape(label)}{cells}")
    return f"<h2>Transfer: {html.escape(name)}</h2><p class=small>{html.escape(matrix['what'])}</p><div class=wide><table>{head}{''.join(lines)}</table></div>"


def _poses(rows: Sequence[dict[str, Any]]) -> str:
    head = "<tr><th class=word>scene<th class=word>photos<th>registered<th>reprojection, px<th>rotation, degrees<th>position, % of the spread<th>points"
    lines = [
        f"<tr><td>{html.escape(r['scene'])}<td class=word>{html.escape(r['method'])}<td>{r['registered']} of {r['given']}<td>{_n(r['reprojection_error'], 2)}"
        f"<td>{_n(r['rotation'], 2)}<td>{_n(r['position'], 2, 100.0)}<td>{r['points']}"
        for r in rows
    ]
    return f"<h2>Structure from motion on the changed photos</h2><div class=wide><table>{head}{''.join(lines)}</table></div>"


def _certificate(rows: Sequence[dict[str, Any]]) -> str:
    radii = list(dict.fromkeys(r["radius_in_steps_of_one_value"] for r in rows))
    head = "<tr><th class=word>scene<th class=word>target" + "".join(f"<th>{r:g}" for r in radii)
    lines = []
    for scene in dict.fromkeys(r["scene"] for r in rows):
        mine = [r for r in rows if r["scene"] == scene]
        lines.append(f"<tr><td>{html.escape(scene)}<td class=word>{html.escape(mine[0]['target'])}" + "".join(f"<td>{_n(r['certified'], 2) or 'none'}" for r in mine))
    first = rows[0]
    return (
        f"<h2>Certificate</h2><p class=small>Median PSNR over Gaussian noise of {first['sigma']:g}/255 that no change of the photos of the given Euclidean length (over all values "
        f"of all photos together, in steps of 255) can push lower, with {100 * first['confidence']:g} % confidence, from {first['samples']} samples.</p>"
        f"<div class=wide><table>{head}{''.join(lines)}</table></div>"
    )


def _corruptions(rows: Sequence[dict[str, Any]]) -> str:
    head = "<tr><th class=word>scene<th class=word>corruption" + "".join(f"<th>severity {i}" for i in range(1, 6)) + "<th>mean loss, dB"
    lines = []
    for row in rows:
        loss = [row["clean"] - v for v in row["psnr"]]
        cells = "".join(f"<td>{_n(v, 2)}" for v in row["psnr"]) + "<td>" * (5 - len(row["psnr"]))
        lines.append(f"<tr><td>{html.escape(row['scene'])}<td class=word>{html.escape(row['name'])}{cells}<td>{_n(sum(loss) / len(loss), 2)}")
    return f"<h2>Natural corruptions of the source photos</h2><p class=small>PSNR against the photo, dB.</p><div class=wide><table>{head}{''.join(lines)}</table></div>"


def _unique(board: Sequence[dict[str, Any]], name: str) -> list[str]:
    return list(dict.fromkeys(b[name] for b in board))


def _n(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "" if value is None or not math.isfinite(value) else f"{factor * value:.{digits}f}"
