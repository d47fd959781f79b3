"""What a suite can ask besides its cells: transfer matrices and natural corruptions. Each finished piece is kept, as cells are."""

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.ball import allowed
from attacks.bench.cells import CONTROLS, Cell, attack_of, load_victim, plain, prepared_scene
from attacks.bench.running import device_of
from attacks.bench.suite import Suite
from attacks.case import Case, read_cases, read_universal
from attacks.corruptions import variants
from attacks.scores import score_view
from data.files import write_json
from data.progress import Progress
from data.scene import Scene

Extras = Generator[Progress, None, Any]


def run_extras(suite: Suite) -> Extras:
    """`transfer` and `corruptions` of `report.write_report`, as far as the suite asks for them."""
    out: dict[str, Any] = {}
    if suite.options.transfer:
        out["transfer"] = yield from transfer(suite)
    if suite.options.corruptions:
        out["corruptions"] = yield from natural(suite)
    if suite.options.pose_estimation:
        out["poses"] = yield from poses(suite)
    if suite.options.certificate:
        out["certificate"] = yield from certificates(suite)
    return out


def natural(suite: Suite) -> Extras:
    """Rows of `name`, `clean` and `psnr` by severity, for each scene; the first victim and defence."""
    o, device = suite.options, device_of(suite.device)
    victim = load_victim(o.victim[0], o.defence[0], device, o)
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for number, path in enumerate(suite.scenes):
        case = read_cases(prepared_scene(str(path), o.side), o.sources, o.hold_out, 1)[0].to(victim.device)
        clean = _kept(suite, ["clean", str(path)], partial(_psnr, victim, case, case.photos))
        for i, variant in enumerate(variants(case)):
            yield Progress("corruptions", (number + i / 95) / len(suite.scenes), f"{case.name}: {variant.name}")
            value = _kept(suite, ["natural", str(path), variant.name, variant.severity], partial(_psnr, victim, variant.case, variant.case.photos))
            row = rows.setdefault((case.name, variant.name), {"scene": case.name, "name": variant.name, "clean": clean, "psnr": []})
            row["psnr"].append(value)
    return list(rows.values())


def poses(suite: Suite) -> Extras:
    """Rows of `scene`, `method`, and `PoseScore` for the clean photos and for each method's at the largest budget, of a universal case."""
    from dataclasses import asdict

    from attacks.victims.sfm import poses_survive

    o, device = suite.options, device_of(suite.device)
    victim = load_victim(o.victim[0], "none", device, o)
    rows = []
    names = ["clean", *CONTROLS, *(m for m in o.method if m not in (*CONTROLS, "pose"))]
    for number, path in enumerate(suite.scenes):
        # Poses need more photos than a view does.
        case = read_universal(prepared_scene(str(path), o.side), 2 * o.sources, o.hold_out, 1)
        for i, method in enumerate(names):
            yield Progress("poses", (number + i / len(names)) / len(suite.scenes), f"{case.name}: {method}")
            place = _place(suite, ["poses", str(path), method]).with_suffix(".json")
            if not place.exists():
                images = case.photos
                if method != "clean":
                    cell = Cell(str(path), o.victim[0], "none", method, "universal", max(o.eps), 0, o)
                    images = attack_of(cell, victim)(case).images
                place.parent.mkdir(parents=True, exist_ok=True)
                write_json(place, plain({"scene": case.name, "method": method, **asdict(poses_survive(case, images))}))
            rows.append(json.loads(place.read_text()))
    return rows


def certificates(suite: Suite) -> Extras:
    """What randomised smoothing guarantees of each scene's first target: rows of `scene`, `radius` and the certified median PSNR, dB.

    The PSNR is against the photo where there is one, else against the clean render. Radii are Euclidean, over all values of all photos.
    """
    from attacks.defences.smoothing import certified_median

    o, device = suite.options, device_of(suite.device)
    victim, sigma = load_victim(o.victim[0], "none", device, o), o.certificate_sigma / 255
    rows = []
    for number, path in enumerate(suite.scenes):
        case = read_cases(prepared_scene(str(path), o.side), o.sources, o.hold_out, 1)[0].to(victim.device)
        values = []
        for i in range(o.certificate_samples):
            yield Progress("certificate", (number + i / o.certificate_samples) / len(suite.scenes), f"{case.name}: sample {i + 1}")
            values.append(_kept(suite, ["certificate", str(path), sigma, i], partial(_noisy_psnr, victim, case, sigma, i)))
        count = 3 * float(case.inside.sum())
        for share in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
            radius = share * sigma
            bound = certified_median(np.array(values), sigma, radius)
            rows.append({
                "scene": case.name, "target": case.targets[0].name, "sigma": o.certificate_sigma, "samples": len(values), "confidence": 0.99,
                "radius": radius, "radius_in_steps_of_one_value": 255 * radius, "values": count, "median": float(np.median(values)), "certified": bound,
            })  # fmt: skip
    return rows


def _noisy_psnr(victim: Any, case: Case, sigma: float, index: int) -> float:
    generator = torch.Generator().manual_seed(index)
    noise = torch.randn(case.photos.shape, generator=generator).to(case.photos) * sigma
    return _psnr(victim, case, (case.photos + noise).clamp(0, 1))


def transfer(suite: Suite) -> Extras:
    """Matrices of damage in dB (against the photo), by the first method that is no control, at the largest budget."""
    o, matrices = suite.options, Matrices(suite, device_of(suite.device))
    out: dict[str, Any] = {}
    for number, path in enumerate(suite.scenes):
        scene = prepared_scene(str(path), o.side)
        for i, (kind, work) in enumerate((("view to view", matrices.views), ("source set to source set", matrices.sets), ("model to model", matrices.models))):
            yield Progress("transfer", (number + i / 3) / len(suite.scenes), f"{scene.name}: {kind}")
            out[f"{scene.name}, {kind}"] = work(str(path), scene)
    if len(suite.scenes) > 1:
        yield Progress("transfer", 0.95, "scene to scene")
        out["scene to scene"] = matrices.scenes()
    return out


class Matrices:
    """Transfer matrices of one suite: photos changed for the row, used for the column."""

    def __init__(self, suite: Suite, device: str) -> None:
        o = suite.options
        self.suite, self.options = suite, o
        self.method = next((m for m in o.method if m not in CONTROLS), o.method[0])
        self.eps = max(o.eps)
        self.victims = {name: load_victim(name, o.defence[0], device, o) for name in dict.fromkeys((*o.victim, "general", "density"))}
        self.first = o.victim[0]

    def views(self, path: str, scene: Scene) -> dict[str, Any]:
        """Changed for one target view, rendered from another: the source photos are the same for all."""
        whole = read_universal(scene, self.options.sources, self.options.hold_out, max(self.options.targets, 2))
        cases = [replace(whole, targets=(t,)) for t in whole.targets]
        names = [Path(t.name).stem for t in whole.targets]

        def entry(i: int, j: int) -> float:
            return self.loss(self.first, cases[j], self.made(self.first, cases[i], [path, "view", names[i]]), [path, "view", names[j]])

        return self.matrix("The source photos are the same.", [path, "views"], names, names, entry)

    def sets(self, path: str, scene: Scene) -> dict[str, Any]:
        """Changed for the sources of one target, used among the sources of another."""
        cases = read_cases(scene, self.options.sources, self.options.hold_out, max(self.options.targets, 2))
        names = [Path(c.targets[0].name).stem for c in cases]

        def entry(i: int, j: int) -> float:
            images = _carried(cases[i], self.made(self.first, cases[i], [path, "set", names[i]]), cases[j])
            return self.loss(self.first, cases[j], images, [path, "set", names[j]])

        what = "Each target has its own source photos; those that a set has not in common with the row's stay clean."
        labels = [f"sources of {n}" for n in names]
        return self.matrix(what, [path, "sets"], labels, labels, entry)

    def models(self, path: str, scene: Scene) -> dict[str, Any]:
        """Changed against one model, given to another."""
        case, columns = read_cases(scene, self.options.sources, self.options.hold_out, 1)[0], list(self.victims)
        names = [n for n in columns if self.victims[n].gradients]
        label = [path, "set", Path(case.targets[0].name).stem]

        def entry(i: int, j: int) -> float:
            return self.loss(columns[j], case, self.made(names[i], case, label), label)

        return self.matrix("", [path, "models"], names, columns, entry)

    def scenes(self) -> dict[str, Any]:
        """Changed for one scene, laid over the photos of another."""
        o, paths = self.options, [str(p) for p in self.suite.scenes]
        cases = [read_cases(prepared_scene(p, o.side), o.sources, o.hold_out, 1)[0] for p in paths]
        labels = [[p, "set", Path(c.targets[0].name).stem] for p, c in zip(paths, cases, strict=True)]
        names = [c.name for c in cases]

        def entry(i: int, j: int) -> float:
            images = _stretched(cases[i], self.made(self.first, cases[i], labels[i]), cases[j], self.eps / 255)
            return self.loss(self.first, cases[j], images, labels[j])

        return self.matrix("The change is stretched to the other scene's photos.", ["scenes", *paths], names, names, entry)

    def matrix(self, what: str, label: list[Any], rows: list[str], columns: list[str], entry: Callable[[int, int], float]) -> dict[str, Any]:
        """All entries; those worked out before are read."""
        loss = [[_kept(self.suite, [*label, a, b], partial(entry, i, j)) for j, b in enumerate(columns)] for i, a in enumerate(rows)]
        text = f"Loss of PSNR in dB by {self.method} at {self.eps:g}/255, photos changed for the row and used for the column. {what}"
        return {"what": text.strip(), "made_for": rows, "used_on": columns, "loss": loss}

    def made(self, victim: str, case: Case, label: list[Any]) -> Tensor:
        """The changed photos of a case, kept as a file."""
        from safetensors.torch import load_file, save_file

        path = _place(self.suite, ["made", victim, *label]).with_suffix(".safetensors")
        if not path.exists():
            cell = Cell(case.name, victim, self.options.defence[0], self.method, "view", self.eps, 0, self.options)
            images = attack_of(cell, self.victims[victim])(case).images
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(f".{path.name}.part")
            save_file({"images": images.cpu().contiguous()}, part)
            part.replace(path)
        return load_file(path)["images"]

    def loss(self, victim: str, case: Case, images: Tensor, label: list[Any]) -> float:
        """What a change costs, dB."""
        known = self.victims[victim]
        here = case.to(known.device)
        clean = _kept(self.suite, ["clean", victim, *label], partial(_psnr, known, here, here.photos))
        return clean - _psnr(known, here, images.to(known.device))


def _carried(made_for: Case, images: Tensor, case: Case) -> Tensor:
    """Photos of a case, of which those that the other case has too are its changed ones."""
    out = case.photos.clone()
    for i, name in enumerate(case.names):
        if name in made_for.names:
            source = images[made_for.names.index(name)]
            h, w = min(source.shape[1], out.shape[2]), min(source.shape[2], out.shape[3])
            out[i, :, :h, :w] = source[:, :h, :w].to(out)
    return out


def _stretched(made_for: Case, images: Tensor, case: Case, eps: float) -> Tensor:
    """Photos of a case with the change of another one, photo by photo."""
    from attacks.threat import ThreatModel

    delta = (images - made_for.photos.to(images)).cpu()
    delta = torch.nn.functional.interpolate(delta, case.photos.shape[2:], mode="nearest")
    index = torch.arange(len(case)) % len(delta)
    out = allowed(case.photos + delta[index].to(case.photos), case.photos, ThreatModel(eps=eps), case.inside)
    return torch.round(out * 255) / 255


@torch.no_grad()
def _psnr(victim: Any, case: Case, images: Tensor) -> float:
    look = victim.look(case, images)
    values = []
    for target in case.targets:
        picture = look.picture(target)
        values.append(score_view(target, picture, picture).psnr)
    return float(np.mean(values))


def _place(suite: Suite, label: list[Any]) -> Path:
    o = suite.options
    words = [o.method, o.defence, o.victim, max(o.eps), o.norm, o.paths, o.steps, o.rays, o.side, o.look, o.sources, o.hold_out, o.targets, o.option, label]
    words += [o.follow] * (o.follow != 1)  # what was kept before there was a choice keeps its name
    return suite.out / "extras" / hashlib.sha256(json.dumps(words, sort_keys=True, default=str).encode()).hexdigest()[:20]


def _kept(suite: Suite, label: list[Any], work: Callable[[], float]) -> float:
    """A number that was worked out before, or is now."""
    path = _place(suite, label).with_suffix(".json")
    if path.exists():
        return float(json.loads(path.read_text())["value"])
    value = work()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, plain({"label": label, "value": value}))
    return value
