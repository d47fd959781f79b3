"""Photos to result: one generator of stages, each of which leaves its result on disk and is skipped when resumed."""

import hashlib
import json
import resource
import shutil
import time
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from threading import Thread
from typing import Any, TypeVar

import numpy as np
import torch

from data.allocator import release_freed_memory
from data.errors import InputError, OutputError
from data.files import write_json
from data.images import save_image
from data.points import with_points
from data.poses import PoseResult, estimate_poses, upright
from data.prepare import prepare
from data.progress import Progress
from data.quality import Finding, check_photos, check_registration
from data.readers import read_scene
from data.readers.nerfstudio import read as read_transforms
from data.scene import Dropped, Scene
from data.writers import write_transforms
from recon import previews
from recon.depthmaps import DepthMaps
from recon.evaluation import HeldOutView, evaluate_views, score
from recon.fields import RadianceField
from recon.frame import choose_frame, subject_box
from recon.general.depths import general_depths, volume_depths
from recon.general.engine import ConditionOptions, GeneralField, GeneralModel
from recon.general.photos import condition_scene, save_general_field
from recon.general.tuning import TuneOptions, Tuner, load_tuning, save_tuning
from recon.general.weights import ROBUST
from recon.hashgrid.engine import HashGridRadianceField
from recon.hashgrid.training import HashGridTrainer
from recon.options import TUNE_SECONDS, Task
from recon.pictures import render_picture
from recon.surface.asset import Asset, load_asset
from recon.surface.backdrop import backdrops
from recon.surface.cleaning import clean
from recon.surface.depth import consistent, elected, inside_box, masked, render_depths, trusted
from recon.surface.fitting import FitOptions, fit_texture
from recon.surface.fusion import fuse, voxel_size
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.baked import Baked, bake_realtime
from recon.surface.realtime.choosing import open_renderer
from recon.surface.realtime.refining import RefineOptions, refine
from recon.surface.realtime.stored import load_baked, save_baked
from recon.surface.repair import open_rims
from recon.surface.stereo import sweep_depths, sweep_ranges
from recon.surface.texture import bake
from recon.surface.triangles import Triangles
from recon.surface.unwrapping import Atlas, Unwrapper

T = TypeVar("T")

FEW_PHOTOS = 5
"""With silhouettes and at most so many photos, depths need not be confirmed by other views (measured on four neighbouring ones)."""

TEXTURE_SHARE = 0.2
"""Of the time for tuning a mesh, what its texture may take."""

_SHARES = {
    "hashgrid": {"read": 1, "poses": 12, "prepare": 3, "stereo": 12, "train": 60, "evaluate": 6, "depth": 12, "mesh": 4, "texture": 8, "realtime": 3, "refine": 20, "previews": 1, "turntable": 4},
    "general": {"read": 1, "poses": 12, "prepare": 3, "look": 25, "tune": 60, "evaluate": 30, "depth": 30, "mesh": 6, "texture": 10, "realtime": 4, "refine": 60, "previews": 1, "turntable": 5},
}  # fmt: skip
"""Each engine's stages and their typical shares of the whole time, for the time left."""
_OWN = ("mesh.glb", "mesh.obj", "mesh.mtl", "mesh.png", "mesh.ply", "transforms.json", "points.ply", "images", "masks", "field", "realtime",
        "previews", "turntable.mp4", "report.json", "report.html", "run.toml", ".work")  # fmt: skip


def overall(progress: Progress, engine: str = "hashgrid") -> float:
    """Share of the whole work that is done, 0 to 1; the engine is known from the end of stage `read` on, by its `values`."""
    shares = _SHARES[engine]
    total, before = sum(shares.values()), 0
    for stage, share in shares.items():
        if stage == progress.stage:
            return (before + share * max(progress.fraction, 0.0)) / total
        before += share
    return 1.0


def reconstruct(task: Task) -> Generator[Progress, None, dict[str, Any]]:
    """Run all stages; the generator's value is the report. Closing it keeps what is finished for ``resume``.

    Raises:
        InputError: the photos, the options or the output folder cannot be used.
        OutputError: nothing can be written there.
    """
    run = _Run(task)
    Thread(target=_import_ahead, daemon=True).start()
    if task.options.box is not None:
        checked_box(task.options.box)
    yield Progress("read", 0.0, "reading photos")
    scene = run.timed("read", _plain(run.read))
    given = len(scene) + len(scene.report.dropped)
    run.open(scene)
    findings = check_photos(scene)
    yield Progress("read", 1.0, f"{len(scene)} photos", {"engine": run.options.engine})
    scene, poses, more = yield from run.stage("poses", run.posed(scene))
    findings += more
    working = yield from run.stage("prepare", run.prepared(scene))
    if run.options.box is not None:
        working = replace(working, box=checked_box(run.options.box))
    train, held_out = run.split(working)
    maps = None
    if run.options.engine == "general":
        general = yield from run.stage("look", run.looked(train))
        if run.options.tune != "none":
            yield from run.stage("tune", run.tuned(train, general, held_out))
        field: RadianceField = general
    else:
        if task.options.stereo:
            maps = yield from run.stage("stereo", run.matched(train))
        field = yield from run.stage("train", run.trained(train, maps))
    scores: list[HeldOutView] = []
    if held_out is not None:
        scores = yield from run.stage("evaluate", evaluate_views(field, held_out, field.near, field.empty_background, task.out))
    asset, baked = yield from run.meshed(train, field, maps)
    shown, before = (run.shown(b, held_out, field.empty_background) for b in (baked, run.unrefined))
    yield Progress("previews", 0.0, "pictures of the mesh")
    sides = yield from run.stage("previews", previews.four_sides(asset, train.posed(), task.out))
    if task.options.turntable:
        yield from run.stage("turntable", previews.turntable(asset, train.posed(), task.out / "turntable.mp4"))
    report = run.report(scene, working, given, poses, findings, scores, shown, before, asset, sides)
    write_json(task.out / "report.json", report)
    run.finish()
    yield Progress("turntable", 1.0, "done")
    return report


def _import_ahead() -> None:
    """Open3D takes two seconds to import: let that happen while the photos are read and looked at."""
    with suppress(Exception):  # who needs it says what is wrong
        import_module("open3d")


class _Run:
    """The stages of one task, and what they left on disk."""

    def __init__(self, task: Task) -> None:
        self.task, self.options = task, task.options  # what depends on the photos is filled in by `open`
        self.work = task.out / ".work"
        self.seconds: dict[str, float] = {}
        self.state: dict[str, Any] = {"done": []}
        self.tuning: dict[str, Any] | None = None
        self.unrefined: Baked | None = None
        self.device = _device(self.options.device)
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()

    # --- the output folder -------------------------------------------------------------------------------------------

    def open(self, scene: Scene) -> None:
        """Settle the options that depend on the photos; make the output folder, or check that the one there may be used."""
        self.options = self.task.options.resolved(len(scene))
        out, key = self.task.out, fingerprint(scene, self.task)
        existing = out.exists() and (not out.is_dir() or any(p.name != ".work" or (p / "state.json").exists() for p in out.iterdir()))
        if existing and not out.is_dir():
            raise OutputError(f"'{out}' is a file. Choose a folder for the result.")
        state = self._stored_state()
        if existing and self.task.overwrite:
            for name in _OWN:
                path = out / name
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink(missing_ok=True)
            state = None
        elif existing and not self.task.resume:
            raise InputError(f"'{out}' already holds something. Continue it with --resume, replace it with --overwrite, or choose another folder.")
        elif existing and (state is None or state.get("key") != key):
            raise InputError(f"'{out}' holds the result of other photos or options. Replace it with --overwrite, or choose another folder.")
        try:
            self.work.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"'{out}' cannot be written ({error.strerror}). Choose another folder.") from None
        self.state = state or {"key": key, "done": [], "seconds": {}}
        self.seconds = {**self.state.get("seconds", {}), **self.seconds}
        self._store()

    def _stored_state(self) -> dict[str, Any] | None:
        try:
            return json.loads((self.work / "state.json").read_text())  # type: ignore[no-any-return]
        except (OSError, ValueError):
            return None

    def _store(self) -> None:
        self.state["seconds"] = self.seconds
        write_json(self.work / "state.json", self.state)

    def done(self, stage: str) -> bool:
        return stage in self.state["done"]

    def stage(self, name: str, work: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
        """Run a stage, keep its time, remember that it is done."""
        value = yield from self.timed_stage(name, work)
        if name not in self.state["done"]:
            self.state["done"].append(name)
        self._store()
        return value

    def timed_stage(self, name: str, work: Generator[Progress, None, T]) -> Generator[Progress, None, T]:
        started = time.perf_counter()
        try:
            return (yield from work)
        finally:
            self.seconds[name] = round(self.seconds.get(name, 0.0) + time.perf_counter() - started, 3)
            release_freed_memory()

    def timed(self, name: str, work: Iterator[T]) -> T:
        started = time.perf_counter()
        value = next(work)
        self.seconds[name] = round(time.perf_counter() - started, 3)
        return value

    def finish(self) -> None:
        """Drop what only a resumed run would need."""
        for name in ("train.safetensors", "stereo.safetensors", "poses/photos", "poses/database.db"):
            path = self.work / name
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    # --- the stages --------------------------------------------------------------------------------------------------

    def read(self) -> Scene:
        scene = read_scene(self.task.photos, self.task.out.parent / f".{self.task.out.name}.input")
        if scene.cameras is not None and len(scene) < 2:
            raise InputError(f"'{scene.name}' holds {len(scene)} usable posed photo; at least 2 are needed, better 20. Add photos.")
        if self.options.masks == "none":
            return replace(scene, mask_paths=(), mask_meaning="ignore")
        return scene if self.options.masks == "auto" else replace(scene, mask_meaning=self.options.masks)

    def posed(self, scene: Scene) -> Generator[Progress, None, tuple[Scene, dict[str, Any], list[Finding]]]:
        """Known poses, or estimated ones; with where they came from and what is wrong with them."""
        if scene.cameras is not None:
            yield Progress("poses", 1.0, "poses are given")
            return scene, {"source": scene.report.format, "reprojection_error_px": None, "registered": len(scene)}, []
        cached = self.work / "poses" / "posed"
        facts = cached / "facts.json"
        if self.done("poses") and facts.exists():
            known = json.loads(facts.read_text())
            restored = read_transforms(cached)
            registered = [scene.names.index(name) for name in known["names"]]
            posed = replace(scene.select(registered), cameras=restored.cameras, points=restored.points, near_far=np.array(known["near_far"]))
            posed = replace(posed, report=scene.report.extended([Dropped(**d) for d in known["dropped"]]))
            result = PoseResult(posed, known["error"], len(registered), len(scene))
        else:
            result = yield from estimate_poses(scene, self.work / "poses", self.options.poses)
            result = replace(result, scene=upright(result.scene))
            self._cache_poses(cached, facts, scene, result)
        lost = [d.file for d in result.scene.report.dropped[len(scene.report.dropped) :]]
        findings = check_registration(result.registered, result.given, lost, result.reprojection_error_px)
        source = {"source": "colmap", "reprojection_error_px": round(result.reprojection_error_px, 3), "registered": result.registered}
        return result.scene, source, findings

    def _cache_poses(self, cached: Path, facts: Path, given: Scene, result: PoseResult) -> None:
        """Remember estimated poses beside links to the photos, in a format that has a reader already."""
        cached.mkdir(parents=True, exist_ok=True)
        links = []
        for i, path in enumerate(result.scene.image_paths):
            links.append(cached / f"{i:05d}{path.suffix}")
            links[-1].unlink(missing_ok=True)
            shutil.copy2(path, links[-1])
        write_transforms(cached, replace(result.scene, root=cached, image_paths=tuple(links), mask_paths=(), depth_paths=()))
        lost = result.scene.report.dropped[len(given.report.dropped) :]
        near_far = result.scene.near_far
        write_json(facts, {
            "names": list(result.scene.names), "error": result.reprojection_error_px, "dropped": [asdict(d) for d in lost],
            "near_far": None if near_far is None else near_far.tolist(),
        })  # fmt: skip

    def prepared(self, scene: Scene) -> Generator[Progress, None, Scene]:
        """The working copy, with sparse points; kept in the output folder."""
        facts = self.work / "scene.json"
        if self.done("prepare") and facts.exists():
            known = json.loads(facts.read_text())
            working = read_transforms(self.task.out)
            return replace(
                working, mask_meaning=known["mask_meaning"], report=scene.report, box=None if known["box"] is None else np.array(known["box"]),
                near_far=None if known["near_far"] is None else np.array(known["near_far"]),
            )  # fmt: skip
        assert self.options.max_side is not None
        working = yield from prepare(scene, self.task.out, self.options.max_side)
        yield Progress("prepare", 1.0, "sparse points")
        working = with_points(working)
        write_transforms(self.task.out, working)
        write_json(facts, {
            "mask_meaning": working.mask_meaning,
            "near_far": None if working.near_far is None else working.near_far.tolist(),
            "box": None if working.box is None else working.box.tolist(),
        })  # fmt: skip
        return working

    def split(self, working: Scene) -> tuple[Scene, Scene | None]:
        """Views to train on, and views held out if that was asked for."""
        if not self.task.hold_out:
            return working, None
        halves = working.hold_out(self.task.hold_out)
        return halves.select(halves.splits["train"]), halves.select(halves.splits["test"])

    def matched(self, scene: Scene) -> Generator[Progress, None, DepthMaps]:
        """Depths by stereo that several views agree on."""
        path = self.work / "stereo.safetensors"
        if self.done("stereo") and path.exists():
            return DepthMaps.load(path, scene.posed())
        maps = consistent((yield from sweep_depths(scene, self.options.surface.depth_side, sweep_ranges(scene))))
        maps.save(path)
        return maps

    def trained(self, scene: Scene, maps: DepthMaps | None) -> Generator[Progress, None, HashGridRadianceField]:
        """The trained field, from a checkpoint if there is one."""
        folder, checkpoint = self.task.out / "field", self.work / "train.safetensors"
        if self.done("train") and (folder / "field.json").exists():
            return HashGridRadianceField.load(folder, self.device)
        yield Progress("train", 0.0, "preparing to train")
        trainer = HashGridTrainer(scene, self.options.hashgrid, self.device, maps)
        if checkpoint.exists():
            trainer.load(checkpoint)
        settings = self.options.hashgrid.train
        try:
            for progress in trainer.train():
                if trainer.step % settings.preview_every == 0:
                    progress = replace(progress, values={**progress.values, "preview": self._preview(trainer, scene)})
                if trainer.step % settings.checkpoint_every == 0:
                    trainer.save(checkpoint)
                yield progress
        except GeneratorExit:
            trainer.save(checkpoint)
            raise
        field = trainer.radiance_field()
        field.save(folder)
        return field

    def looked(self, scene: Scene) -> Generator[Progress, None, GeneralField]:
        """The photos as the general model sees them."""
        yield Progress("look", 0.0, "loading the model")
        assert self.options.look_side is not None
        weights = ROBUST if self.options.weights == "robust" else None
        model = GeneralModel.from_pretrained(weights, self.device, ConditionOptions(side=self.options.look_side))
        yield Progress("look", 0.1, f"looking at {len(scene)} photos")
        field = condition_scene(model, scene)
        field.subject_box = subject_box(scene, choose_frame(scene))
        save_general_field(field, [p.name for p in scene.image_paths], self.task.out / "field", self.options.weights)
        return field

    def tuned(self, scene: Scene, field: GeneralField, held_out: Scene | None) -> Generator[Progress, None, None]:
        """The field tuned on the photos that it looks at; what that gained goes into the report."""
        folder = self.task.out / "field"
        if self.done("tune") and (folder / "tuned.safetensors").exists():
            load_tuning(field, folder)
            self.tuning = self.state.get("tuning")
            return
        tuner = Tuner(field, scene, TuneOptions(seconds=TUNE_SECONDS[self.options.tune], seed=self.options.seed), held_out)
        yield from tuner.tune()
        save_tuning(field, folder)
        self.tuning = self.state["tuning"] = asdict(tuner.result)

    def _preview(self, trainer: HashGridTrainer, scene: Scene) -> str:
        """A small picture of the field as it is now."""
        (self.task.out / "previews").mkdir(exist_ok=True)
        sizes = scene.posed().sizes
        small = scene.posed().resized(np.maximum(sizes * 160 // sizes.max(1, keepdims=True), 1))
        picture = render_picture(trainer.radiance_field(), small, 0, trainer.near).rgb.numpy()
        save_image(self.task.out / "previews" / "training.png", (picture * 255).round().astype(np.uint8))
        return "previews/training.png"

    def meshed(self, scene: Scene, field: RadianceField, stereo: DepthMaps | None) -> Generator[Progress, None, tuple[Asset, Baked | None]]:
        """The textured mesh, written as GLB, and with the photos that it shows in real time."""
        path = self.task.out / "mesh.glb"
        if self.done("texture") and path.exists():
            asset = load_asset(path)
            return asset, load_baked(self.task.out, asset) if self.options.surface.realtime else None
        options = self.options.surface
        least = 1
        if isinstance(field, GeneralField):
            maps = yield from self.stage("depth", general_depths(field, scene, options))
            yield Progress("depth", 1.0, "depth", {"preview": previews.depth(maps, len(maps) // 2, self.task.out)})
            wide = masked((yield from volume_depths(field)), scene)
            if scene.mask_meaning == "object" and len(scene) <= FEW_PHOTOS:
                least = 0  # the silhouettes have judged already
        else:
            near, side = np.full(len(scene), field.near), round(0.6 * options.depth_side)
            wide = yield from self.stage("depth", render_depths(field, scene, side, near, bounded=False))
            maps = inside_box(wide, field.bounds)

        def surface() -> Generator[Progress, None, Triangles]:
            yield Progress("mesh", 0.0, "comparing depths")
            every = maps if stereo is None else inside_box(elected(stereo, maps), field.bounds)
            if scene.box is not None and self.options.box is not None:
                every = inside_box(every, scene.box)
            agreed = consistent(every, least=least)
            yield Progress("mesh", 0.4, "fusing")
            voxel = voxel_size(agreed, field.bounds, options)
            mesh = fuse(every, voxel, trusted(every) if least else trusted(every, unconfirmed=1.0))
            yield Progress("mesh", 0.7, "cleaning")
            mesh = clean(mesh, agreed, options)
            yield Progress("mesh", 1.0, "the surface", {"preview": previews.shape(mesh, scene.posed(), len(scene) // 2, self.task.out)})
            return mesh

        def textured(mesh: Triangles, unwrapper: Unwrapper) -> Generator[Progress, None, Asset]:
            asset = yield from bake(mesh, scene, options.texture, unwrapper)
            from data import __version__

            asset = replace(asset, provenance={"made_by": f"lumigraph {__version__}", "engine": self.options.engine, "photos": len(scene)})
            yield Progress("texture", 0.97, "writing")
            asset.write(path)
            return asset

        with Unwrapper() as unwrapper:
            mesh = yield from self.stage("mesh", surface())
            asset = yield from self.timed_stage("texture", textured(mesh, unwrapper))
        baked = None
        if options.realtime:
            asset, baked = yield from self.timed_stage("realtime", self.baked(scene, wide))
            if self.options.tune != "none":
                self.unrefined = baked
                asset, baked = yield from self.timed_stage("refine", self.refined(asset, baked, scene))
        self.state["done"].append("texture")
        self._store()
        return asset, baked

    def refined(self, asset: Asset, baked: Baked, scene: Scene) -> Generator[Progress, None, tuple[Asset, Baked]]:
        """The mesh's vertices moved to where the photos agree, its texture painted anew on the same charts and fitted to the photos."""
        path = self.task.out / "mesh.glb"
        names = [p.name for p in scene.image_paths]
        masks = [scene.mask(names.index(name)) for name in baked.names] if scene.mask_meaning == "object" else []
        seconds = TUNE_SECONDS[self.options.tune]
        moved = yield from refine(baked, RefineOptions(seconds=(1 - TEXTURE_SHARE) * seconds, seed=self.options.seed), masks)
        painted = yield from bake(moved.asset.mesh, scene, self.options.surface.texture, atlas=Atlas(asset.uv, asset.uv_faces))
        painted = yield from fit_texture(painted, scene, FitOptions(seconds=TEXTURE_SHARE * seconds, seed=self.options.seed))
        replace(painted, provenance=asset.provenance).write(path)
        again = load_asset(path)
        baked = bake_realtime(again, scene, RealtimeOptions(), moved.backdrops())
        save_baked(baked, self.task.out)
        return again, baked

    def baked(self, scene: Scene, wide: DepthMaps) -> Generator[Progress, None, tuple[Asset, Baked]]:
        """The mesh with the photos that it shows, and with what stands behind its holes.

        Args:
            wide: depths of everything that the photos show.
        """
        yield Progress("realtime", 0.0, "what stands behind the mesh")
        # As a reader finds it in the file: vertices doubled at seams are one, in an order of their own.
        asset = load_asset(self.task.out / "mesh.glb")
        behind = backdrops(asset.mesh, scene, wide)
        yield Progress("realtime", 0.4, "choosing photos")
        baked = bake_realtime(asset, scene, RealtimeOptions(), behind)
        save_baked(baked, self.task.out)
        return asset, baked

    def shown(self, baked: Baked | None, held_out: Scene | None, background: tuple[float, float, float] | None) -> list[HeldOutView]:
        """Scores of the real-time pictures of held-out views."""
        if baked is None or held_out is None:
            return []
        renderer = open_renderer(baked, self.options.device)
        behind = tuple(round(255 * c) for c in background or (1.0, 1.0, 1.0))
        pictures = (renderer.render(held_out.posed(), i, behind) for i in range(len(held_out)))  # type: ignore[arg-type]
        scores = [score(picture.astype(np.float32) / 255, held_out, i, background) for i, picture in enumerate(pictures)]
        renderer.close()
        return scores

    # --- the report --------------------------------------------------------------------------------------------------

    def report(
        self, scene: Scene, working: Scene, given: int, poses: dict[str, Any], findings: list[Finding],
        scores: list[HeldOutView], shown: list[HeldOutView], before: list[HeldOutView], asset: Asset, sides: list[str],
    ) -> dict[str, Any]:  # fmt: skip
        """What was done, how well and in what time; see the design for the keys."""
        from data import __version__

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        quality: dict[str, Any] = {"psnr": None, "ssim": None, "lpips": None, **_means(scores), "held_out": [asdict(s) for s in scores]}
        if shown:
            quality["realtime"] = _means(shown)
        if before:
            quality["realtime"]["before_tuning"] = _means(before)
        cameras = working.posed()
        points = working.points
        pick = slice(None, None, max(len(points) // 1500, 1)) if points is not None else slice(0)
        return {
            "lumigraph": __version__, "name": scene.name, "input": str(self.task.photos), "engine": self.options.engine,
            "quality_preset": self.options.quality, "device": _device_name(self.device), "seed": self.options.seed,
            "seconds": {**self.seconds, "total": round(sum(self.seconds.values()), 3)}, "peak_memory_mb": round(peak),
            "peak_gpu_memory_mb": round(torch.cuda.max_memory_allocated() / 2**20) if self.device.type == "cuda" else None,
            "views": {"given": given, "used": len(working), "dropped": [asdict(d) for d in scene.report.dropped]},
            "poses": poses, "quality": quality, "tuning": self.tuning,
            "findings": [asdict(f) for f in findings],
            "mesh": {**asset.statistics, "open_rims": open_rims(asset.mesh)}, "warnings": [*scene.report.warnings, *(str(f) for f in findings)],
            "pictures": {"sides": sides, "inputs": [f"images/{p.name}" for p in working.image_paths]},
            "cameras": {
                "camera_to_world": cameras.camera_to_world.tolist(), "names": list(working.names),
                "field_of_view": np.degrees(2 * np.arctan(0.5 * cameras.sizes / cameras.intrinsics[:, [0, 1], [0, 1]])).tolist(),
            },
            "points": {
                "xyz": [] if points is None else np.round(points.xyz[pick], 5).tolist(),
                "rgb": [] if points is None else points.rgb[pick].tolist(),
            },
        }  # fmt: skip


def _means(scores: list[HeldOutView]) -> dict[str, float | None]:
    """Over the views; nothing of none."""
    if not scores:
        return {}
    subject = [s.psnr_subject for s in scores if s.psnr_subject is not None]
    return {
        "psnr": float(np.mean([s.psnr for s in scores])), "ssim": float(np.mean([s.ssim for s in scores])),
        "psnr_subject": float(np.mean(subject)) if subject else None,
    }  # fmt: skip


def checked_box(corners: tuple[float | int, ...]) -> np.ndarray:
    """Lower and upper corner ``[2, 3]`` of six numbers.

    Raises:
        InputError: they are no box.
    """
    box = np.array(corners, dtype=np.float64).reshape(-1)
    if box.shape != (6,) or not np.isfinite(box).all() or not (box[3:] > box[:3]).all():
        raise InputError(f"--box {' '.join(f'{v:g}' for v in box)} is no box. Give the lower corner, then the upper one: x y z x y z.")
    return box.reshape(2, 3)


def fingerprint(scene: Scene, task: Task) -> str:
    """Changes when photos or options do: names, sizes and first bytes of the photos, and every option."""
    digest = hashlib.sha256()
    for name, path in zip(scene.names, scene.image_paths, strict=True):
        with path.open("rb") as file:
            digest.update(f"{name} {path.stat().st_size} ".encode() + file.read(4096))
    if scene.cameras is not None:
        digest.update(scene.cameras.camera_to_world.tobytes() + scene.cameras.intrinsics.tobytes())
    digest.update(repr((task.options, task.hold_out)).encode())
    return digest.hexdigest()


def _device(wanted: str) -> torch.device:
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("CUDA was asked for, but there is no GPU that PyTorch can use. Use --device cpu, or install a CUDA build of PyTorch.")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def _plain(function: Any) -> Iterator[Any]:
    yield function()


