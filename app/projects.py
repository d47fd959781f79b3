"""Projects are folders, named by us, one user's apart from another's.

    ROOT/USER/ID/  project.json  photos.json  cameras.json  scene/  left_out/  thumbs/  results/N-QUALITY/  results/N-edit/  undone/N-edit/
                   renders/  robustness/  exports/  jobs/
"""

import json
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import InputError
from data.files import write_json

USER = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
RESULT = re.compile(r"[0-9]{1,4}-(glance|draft|standard|high|edit)")
LONGEST_NAME = 80
EXAMPLE = Path(__file__).resolve().parents[1] / "data" / "sample" / "still_life"


@dataclass(frozen=True)
class Project:
    """One set of photos and all that was made of it."""

    owner: str
    id: str
    folder: Path

    @property
    def key(self) -> str:
        """Owner and id, for files that are about many projects."""
        return f"{self.owner}/{self.id}"

    def read(self, name: str) -> dict[str, Any]:
        """One of the project's JSON files; empty if it is not there (yet)."""
        try:
            content = json.loads((self.folder / name).read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    @property
    def meta(self) -> dict[str, Any]:
        return self.read("project.json")

    @property
    def name(self) -> str:
        return str(self.meta.get("name", self.id))

    def update(self, **values: Any) -> None:
        """Change entries of `project.json`."""
        write_json(self.folder / "project.json", {**self.meta, **values})

    def results(self) -> list[str]:
        """Names of finished results, the newest last."""
        found = [p.name for p in self._numbered("results") if (p / "report.json").exists()]
        return sorted(found, key=lambda n: int(n.split("-")[0]))

    def result(self, name: str | None = None) -> Path:
        """A finished result's folder, the newest if no name is given.

        Raises:
            InputError: there is none.
        """
        names = self.results()
        if name is None and names:
            return self.folder / "results" / names[-1]
        if name not in names:
            raise InputError("There is no such result. Reconstruct first." if not names else f"There is no result '{name}'. Choose one of {', '.join(names)}.")
        return self.folder / "results" / str(name)

    def new_result(self, quality: str) -> Path:
        """Where the next result goes; edits are called `edit`."""
        taken = [int(p.name.split("-")[0]) for name in ("results", "undone") for p in self._numbered(name)]
        return self.folder / "results" / f"{max(taken, default=0) + 1}-{quality}"

    def undone(self) -> list[str]:
        """Names of results that were undone and can come back: those after all that stand; the next to come back is the first."""
        last = max((int(n.split("-")[0]) for n in self.results()), default=0)
        return sorted((p.name for p in self._numbered("undone") if int(p.name.split("-")[0]) > last), key=lambda n: int(n.split("-")[0]))

    def _numbered(self, name: str) -> list[Path]:
        folder = self.folder / name
        return [p for p in folder.iterdir() if RESULT.fullmatch(p.name)] if folder.is_dir() else []

    def size(self) -> int:
        """Bytes on disk."""
        return sum(p.stat().st_size for p in self.folder.rglob("*") if p.is_file() and not p.is_symlink())

    def touched(self) -> float:
        """When it was last worked on."""
        return (self.folder / "project.json").stat().st_mtime if (self.folder / "project.json").exists() else 0.0


class Projects:
    """The folder of all projects."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _home(self, user: str) -> Path:
        if not USER.fullmatch(user):
            raise InputError("That is no user's name. Use lower-case letters, digits, - and _.")
        return self.root / user

    def create(self, user: str, name: str) -> Project:
        """A new, empty project."""
        project_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(4)}"
        folder = self._home(user) / project_id
        (folder / "scene").mkdir(parents=True, mode=0o700)
        project = Project(user, project_id, folder)
        write_json(folder / "project.json", {"name": checked_name(name), "created": time.time()})
        return project

    def open(self, user: str, project_id: str) -> Project:
        """A user's project.

        Raises:
            InputError: they have none of that id; whether somebody else has is not told.
        """
        folder = self._home(user) / project_id if isinstance(project_id, str) and ID.fullmatch(project_id) else None
        if folder is None or not (folder / "project.json").is_file():
            raise InputError("There is no such project. Open one from the list, or start a new one.")
        return Project(user, project_id, folder)

    def of(self, user: str) -> list[Project]:
        """A user's projects, the one last worked on first."""
        home = self._home(user)
        if not home.is_dir():
            return []
        found = [Project(user, p.name, p) for p in home.iterdir() if ID.fullmatch(p.name) and (p / "project.json").is_file()]
        return sorted(found, key=lambda p: -p.touched())

    def everyone(self) -> list[Project]:
        """All users' projects."""
        users = [p.name for p in self.root.iterdir() if p.is_dir() and USER.fullmatch(p.name)]
        return [project for user in users for project in self.of(user)]

    def rename(self, project: Project, name: str) -> None:
        project.update(name=checked_name(name))

    def delete(self, project: Project) -> None:
        """Gone at once for whoever looks, then from the disk."""
        doomed = project.folder.with_name(f".deleted-{project.id}")
        project.folder.rename(doomed)
        shutil.rmtree(doomed, ignore_errors=True)

    def sweep(self, older_than_days: float, busy: set[str]) -> list[str]:
        """Delete projects that nobody worked on for so many days (0: none), but for busy ones; and what an interrupted deletion left."""
        gone = []
        for leftover in self.root.glob("*/.deleted-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        for project in self.everyone():
            if older_than_days > 0 and project.key not in busy and time.time() - project.touched() > older_than_days * 86_400:
                self.delete(project)
                gone.append(project.key)
        return gone


def checked_name(name: str) -> str:
    """A project's name as it may be shown: one line, not too long.

    Raises:
        InputError: nothing is left.
    """
    clean = " ".join("".join(c if c.isprintable() else " " for c in str(name)).split())[:LONGEST_NAME]
    if not clean:
        raise InputError("A project needs a name. Write one.")
    return clean
