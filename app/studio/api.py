"""The same actions for programs: `gradio_client` finds them, with these docstrings, under "Use via API"."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from app.queue import Ticket
from app.studio.desk import Desk
from app.studio.edits import Asked
from app.studio.ui import told, user_of


def register(desk: Desk) -> None:
    """Put all endpoints on the page that is being built."""
    for function in _endpoints(desk):
        gr.api(told(function), api_name=function.__name__, queue=False)
    with gr.Row(visible=False):
        files, name, made = gr.File(file_count="multiple"), gr.Textbox(), gr.JSON()
        trigger = gr.Button()
    trigger.click(
        told(_create(desk)), [files, name], made, api_name="create", queue=False,
        api_description="Start a project of photos, one video or one zip (use handle_file on each). Answers {project}; then wait until `status` says that they have been looked at.",
    )  # fmt: skip


def _create(desk: Desk) -> Callable[..., Any]:
    def create(files: list[str] | None, name: str, request: gr.Request) -> dict[str, Any]:
        return {"project": desk.create(user_of(request), name or "From the API", desk.uploaded(files)).id}

    return create


def _endpoints(desk: Desk) -> list[Callable[..., Any]]:
    def job(ticket: Ticket | None) -> dict[str, Any]:
        return {"job": ticket.id if ticket else None}

    def projects(request: gr.Request) -> list:
        """Your projects: id, name, photos, results, bytes."""
        return desk.listed(user_of(request))

    def example(request: gr.Request) -> dict:
        """Start a project of the bundled photos. Answers {project}."""
        return {"project": desk.example(user_of(request)).id}

    def rename(project: str, name: str, request: gr.Request) -> dict:
        """Give a project another name."""
        desk.rename(user_of(request), project, name)
        return {"project": project}

    def delete(project: str, request: gr.Request) -> dict:
        """Delete a project for good, with its jobs."""
        desk.delete(user_of(request), project)
        return {"project": project}

    def photos(project: str, request: gr.Request) -> dict:
        """The photos of a project and what is wrong with them."""
        return desk.findings(desk.projects.open(user_of(request), project))

    def leave_out(project: str, names: list[str], out: bool = True, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Leave photos out (or, with out false, use them again)."""
        desk.leave_out(user_of(request), project, names, out)
        return {"project": project}

    def masks(project: str, how: str = "auto", request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """auto: cut the subject out of every photo; none: forget the masks. Answers {job}."""
        return job(desk.masks(user_of(request), project, how))

    def find_cameras(project: str, request: gr.Request) -> dict:
        """Find out where each photo was taken. Answers {job}."""
        return job(desk.find_cameras(user_of(request), project))

    def cameras(project: str, request: gr.Request) -> dict:
        """The cameras that were found (camera to world, OpenCV axes), points, and photos left out with the reason."""
        return desk.projects.open(user_of(request), project).read("cameras.json")

    def crop(project: str, box: list[float] | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Mesh only what is in a box (lower corner, upper corner: six numbers); null: found from the photos."""
        desk.crop(user_of(request), project, box)
        return {"project": project}

    def estimate(project: str, quality: str = "draft", engine: str = "auto", tune: str = "none", request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """How long a reconstruction will take on this machine, in seconds from and to, and on what that rests."""
        return desk.estimate(user_of(request), project, quality, engine, tune)

    def reconstruct(project: str, quality: str = "draft", engine: str = "auto", tune: str = "none", weights: str = "standard", request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Photos to a textured mesh. quality: glance, draft, standard, high; engine: auto, general, hashgrid; tune: none, 10s, 1m, 5m. Answers {job}."""
        return job(desk.reconstruct(user_of(request), project, quality, engine, tune, weights))

    def status(project: str = "", request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Jobs of a project (status, share, seconds left, message, files as links under this address), and the queue."""
        return desk.status(user_of(request), project or None)

    def cancel(project: str, job: str, request: gr.Request) -> dict:
        """End a job, or take it out of the queue."""
        return desk.cancel(user_of(request), project, job)

    def resume(project: str, job: str, request: gr.Request) -> dict:
        """Go on with a cancelled or failed job."""
        return desk.resume(user_of(request), project, job)

    def view(project: str, camera: dict | None = None, photo: str = "", what: str = "field", show: str = "color", result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Draw one picture: from a camera {camera_to_world, fov, aspect} or a photo's place. what: field, realtime, mesh; show: color, depth, normals. Answers {job}."""
        return job(desk.view(user_of(request), project, result, camera, photo, what, show))

    def video(
        project: str, path: str = "orbit", views: list | None = None, seconds: float = 4.0, what: str = "realtime", width: int = 640, height: int = 480, loop: bool = False,
        result: str | None = None, request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict:  # fmt: skip
        """Film along orbit or swing, or through views [{camera_to_world, fov}, ...]. Answers {job}."""
        return job(desk.video(user_of(request), project, result, views if views else path, seconds, what, width, height, loop))

    def suggestions(request: gr.Request) -> list:
        """Sentences that this studio's editor understands."""
        return list(desk.suggestions())

    def try_edit(project: str, prompt: str, photo: str = "", strength: float = 1.0, seed: int = 0, result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Edit one photo alone, to see what a sentence does. Answers {job}; its files are the edited photo and the photo."""
        return job(desk.try_edit(user_of(request), project, result, photo, Asked(prompt, strength=strength, seed=seed)))

    def edit(
        project: str, prompt: str = "", do: str = "prompt", region: str = "", mask: dict | None = None, color: str = "", strength: float = 1.0, views: int = 6, seed: int = 0,
        result: str | None = None, request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict:  # fmt: skip
        """Change the scene by a sentence, as a new result; without one: do recolor, remove, crop, background. region: subject, background or a box (six numbers); mask: {photo, png as base64}, white where the edit applies. Answers {job}."""
        return job(desk.edit(user_of(request), project, result, Asked(prompt, do, region, mask, color, strength, views, seed)))

    def edits(project: str, result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """The edits that a result is made of, how well its views agree, and whether the last can be undone."""
        return desk.edits(user_of(request), project, result)

    def undo_edit(project: str, request: gr.Request) -> dict:
        """Go back to before the last edit; it is kept aside. Answers {result}: the newest now."""
        return {"result": desk.undo_edit(user_of(request), project)}

    def redo_edit(project: str, request: gr.Request) -> dict:
        """Bring the edit back that was undone last. Answers {result}."""
        return {"result": desk.redo_edit(user_of(request), project)}

    def inspect(project: str, request: gr.Request) -> dict:
        """Look for signs of tampering in the photos. Answers {job}; `inspection` has the findings."""
        return job(desk.inspect(user_of(request), project))

    def inspection(project: str, request: gr.Request) -> dict:
        """What the last inspection found."""
        return desk.projects.open(user_of(request), project).read("robustness/inspection.json")

    def attack(project: str, method: str = "nerfool", eps: float = 8.0, steps: int = 30, result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Show what a small change of the photos does to one view. Answers {job}."""
        return job(desk.attack(user_of(request), project, result, method, eps, steps))

    def export(
        project: str, format: str = "glb", target: str = "none", faces: int | None = None, texture: int | None = None, flatten: bool = False, normal_map: bool = False,
        part: str = "", result: str | None = None, request: gr.Request = None,  # type: ignore[assignment]
    ) -> dict:  # fmt: skip
        """A file for another program: glb, obj, ply, stl, usdz, points, html, transforms, colmap; target: none, blender, unity, web, print; part: what `understand` found (select, instances:NAME). Answers {job}."""
        return job(desk.export(user_of(request), project, result, format, target, faces, texture, flatten, normal_map, part))

    def understand(project: str, task: str = "instances", clicks: list | None = None, result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """What is where: instances, segment, materials, planes, edges, normals, depth, keypoints, features, foreground, or select with clicks [{photo, x, y, inside} or {point: [x, y, z], inside}]. Answers {job}; `understood` has what was found."""
        return job(desk.understand(user_of(request), project, result, task, clicks or []))

    def understood(project: str, task: str = "instances", result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """What was found for a task: labels with names, colours, areas and boxes, and links to the coloured mesh; empty if it was not asked."""
        return desk.understood(user_of(request), project, result, task)

    def pack(project: str, result: str | None = None, request: gr.Request = None) -> dict:  # type: ignore[assignment]
        """Everything of a result as one zip. Answers {job}."""
        return job(desk.pack(user_of(request), project, result))

    return [
        projects, example, rename, delete, photos, leave_out, masks, find_cameras, cameras, crop, estimate, reconstruct, status, cancel, resume, view, video,
        suggestions, try_edit, edit, edits, undo_edit, redo_edit, understand, understood, inspect, inspection, attack, export, pack,
    ]  # fmt: skip

