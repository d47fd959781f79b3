"""What every action of the studio needs: a place in the queue, and a place for what comes out."""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.projects import Project, Projects
from app.queue import JobQueue, Ticket
from app.studio.options import StudioOptions
from app.studio.window import Window
from data.errors import InputError


class Work(Window):
    """Puts work in the queue."""

    def __init__(self, options: StudioOptions, root: Path, projects: Projects, queue: JobQueue) -> None:
        super().__init__(root, projects, queue)
        self.options = options

    def _submit(self, project: Project, kind: str, title: str, arguments: Mapping[str, Any], expected: float | None = None) -> Ticket:
        same = [t for t in self._open(project) if t.kind == kind and t.title == title and kind not in ("view", "render", "export", "reconstruct", "tryout")]
        if same:  # a second click asks for nothing new
            return same[-1]
        project.update(touched=time.time())
        return self.queue.add(project.key, kind, title, arguments, expected)

    def _open(self, project: Project) -> list[Ticket]:
        """What runs or waits."""
        return [t for t in self.queue.of(project.key) if not t.ended_already]

    def _new_result(self, project: Project, quality: str) -> Path:
        """Where a result goes: after all that are there, and all that are to come."""
        free = project.new_result(quality)
        coming = [int(Path(t.arguments["out"]).name.split("-")[0]) for t in self._open(project) if t.kind in ("reconstruct", "edit")]
        number = max([int(free.name.split("-")[0]), *(n + 1 for n in coming)])
        return free.with_name(f"{number}-{quality}")


def stamp() -> str:
    """Tells files of one kind apart, in the order in which they were asked for."""
    return str(int(time.time() * 1000))


def checked_box(box: Sequence[float]) -> list[float]:
    """Lower corner, upper corner.

    Raises:
        InputError: that is no box.
    """
    values = [float(v) for v in box]
    if len(values) != 6 or not all(math.isfinite(v) for v in values) or not all(values[k] < values[k + 3] for k in range(3)):
        raise InputError("That is no box. Its upper corner must lie above its lower one on every axis.")
    return values


def made(path: Path) -> Path:
    """The path, whose folder exists now."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
