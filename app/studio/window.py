"""What the studio shows a user: their projects, what is going on, links to files, and the files themselves."""

import hashlib
import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.projects import Project, Projects
from app.queue import JobQueue, Ticket
from data.errors import InputError

SHOWN = ("thumbs", "results", "renders", "robustness", "exports", "scene", "left_out")
"""Folders of a project that the page may show files of."""
SUFFIXES = {
    ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp", ".mp4": "video/mp4", ".html": "text/html; charset=utf-8",
    ".json": "application/json", ".toml": "text/plain; charset=utf-8", ".csv": "text/csv; charset=utf-8", ".glb": "model/gltf-binary", ".obj": "text/plain; charset=utf-8",
    ".mtl": "text/plain; charset=utf-8", ".ply": "application/octet-stream", ".stl": "model/stl", ".usdz": "model/vnd.usdz+zip", ".zip": "application/zip",
}  # fmt: skip


class Window:
    """Looks, and changes nothing."""

    def __init__(self, root: Path, projects: Projects, queue: JobQueue) -> None:
        self.root, self.projects, self.queue = root, projects, queue

    def listed(self, user: str) -> list[dict[str, Any]]:
        """A user's projects."""
        out = []
        for project in self.projects.of(user):
            photos = len(project.read("photos.json").get("photos", []))
            out.append({"id": project.id, "name": project.name, "photos": photos, "results": project.results(), "bytes": project.size(), "touched": project.touched()})
        return out

    def findings(self, project: Project) -> dict[str, Any]:
        """`photos.json`, `cameras.json` without points, and what is left out."""
        out = project.folder / "left_out"
        return {
            "photos": project.read("photos.json"), "left_out": sorted(p.name for p in out.iterdir()) if out.is_dir() else [],
            "masks": project.meta.get("masks") or "none", "box": project.meta.get("box"),
        }  # fmt: skip

    def status(self, user: str, project_id: str | None) -> dict[str, Any]:
        """What is going on: the project's jobs, the queue, and a `version` that changes whenever a page should look again."""
        queue = [{"mine": t.owner == user, "title": t.title if t.owner == user else "Somebody's job", "status": t.status, "small": t.small} for t in self.queue.open_tickets()]
        if not project_id:
            return {"project": None, "jobs": [], "queue": queue, "version": "none"}
        project = self.projects.open(user, project_id)
        tickets = self.queue.of(project.key)
        jobs = [self.told(t) for t in tickets if not t.ended_already] + [self.told(t) for t in tickets if t.ended_already][-4:]
        marks = [f"{t.id}{t.status}" for t in tickets]
        marks += [str((project.folder / n).stat().st_mtime_ns) for n in ("project.json", "photos.json", "cameras.json") if (project.folder / n).exists()]
        version = hashlib.sha256(" ".join(marks).encode()).hexdigest()[:16]
        return {"project": {"id": project.id, "name": project.name}, "jobs": jobs, "queue": queue, "version": version}

    def told(self, ticket: Ticket) -> dict[str, Any]:
        """A ticket as the page and API clients see it: no paths, links instead."""
        out: dict[str, Any] = {
            "id": ticket.id, "kind": ticket.kind, "title": ticket.title, "status": ticket.status, "message": ticket.message,
            "can_resume": ticket.status in ("cancelled", "failed") and ticket.kind not in ("view",), "files": self.links(ticket),
        }  # fmt: skip
        now = time.time()
        if ticket.status == "running":
            heard = self.queue.last_event(ticket.id)
            share = min(max(heard[0].overall, 0.0), 1.0) if heard else 0.0
            elapsed = now - ticket.started
            out |= {"stage": heard[0].stage if heard else "start", "words": heard[0].message if heard else "", "share": round(share, 4), "elapsed": round(elapsed, 1)}
            out["left"] = _left(elapsed, share, ticket.estimate)
            if ticket.kind in ("reconstruct", "edit") and (preview := self.queue.last_preview(ticket.id)) is not None:
                path = Path(ticket.arguments["out"]) / preview
                if path.is_relative_to(self.root) and path.exists():
                    out["preview"] = f"{self.link(path)}?{path.stat().st_mtime_ns}"
        elif ticket.status == "queued":
            ahead = [t for t in self.queue.open_tickets() if t.small == ticket.small]
            out["ahead"] = next((i for i, t in enumerate(ahead) if t.id == ticket.id), 0)
        elif ticket.started:
            out["seconds"] = round(ticket.ended - ticket.started, 1)
        return out

    def links(self, ticket: Ticket) -> list[dict[str, Any]]:
        """What a finished ticket made, as links that its owner can follow."""
        files = ticket.result.get("files", []) if ticket.status == "done" else []
        paths = [Path(f) for f in files if isinstance(f, str)]
        return [{"name": p.name, "url": self.link(p), "bytes": p.stat().st_size} for p in paths if p.is_file() and p.is_relative_to(self.root)]

    def link(self, path: Path) -> str:
        """The page's address of a project's file."""
        _, project, *rest = path.relative_to(self.root).parts
        return "/files/" + quote("/".join([project, *rest]))

    def file(self, user: str, project_id: str, inner: str) -> tuple[Path, str]:
        """A file that the user may see, and its media type.

        Raises:
            InputError: there is no such file for them.
        """
        project = self.projects.open(user, project_id)
        missing = InputError("There is no such file. Reload the page.")
        parts = Path(inner).parts
        if not parts or parts[0] not in SHOWN or any(p.startswith(".") for p in parts) or "\0" in inner:
            raise missing
        path = project.folder / inner
        kind = SUFFIXES.get(path.suffix.lower())
        try:
            real = path.resolve(strict=True)
        except (OSError, ValueError, RuntimeError):
            raise missing from None
        if kind is None or not real.is_file() or not real.is_relative_to(project.folder.resolve()) or real != project.folder.resolve() / inner:
            raise missing
        if kind.startswith("text/html") and parts[0] not in ("results", "exports", "robustness"):
            raise missing
        return real, kind

    def machine(self) -> str:
        """One line about the machine."""
        try:
            m = json.loads((self.root / "machine.json").read_text())
        except (OSError, ValueError):
            return "This machine is being measured."
        gpu = ", ".join(m["gpus"]) if m["gpus"] else "no GPU"
        return f"{m['cores']} processor cores, {m['memory_gb']:g} GB memory, {gpu}"


def _left(elapsed: float, share: float, expected: float | None) -> float | None:
    """Seconds to go: what was expected counts at first, what is seen from then on."""
    seen = elapsed * (1 - share) / share if share > 0.03 else None
    planned = max(expected - elapsed, 0.05 * expected) if expected else None
    if seen is None or planned is None:
        return seen if planned is None else planned
    trust = min(share / 0.5, 1.0)
    return trust * seen + (1 - trust) * planned
