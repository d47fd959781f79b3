"""Understanding as the studio does it: one answer for each task and result, kept in the result's folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app import estimates
from app.config import from_json, to_json
from app.queue import Ticket
from app.studio.work import Work
from data.errors import InputError
from recon.understanding.answered import FOLDER
from recon.understanding.options import UnderstandOptions, UnderstandTask

MOST_CLICKS = 200


class Understandings(Work):
    """What a person can ask about what is where."""

    def understand(self, user: str, project_id: str, result: str | None, task: str, clicks: Sequence[Mapping[str, Any]] = ()) -> Ticket:
        """Ask; ``clicks`` are `photo` (a file name), `x`, `y` (its pixels) and `inside`; or `point` (world coordinates) and `inside`."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        written = _written(clicks) if task == "select" else []
        if task == "select" and not written:
            raise InputError("Click on the thing first: once or a few times, in one photo or in several.")
        options = from_json(UnderstandOptions, {"task": task, "clicks": written, "device": self.options.device}, "the question")
        photos = len(project.read(f"results/{folder.name}/report.json").get("cameras", {}).get("names", []))
        arguments = {**to_json(UnderstandTask(folder, None, options)), "page": True}
        return self._submit(project, "understand", f"Looking for: {task}", arguments, estimates.of_understanding(self.root, photos).middle)

    def understood(self, user: str, project_id: str, result: str | None, task: str) -> dict[str, Any]:
        """The answer to a task: its `labels.json`, and links to its files; empty if it was not asked."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        if not task.isidentifier():
            raise InputError(f"'{task}' is no task.")
        content = project.read(f"results/{folder.name}/{FOLDER}/{task}/labels.json")
        if not content:
            return {}
        root = folder / FOLDER / task
        files = [root / n for n in ("mesh.glb", "part.glb", "report.html", "view.html")]
        return {**content, "files": [{"name": p.name, "url": self.link(p)} for p in files if p.exists()]}


def _written(clicks: Sequence[Mapping[str, Any]]) -> list[str]:
    """Clicks as a command line has them.

    Raises:
        InputError: they are none, or too many.
    """
    if not isinstance(clicks, (list, tuple)) or len(clicks) > MOST_CLICKS:
        raise InputError(f"Up to {MOST_CLICKS} clicks can be given, as a list of photo, x, y and inside, or point and inside.")
    out = []
    for click in clicks:
        try:
            inside = "" if click.get("inside", True) else "- "
            if "point" in click:
                x, y, z = (float(v) for v in click["point"])
                out.append(f"{inside}{x:.9g} {y:.9g} {z:.9g}")
            else:
                out.append(f"{inside}{Path(str(click['photo'])).name} {float(click['x']):g} {float(click['y']):g}")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise InputError("A click needs photo, x and y, or a point: three world coordinates.") from None
    return out
