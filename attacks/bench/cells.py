"""One cell of a suite: one scene, victim, defence, attack, budget and seed. Run by itself, stored as it finishes, never done twice."""

import hashlib
import json
import tempfile
import time
from collections.abc import Generator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from attacks.base import Adversarial, Attack
from attacks.bench.suite import Setting, SuiteOptions
from attacks.case import Case, Target, prepared, read_cases, read_universal
from attacks.defences.named import defence_by_name
from attacks.meshes import compared, mesh_of
from attacks.methods import CONTROLS, METHODS, attack_by_name
from attacks.scores import perceptibility, score_view
from attacks.victims.protocol import clean_look
from data.errors import InputError
from data.files import write_json
from data.images import save_image
from data.progress import told
from data.readers import read_scene
from data.scene import Scene
from recon.pictures import Picture
from recon.surface.triangles import Triangles

FORMAT = 1


@dataclass(frozen=True)
class Cell:
    """What is asked."""

    scene: str
    """Path of the scene."""
    victim: str
    defence: str
    method: str
    setting: Setting
    eps: float
    """Steps of 255."""
    seed: int
    options: SuiteOptions

    @property
    def key(self) -> str:
        """File name: readable, and different for whatever changes the figures."""
        o = self.options
        relevant = {
            name: getattr(o, name) for name in ("norm", "paths", "knowledge", "views", "steps", "rays", "side", "look", "sources", "hold_out", "targets", "branches")
        }  # fmt: skip
        if o.meshes:  # only then: cells without meshes keep the names that they had before there were any
            relevant["meshes"] = True
        if o.follow != 1:  # likewise
            relevant["follow"] = o.follow
        content = [FORMAT, self.scene, self.victim, self.defence, self.method, self.setting, self.eps, self.seed, relevant, o.options_of(self.method)]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:10]
        words = (Path(self.scene).name, Path(self.victim).stem, self.defence, self.method, self.setting, f"e{self.eps:g}", f"s{self.seed}")
        return "-".join(words).replace("/", "_") + f"-{digest}"


def cells_of(scenes: tuple[Path, ...], options: SuiteOptions) -> list[Cell]:
    """All cells of a suite, controls included, in an order that gives whole rows early.

    Raises:
        InputError: an unknown name, or a method that the bench cannot run by itself.
    """
    options.checked()
    for name in options.method:
        attack_by_name(name)
        if name == "targeted" and "picture" not in options.options_of(name):
            raise InputError("A targeted attack needs the picture that shall appear. Give it with --option targeted.picture=FILE.")
    for name in options.defence:
        defence_by_name(name)
    settings: dict[str, list[Setting]] = {name: ["universal" if METHODS[name].universal else "view"] for name in options.method}  # type: ignore[attr-defined]
    for name in CONTROLS:
        settings[name] = sorted({s for n in options.method for s in settings[n]})
    out = []
    for scene in scenes:
        for victim in options.victim:
            for defence in options.defence:
                for method, wanted in settings.items():
                    for setting in wanted:
                        for eps in options.eps:
                            # Without a budget nothing is random: one seed says it all, and nothing is left for the other methods to add.
                            seeds = 1 if eps == 0 or method == "fgsm" else options.seeds
                            out += [Cell(str(scene), victim, defence, method, setting, eps, seed, options) for seed in range(seeds)]
    return out


@lru_cache(maxsize=8)
def prepared_scene(path: str, side: int) -> Scene:
    """A scene's working copy, made once in each process.

    Raises:
        InputError: it cannot be read, or has no poses.
    """
    folder = Path(_temporary().name) / hashlib.sha256(path.encode()).hexdigest()[:8]
    scene = read_scene(Path(path), folder / "unpacked")
    if scene.cameras is None:
        raise InputError(f"'{scene.name}' has no camera poses, and attacks need them. Reconstruct it first and attack the result's folder.")
    return prepared(scene, side, folder / str(side))


@lru_cache(maxsize=1)
def _temporary() -> tempfile.TemporaryDirectory:  # type: ignore[type-arg]
    """Removed when the process ends."""
    return tempfile.TemporaryDirectory(prefix="lumigraph-attack-")


def cases_for(cell: Cell, device: str) -> list[Case]:
    """The cases that a cell attacks."""
    o, defence = cell.options, defence_by_name(cell.defence)
    return _cases(cell.scene, o.side, cell.setting, o.sources * defence.more_sources, o.hold_out, o.targets, device)


@lru_cache(maxsize=4)
def _cases(path: str, side: int, setting: Setting, sources: int, hold_out: int, targets: int, device: str) -> list[Case]:
    scene = prepared_scene(path, side)
    cases = read_cases(scene, sources, hold_out, targets) if setting == "view" else [read_universal(scene, sources, hold_out, targets)]
    return [case.to(device) for case in cases]


@lru_cache(maxsize=6)
def load_victim(name: str, defence: str, device: str, options: SuiteOptions) -> Any:
    """A defended victim by name, looking at photos as a suite wants it."""
    from attacks.victims.density import DensityVictim
    from attacks.victims.general import GeneralVictim

    if name == "density":
        victim: Any = DensityVictim.load(None, device, options.look)
    elif name == "hashgrid":
        from attacks.victims.hashgrid import HashGridVictim

        victim = HashGridVictim(torch.device(device))
    elif name == "general":
        victim = GeneralVictim.load(None, device, options.look, options.sources, follow=options.follow)
    elif Path(name).suffix == ".safetensors":
        victim = GeneralVictim.load(Path(name), device, options.look, options.sources, Path(name).stem, follow=options.follow)
    else:
        raise InputError(f"There is no victim '{name}'. Choose general, density, hashgrid, or a .safetensors file of the general model.")
    return defence_by_name(defence).guard(victim)


def made_for(cell: Cell, victim: Any, device: str) -> Any:
    """The victim that photos are changed against: the cell's own, or the general engine where that has no gradients to follow."""
    if victim.gradients or not METHODS[cell.method].white_box:  # type: ignore[attr-defined]
        return victim
    return load_victim("general", "none", device, cell.options)


def attack_of(cell: Cell, victim: Any) -> Attack:
    """The attack of a cell."""
    o = cell.options
    wanted: dict[str, Any] = {"model": victim, "eps": cell.eps / 255, "seed": cell.seed, "norm": o.norm, "views": o.views, "paths": o.paths, "knowledge": o.knowledge}
    if o.rays is not None:
        wanted["rays"] = o.rays
    if o.steps is not None and cell.method not in (*CONTROLS, "fgsm"):
        wanted["steps"] = o.steps
    extra = o.options_of(cell.method)
    if isinstance(extra.get("picture"), str):
        from data.images import load_rgba

        extra["picture"] = torch.from_numpy(load_rgba(Path(extra["picture"]))[0].copy()).float() / 255
    return attack_by_name(cell.method, **{**wanted, **extra})


def run_cell(cell: Cell, out: Path, device: str) -> Generator[float, None, dict[str, Any]]:
    """Attack, score, store. Yields the share that is done."""
    started = time.perf_counter()
    victim = load_victim(cell.victim, cell.defence, device, cell.options)
    cases = cases_for(cell, device)
    maker = made_for(cell, victim, device)
    views, seen, visible, tallies, flags, branches, meshes = [], [], [], [], [], [], []
    identical = True
    for number, case in enumerate(cases):
        attack = attack_of(cell, maker)
        result = yield from told(attack.run(case), lambda share, number=number: (number + 0.9 * share) / len(cases))  # type: ignore[misc]
        clean, before = clean_pictures(victim, case)
        # Noise of no budget is the clean photos by definition; whether attacks keep to that is asked of each.
        same = cell.eps == 0 and cell.method in CONTROLS
        look = clean if same else attacked_look(victim, result)
        for at, target in enumerate(case.targets):
            picture = before[at] if same else look.picture(target)
            views.append(asdict(score_view(target, picture, before[at])))
            if cell.seed == 0 and number == 0 and at == 0:
                save_pictures(out / "pictures" / cell.key, result, picture, before[at], target.truth)
        if cell.setting == "universal":
            for target, picture in zip(learned_from(case, cell.options.targets), clean_seen(victim, case, cell.options.targets), strict=True):
                seen.append(asdict(score_view(target, look.picture(target), picture)))
        if cell.options.branches and hasattr(look, "swapped") and cell.eps > 0 and cell.method not in CONTROLS:
            branches.append(branch_scores(look, clean, case, before))
        if cell.options.meshes:
            meshes.append(asdict(compared(clean_mesh(clean, case) if same else mesh_of(look, case), clean_mesh(clean, case))))
        identical &= torch.equal(result.images, case.photos)
        visible.append(asdict(perceptibility(case, result.images)))
        tallies.append({"gradients": result.gradients, "queries": result.queries, "seconds": round(result.seconds, 3), "losses": _thinned(result.losses)})
        flags += oddities(result, attack)
        checked = cell.seed == 0 and number == 0 and cell.eps == max(cell.options.eps) > 0 and result.gradients > 1 and cell.defence != "smoothing"
        if checked and maker is victim:
            flags += gradient_oddities(victim, case)
        if cell.seed == 0 and cell.eps == max(cell.options.eps):
            save_photos(out / "photos" / cell.key, result, number)
    row = {
        "format": FORMAT, "key": cell.key, "cell": {**asdict(cell), "options": None}, "scene_name": cases[0].name, "weights": weights_hash(victim),
        "device": device_name(victim.device), "views": views, "seen": seen, "perceptibility": visible, "attacks": tallies, "flags": sorted(set(flags)),
        "branches": branches, "meshes": meshes, "identical": identical, "made_for": maker.name, "seconds": round(time.perf_counter() - started, 3),
    }  # fmt: skip
    row = plain(row)
    (out / "cells").mkdir(parents=True, exist_ok=True)
    write_json(out / "cells" / f"{cell.key}.json", row)
    return row


def stored(cell: Cell, out: Path) -> dict[str, Any] | None:
    """A finished cell, or None."""
    path = out / "cells" / f"{cell.key}.json"
    try:
        row: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return row if row.get("format") == FORMAT else None


_PICTURES: dict[int, tuple[Any, list[Picture]]] = {}


def clean_pictures(victim: Any, case: Case) -> tuple[Any, list[Picture]]:
    """What the victim makes of the clean photos, and its pictures of all targets; the last few are kept."""
    look = clean_look(victim, case)
    known = _PICTURES.get(id(look))
    if known is None or known[0] is not look:
        while len(_PICTURES) > 16:
            _PICTURES.pop(next(iter(_PICTURES)))
        _PICTURES[id(look)] = known = look, [look.picture(target) for target in case.targets]
    return known


def clean_mesh(look: Any, case: Case) -> Triangles:
    """The mesh from the clean photos; the look remembers it."""
    if not hasattr(look, "_mesh"):
        look._mesh = mesh_of(look, case)
    return look._mesh  # type: ignore[no-any-return]


def learned_from(case: Case, most: int) -> list[Target]:
    """Views that a universal attack learned from and that are no source photos themselves: the seen ones, beside the unseen targets."""
    return [view for view in case.proxies if view.name not in case.names][:most]


def clean_seen(victim: Any, case: Case, most: int) -> list[Picture]:
    """Pictures of the seen views from the clean photos."""
    look = clean_look(victim, case)
    if not hasattr(look, "_seen_pictures"):
        look._seen_pictures = [look.picture(target) for target in learned_from(case, most)]  # type: ignore[attr-defined]
    return look._seen_pictures  # type: ignore[attr-defined, no-any-return]


@torch.no_grad()
def attacked_look(victim: Any, result: Adversarial) -> Any:
    """What the victim makes of changed photos, everything found anew from them."""
    if result.motion is not None:
        return victim.look_from(result.case, result.images, moved=result.motion)
    colors = result.case.photos if result.threat.paths == "feature_only" else None
    return victim.look(result.case, result.images, None, colors)


def branch_scores(look: Any, clean: Any, case: Case, before: list[Picture]) -> dict[str, float]:
    """PSNR against the clean render with one branch of the attacked state replaced by the clean one, mean over the targets, dB."""
    from recon.metrics import psnr

    def worth(other: Any) -> float:
        values = []
        for target, untouched in zip(case.targets, before, strict=True):
            mask = None if target.mask is None else target.mask.numpy()
            values.append(psnr(other.picture(target).rgb.numpy(), untouched.rgb.numpy(), mask))
        return float(np.mean(values))

    return {
        "none": worth(look), "clean features": worth(look.swapped(clean, {"features"})), "clean volumes": worth(look.swapped(clean, {"volumes"})),
        "clean colors": worth(look.swapped(clean, {"colors"})), "clean surface": worth(look.shape_of(clean)), "clean blending": worth(clean.shape_of(look)),
    }  # fmt: skip


def gradient_oddities(victim: Any, case: Case) -> list[str]:
    """Whether gradients of the case's loss say what the loss does, and whether it is the same when asked twice."""
    from attacks.gradient import PGD
    from attacks.objectives import RayLoss
    from attacks.sanity import promise_kept, repeats

    known = getattr(victim, "_oddities", {})
    key = (case.name, case.targets[0].name)
    if key not in known:
        attack = PGD(victim, knowledge="truth" if case.targets[0].truth is not None else "render")
        objective = RayLoss(victim, case, case.targets[:1], attack.threat, torch.Generator().manual_seed(0), rays=512, fixed=True)
        start = (case.photos + 2 / 255 * torch.sign(case.photos.roll(1, -1) - case.photos)).clamp(0, 1)

        def loss(images: Tensor) -> Tensor:
            return objective(images, 0)[0]

        found = []
        if not repeats(loss, start, 0.02):
            found.append("the loss is not the same when asked twice")
        if promise_kept(loss, start) < 0.1:
            found.append("gradients do not predict the loss (finite differences)")
        known[key] = found
        victim._oddities = known
    return list(known[key])


def oddities(result: Adversarial, attack: Attack) -> list[str]:
    """What makes one attack's figures suspicious by itself (see `attacks.sanity`)."""
    if not result.gradients or result.threat.eps == 0:
        return []
    out = []
    step = getattr(attack, "alpha", 0.0)
    if step and result.threat.norm == "linf" and step * result.threat.steps < result.threat.eps and attack.name != "fgsm":
        out.append(f"{result.threat.steps} step{'s' * (result.threat.steps != 1)} of {255 * step:.2g}/255 cannot cross the ball: give more or larger ones")
    if not np.isfinite(result.losses).all():
        out.append("a loss was not finite")
    if np.mean(np.array(result.largest_gradients) == 0) > 0.05:
        out.append("gradients were zero in more than 5 % of the steps")
    return out


def weights_hash(victim: Any) -> str:
    """SHA-256 of all weights behind a victim, the first 16 digits; empty where there are none."""
    inner = victim
    while hasattr(inner, "victim"):
        inner = inner.victim
    network = inner.model.network if hasattr(inner, "model") else getattr(inner, "network", None)
    if network is None:
        return ""
    digest = hashlib.sha256()
    for name, value in network.state_dict().items():
        digest.update(name.encode() + value.detach().cpu().float().numpy().tobytes())
    return digest.hexdigest()[:16]


def device_name(device: torch.device) -> str:
    """For reports."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"


def save_pictures(folder: Path, result: Adversarial, picture: Picture, clean: Picture, truth: Tensor | None) -> None:
    """Clean, attacked and difference of the first source photo; truth, clean and attacked render; both depths."""
    folder.mkdir(parents=True, exist_ok=True)
    case = result.case
    first = case.order(case.targets[0])[0]
    photo, changed = case.pieces(case.photos)[first].permute(1, 2, 0), case.pieces(result.images)[first].permute(1, 2, 0)
    save_image(folder / "photo.png", _bytes(photo))
    save_image(folder / "photo_attacked.png", _bytes(changed))
    save_image(folder / "photo_difference.png", _bytes(0.5 + 10 * (changed - photo)))
    if truth is not None:
        save_image(folder / "truth.png", _bytes(truth))
    save_image(folder / "clean.png", _bytes(clean.rgb))
    save_image(folder / "attacked.png", _bytes(picture.rgb))
    save_image(folder / "depth_clean.png", _nearness(clean.depth, clean.depth))
    save_image(folder / "depth_attacked.png", _nearness(picture.depth, clean.depth))


def save_photos(folder: Path, result: Adversarial, number: int) -> None:
    """The changed photos as files, for transfer to other programs."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in zip(result.case.names, result.case.pieces(result.images), strict=True):
        save_image(folder / f"{number:02d}_{Path(name).stem}.png", _bytes(image.permute(1, 2, 0)))


def _bytes(picture: Tensor) -> np.ndarray:
    return (picture.detach().cpu().clamp(0, 1) * 255).round().to(torch.uint8).numpy()


def _nearness(depth: Tensor, scale: Tensor) -> np.ndarray:
    """Inverse depth as a picture, on the scale of another depth picture."""
    import cv2

    met = scale > 0
    low, high = (torch.quantile(scale[met].flatten()[::7], q) for q in (0.02, 0.98)) if bool(met.any()) else (torch.tensor(1.0), torch.tensor(2.0))
    value = (1 / depth.clamp(min=1e-9) - 1 / high) / (1 / low - 1 / high + 1e-9)
    grey = (value.clamp(0, 1) * (depth > 0) * 255).to(torch.uint8).numpy()
    return np.ascontiguousarray(cv2.applyColorMap(grey, cv2.COLORMAP_TURBO)[..., ::-1])


def _thinned(losses: tuple[float, ...], most: int = 40) -> list[float]:
    step = max(len(losses) // most, 1)
    return [float(f"{v:.6g}") for v in (*losses[::step], *losses[-1:])]


def plain(value: Any) -> Any:
    """As JSON has it: numbers that are none become null."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (float, np.floating)):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
