"""What a person can ask of the studio, without any page: the page's buttons and its API call these methods, and so may a Python program.

Every method takes the user first and finds the project among theirs; nothing here believes a path that came from outside.
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from app import estimates
from app.config import from_json, to_json
from app.export import ExportTask
from app.intake import IntakeTask, left_out
from app.posing import CamerasTask, detach_masks
from app.projects import EXAMPLE, Project, Projects
from app.queue import JobQueue, Limits, Ticket
from app.rendering import RenderTask
from app.studio.edits import Edits
from app.studio.options import StudioOptions
from app.studio.understandings import Understandings
from app.studio.work import checked_box, made, stamp
from app.views import ViewTask
from data.errors import InputError
from data.files import write_json
from data.sniff import safe_name
from recon.options import ReconstructOptions, Task


class Desk(Edits, Understandings):
    """All projects, the queue, and the rules of one studio."""

    def __init__(self, options: StudioOptions) -> None:
        root = options.projects.expanduser().resolve()
        projects = Projects(root)
        super().__init__(options, root, projects, JobQueue(root, _lanes(options.device), Limits(options.most_waiting, 5 * options.most_waiting), self._ended))
        self.uploads = self.root / ".uploads"

    def claim(self) -> None:
        """Take the folder of projects: two studios over one would do every job twice.

        Raises:
            InputError: another studio has it.
        """
        self._claim = (self.root / ".serving").open("wb")
        try:
            fcntl.flock(self._claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"Another studio serves '{self.root}' already. Use that one, or choose another folder with --projects.") from None

    def start(self) -> None:
        """Begin to work; what an earlier server left is gone on with."""
        self.queue.start()
        self.sweep()

    def stop(self) -> None:
        """Stop all jobs, resumable."""
        self.queue.stop()

    def sweep(self) -> list[str]:
        """Delete what the owner of the studio said is to be deleted."""
        busy = {t.project for t in self.queue.open_tickets()}
        return self.projects.sweep(self.options.delete_after_days, busy)

    # --- projects -----------------------------------------------------------------------------------------------------

    def create(self, user: str, name: str, files: Sequence[tuple[Path, str]]) -> Project:
        """A new project of uploaded files (where they are, what the person called them); they are moved."""
        if not files:
            raise InputError("No photos were given. Choose photos, a video or a zip.")
        self._check_upload(files)
        project = self.projects.create(user, name)
        self._take(project, files)
        return project

    def uploaded(self, names: str | Sequence[str] | None) -> list[tuple[Path, str]]:
        """Files that came through the page, by the paths that Gradio says they have.

        Gradio takes the word of whoever calls it for where an uploaded file lies, so that any file of this machine could be named; here it
        must be one that was uploaded.
        """
        listed = [names] if isinstance(names, str) else list(names or [])
        uploads, files = self.uploads.resolve(), []
        for name in listed:
            path = Path(name)
            try:
                inside = path.resolve(strict=True).is_relative_to(uploads) and path.is_file() and not path.is_symlink()
            except (OSError, ValueError, RuntimeError):
                inside = False
            if not inside:
                raise InputError("That is no uploaded file. Choose your photos again.")
            files.append((path, path.name))
        return files

    def add(self, user: str, project_id: str, files: Sequence[tuple[Path, str]]) -> Project:
        """More photos for a project; its cameras are found anew."""
        project = self.projects.open(user, project_id)
        if not files:
            raise InputError("No photos were given. Choose some.")
        self._check_upload(files)
        self._photos_may_change(project)
        self._forget_cameras(project)
        self._take(project, files)
        return project

    def example(self, user: str) -> Project:
        """The bundled still life as a project."""
        project = self.projects.create(user, "Example: still life")
        shutil.copytree(EXAMPLE, project.folder / "scene", dirs_exist_ok=True)
        self._submit(project, "examine", "Looking at the photos", to_json(IntakeTask(project.folder, self.options.most_photos)))
        return project

    def rename(self, user: str, project_id: str, name: str) -> None:
        self.projects.rename(self.projects.open(user, project_id), name)

    def delete(self, user: str, project_id: str) -> None:
        """For good, with its jobs."""
        project = self.projects.open(user, project_id)
        self.queue.forget(project.key)
        self.projects.delete(project)

    # --- photos and cameras -------------------------------------------------------------------------------------------

    def leave_out(self, user: str, project_id: str, names: Sequence[str], out: bool = True) -> None:
        """Photos that are not to be used, or are again."""
        project = self.projects.open(user, project_id)
        self._photos_may_change(project)
        if project.read("photos.json").get("format") not in ("photos", "video", "nerfstudio"):
            raise InputError("These photos came with cameras of their own, as one data set. Leave photos out before you pack it.")
        left_out(project.folder, list(names), out)
        self._forget_cameras(project)
        self._submit(project, "examine", "Looking at the photos", to_json(IntakeTask(project.folder, self.options.most_photos)))

    def masks(self, user: str, project_id: str, how: str) -> Ticket | None:
        """`auto`: cut the thing out of every photo; `none`: forget the masks."""
        project = self.projects.open(user, project_id)
        self._photos_may_change(project)
        if how == "auto":
            if project.read("photos.json").get("masked") and not project.meta.get("masks"):
                raise InputError("These photos came with masks of their own. They are used as they are.")
            self._photos(project)
            project.update(masks="auto")
            return self._submit(project, "masks", "Cutting the subject out", {"scene": str(project.folder / "scene")})
        if how != "none":
            raise InputError(f"Masks cannot be '{how}'. Choose auto or none.")
        if project.meta.get("masks"):
            detach_masks(project.folder / "scene")
        project.update(masks=None)
        return None

    def find_cameras(self, user: str, project_id: str) -> Ticket:
        project = self.projects.open(user, project_id)
        photos = self._photos(project)
        known = project.read("photos.json").get("posed", False)
        expected = None if known else estimates.of_poses(self.root, photos).middle
        return self._submit(project, "cameras", "Finding the cameras", to_json(CamerasTask(project.folder)), expected)

    def crop(self, user: str, project_id: str, box: Sequence[float] | None) -> None:
        """The part of the scene that is meshed; None: found from the photos."""
        project = self.projects.open(user, project_id)
        project.update(box=None if box is None else checked_box(box))

    # --- reconstruction -----------------------------------------------------------------------------------------------

    def estimate(self, user: str, project_id: str, quality: str = "draft", engine: str = "auto", tune: str = "none") -> dict[str, Any]:
        """How long it will take here, and on what that rests."""
        project = self.projects.open(user, project_id)
        photos = self._photos(project)
        settled = self._options(quality, engine, tune, "standard").engine_for(photos)
        known = bool(project.read("cameras.json")) or bool(project.read("photos.json").get("posed"))
        found = estimates.reconstruction(self.root, photos, settled, quality, tune, known)
        return {"seconds": [round(found.low), round(found.high)], "text": str(found), "basis": found.basis, "engine": settled}

    def reconstruct(self, user: str, project_id: str, quality: str = "draft", engine: str = "auto", tune: str = "none", weights: str = "standard") -> Ticket:
        project = self.projects.open(user, project_id)
        options = self._options(quality, engine, tune, weights)
        if (box := project.meta.get("box")) is not None:
            options = replace(options, box=tuple(box))
        expected = self.estimate(user, project_id, quality, engine, tune)
        task = Task(project.folder / "scene", self._new_result(project, quality), options, resume=True)
        title = f"Reconstructing ({quality})"
        return self._submit(project, "reconstruct", title, {**to_json(task), "page": True}, (expected["seconds"][0] * expected["seconds"][1]) ** 0.5)

    def cancel(self, user: str, project_id: str, job: str) -> dict[str, Any]:
        return self.told(self.queue.cancel(self.projects.open(user, project_id).key, job))

    def resume(self, user: str, project_id: str, job: str) -> dict[str, Any]:
        return self.told(self.queue.again(self.projects.open(user, project_id).key, job))

    # --- looking ------------------------------------------------------------------------------------------------------

    def view(self, user: str, project_id: str, result: str | None, camera: Mapping[str, Any] | None = None, photo: str = "", what: str = "field", show: str = "color") -> Ticket:
        """A picture from a camera (`camera_to_world` 4 x 4 OpenCV, `fov` degrees, `aspect`) or a photo's place, beside that photo."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        content: dict[str, Any] = {"result": str(folder), "out": str(project.folder / "renders" / f"view-{stamp()}.png"), "photo": str(photo), "what": what, "show": show, "device": self.options.device}
        if camera is not None:
            try:
                content |= {
                    "camera_to_world": [[float(v) for v in row] for row in camera["camera_to_world"]],
                    "fov": float(camera.get("fov", 50)), "aspect": float(camera.get("aspect", 4 / 3)),
                }  # fmt: skip
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(f"The camera cannot be used ({error}). Give camera_to_world, fov and aspect.") from None
        elif not photo:
            raise InputError("Say from where: a camera, or the name of a photo.")
        task = from_json(ViewTask, content, "the view")
        return self._submit(project, "view", "Drawing a picture", to_json(task))

    def video(
        self, user: str, project_id: str, result: str | None, path: str | Sequence[Mapping[str, Any]] = "orbit", seconds: float = 4.0, what: str = "realtime",
        width: int = 640, height: int = 480, loop: bool = False,
    ) -> Ticket:  # fmt: skip
        """A video along `orbit` or `swing`, or through key views (`camera_to_world` OpenCV, `fov`)."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        name = f"video-{stamp()}"
        if not (0.1 <= float(seconds) <= 60) or not (64 <= int(width) <= 1920 and 64 <= int(height) <= 1920):
            raise InputError("Videos last 0.1 to 60 seconds, and their sides are 64 to 1920 pixels. Choose within that.")
        if isinstance(path, str):
            if path not in ("orbit", "swing"):
                raise InputError(f"'{path}' is no path. Choose orbit, swing, or give key views.")
            way = path
        else:
            if not 2 <= len(path) <= 100:
                raise InputError(f"A path needs 2 to 100 key views, not {len(path)}. Add views where you want to pass.")
            way = str(project.folder / "renders" / f"{name}.json")
            write_json(made(Path(way)), {"keyframes": [_keyframe(k) for k in path], "seconds": float(seconds), "loop": bool(loop)})
        task = from_json(RenderTask, {
            "result": str(folder), "path": way, "out": str(made(project.folder / "renders" / f"{name}.mp4")), "what": what, "frames": max(int(20 * float(seconds)), 2),
            "width": int(width), "height": int(height), "device": self.options.device,
        }, "the video")  # fmt: skip
        return self._submit(project, "render", "Filming", to_json(task))

    def keys(self, user: str, project_id: str, views: Sequence[Mapping[str, Any]]) -> Project:
        """The key views of a film that is being planned."""
        project = self.projects.open(user, project_id)
        if len(views) > 100:
            raise InputError("A film takes at most 100 views. Remove some.")
        for view in views:
            _keyframe(view)
        project.update(keys=[{"camera_to_world": view["camera_to_world"], "fov": float(view.get("fov", 50.0))} for view in views])
        return project

    # --- robustness ---------------------------------------------------------------------------------------------------

    def inspect(self, user: str, project_id: str) -> Ticket:
        """Look for signs of tampering in the photos."""
        project = self.projects.open(user, project_id)
        self._photos(project)
        return self._submit(project, "inspect", "Looking for tampering", {"photos": str(project.folder / "scene"), "device": self.options.device})

    def attack(self, user: str, project_id: str, result: str | None, method: str = "nerfool", eps: float = 8.0, steps: int = 30) -> Ticket:
        """Show what a small change of the photos does to one view of the general engine."""
        from attacks.bench.suite import Suite, SuiteOptions

        project = self.projects.open(user, project_id)
        folder = project.result(result)
        if method not in ("nerfool", "pgd", "depth", "fgsm"):
            raise InputError(f"The demonstration knows no attack '{method}'. Choose nerfool, pgd, depth or fgsm; `lumigraph attack` has them all.")
        if not 1 <= int(steps) <= 200:
            raise InputError("The demonstration takes 1 to 200 steps. `lumigraph attack` takes any number.")
        options = SuiteOptions(
            method=(method,), eps=(0.0, float(eps)), seeds=1, targets=1, sources=4, side=192, look=192, steps=None if method == "fgsm" else int(steps),
        ).checked()  # fmt: skip
        out = project.folder / "robustness" / f"attack-{stamp()}"
        suite = Suite((folder,), out, options, self.options.device)
        return self._submit(project, "attack", f"Attacking ({method}, {float(eps):g}/255)", {**to_json(suite), "command": f"lumigraph attack RESULT --method {method} --eps 0 {float(eps):g} --seeds 1 --targets 1 --sources 4 --side 192 --look 192 --steps {int(steps)}"})

    # --- export -------------------------------------------------------------------------------------------------------

    def export(
        self, user: str, project_id: str, result: str | None, format: str = "glb", target: str = "none", faces: int | None = None, texture: int | None = None,
        flatten: bool = False, normal_map: bool = False, part: str = "",
    ) -> Ticket:  # fmt: skip
        """A file for another program, in `exports/`."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        wanted = {"result": str(folder), "target": target, "flatten": bool(flatten), "normal_map": bool(normal_map), "part": str(part or "")}
        if target == "none":
            wanted["format"] = format
        for key, value in (("faces", faces), ("texture", texture)):
            if value:
                wanted[key] = int(value)
        task = from_json(ExportTask, wanted, "the export")
        settled = task.settled()
        name = safe_name(project.name).replace(" ", "-")
        suffix = {"points": "_points.ply", "html": ".html", "transforms": "_transforms", "colmap": "_colmap"}.get(str(settled.format), f"{'' if target == 'none' else '_' + target}.{settled.format}")
        piece = f"_{safe_name(task.part).replace(' ', '-')}" if task.part else ""
        out = made(project.folder / "exports" / folder.name / f"{name}{piece}{suffix}")
        return self._submit(project, "export", f"Exporting ({target if target != 'none' else settled.format})", to_json(replace(task, out=out)))

    def pack(self, user: str, project_id: str, result: str | None) -> Ticket:
        """Everything of a result as one zip."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        name = safe_name(project.name).replace(" ", "-")
        return self._submit(project, "pack", "Packing everything", {"folder": str(folder), "out": str(made(project.folder / "exports" / folder.name / f"{name}_{folder.name}.zip"))})

    # --- inside -------------------------------------------------------------------------------------------------------

    def _ended(self, ticket: Ticket) -> None:
        """Learn from how long a reconstruction took; look at photos again that have masks now."""
        owner, project_id = ticket.project.split("/")
        if ticket.status == "done" and ticket.kind == "reconstruct":
            report = _report(Path(ticket.arguments["out"]))
            if report and ticket.tries == 1:
                n, options = report["views"]["used"], ticket.arguments["options"]
                expected = estimates.expected(n, report["engine"], report["quality_preset"], options.get("tune", "none"))
                poses = report["seconds"].get("poses", 0.0)
                estimates.learn(self.root, f"{report['engine']} {report['quality_preset']}", ticket.ended - ticket.started - poses, expected)
        if ticket.status == "done" and ticket.kind == "cameras" and ticket.result.get("source") == "colmap":
            n = int(ticket.result.get("registered", 0)) + len(ticket.result.get("dropped", []))
            estimates.learn(self.root, "cameras", ticket.ended - ticket.started, estimates.poses_seconds(n))
        if ticket.status == "done" and ticket.kind == "edit" and ticket.estimate is not None and ticket.tries == 1:
            n = len(_report(Path(ticket.arguments["out"])).get("cameras", {}).get("names", []))
            estimates.learn(self.root, "edit", ticket.ended - ticket.started, estimates.edit_seconds(n))
        if ticket.status == "done" and ticket.kind == "inspect":
            try:
                project = self.projects.open(owner, project_id)
                full = _last_result(project.folder / "jobs" / ticket.id)
                write_json(made(project.folder / "robustness" / "inspection.json"), full)
                project.update(inspected=time.time())
            except InputError:
                pass

    def _take(self, project: Project, files: Sequence[tuple[Path, str]]) -> None:
        incoming = project.folder / "incoming"
        for number, (path, name) in enumerate(files):
            place = incoming / f"{number:05d}"
            place.mkdir(parents=True, exist_ok=True)
            # Linked, not moved: the same photo may just have been uploaded by somebody else, and then it is the same file.
            try:
                os.link(path, place / safe_name(name))
            except OSError:
                shutil.copyfile(path, place / safe_name(name))
        self._submit(project, "intake", "Looking at the photos", to_json(IntakeTask(project.folder, self.options.most_photos)))

    def _check_upload(self, files: Sequence[tuple[Path, str]]) -> None:
        o = self.options
        if len(files) > o.most_photos + 1:
            raise InputError(f"{len(files)} files are more than the {o.most_photos} allowed. Choose the best photos.")
        total = sum(path.stat().st_size for path, _ in files)
        if total > o.most_upload_mb * 2**20:
            raise InputError(f"{total / 2**20:.0f} MB are more than the {o.most_upload_mb} MB allowed. Choose fewer or smaller photos.")
        if shutil.disk_usage(self.root).free < 2 * total + 2**29:
            raise InputError("The disk is nearly full. Delete old projects, or ask whoever runs this studio to make room.")

    def _photos(self, project: Project) -> int:
        photos = len(project.read("photos.json").get("photos", []))
        if photos < 2:
            raise InputError("There are no photos to work with yet. Add at least 2, better 20, and wait until they have been looked at.")
        return photos

    def _photos_may_change(self, project: Project) -> None:
        if any(not t.ended_already and t.kind not in ("view", "export", "pack", "render") for t in self.queue.of(project.key)):
            raise InputError("This project is being worked on. Wait until that has ended, or cancel it.")

    def _forget_cameras(self, project: Project) -> None:
        """Estimated cameras belong to the photos that they were estimated from."""
        (project.folder / "cameras.json").unlink(missing_ok=True)
        if project.meta.get("box") is not None:
            project.update(box=None)
        shutil.rmtree(project.folder / ".poses", ignore_errors=True)
        if not project.read("photos.json").get("posed"):
            for name in ("transforms.json", "points.ply"):
                (project.folder / "scene" / name).unlink(missing_ok=True)

    def _options(self, quality: str, engine: str, tune: str, weights: str) -> ReconstructOptions:
        content = {"quality": quality, "engine": engine, "tune": tune, "weights": weights, "device": self.options.device, "seed": self.options.seed}
        return from_json(ReconstructOptions, content, "the reconstruction")


def _lanes(device: str) -> tuple[dict[str, str], ...]:
    """One heavy lane a GPU, or one for the processor; told without importing PyTorch, which would hold memory in the server."""
    if device == "cpu":
        return ({},)
    import subprocess

    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ({},)
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    return tuple({"CUDA_VISIBLE_DEVICES": str(i)} for i in range(count)) if count > 1 else ({},)


def _keyframe(key: Mapping[str, Any]) -> dict[str, Any]:
    """OpenCV pose of a key view -> nerfstudio's keyframe."""
    import numpy as np

    from data.cameras import opencv_to_opengl

    try:
        pose = np.array([[float(v) for v in row] for row in key["camera_to_world"]])
        fov = float(key.get("fov", 50.0))
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"A key view cannot be used ({error}). Give camera_to_world, 4 x 4, and fov.") from None
    if pose.shape != (4, 4) or not np.isfinite(pose).all():
        raise InputError("A key view's camera_to_world is not 4 x 4 finite numbers. Remove it.")
    return {"matrix": opencv_to_opengl(pose).tolist(), "fov": fov}


def _report(result: Path) -> dict[str, Any]:
    try:
        return json.loads((result / "report.json").read_text())  # type: ignore[no-any-return]
    except (OSError, ValueError):
        return {}


def _last_result(job: Path) -> dict[str, Any]:
    """The whole result in a job's events; its ticket keeps what is small."""
    for line in reversed((job / "events.jsonl").read_text().splitlines()):
        if line.startswith('{"result"'):
            return json.loads(line)["result"]  # type: ignore[no-any-return]
    return {}

