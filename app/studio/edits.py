"""Editing by a sentence, as the studio does it: tried on one photo, then on the scene; every edit is a result of its own, and can be undone."""

import base64
import binascii
import io
import math
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import estimates
from app.config import from_json, to_json
from app.projects import Project
from app.queue import Ticket
from app.studio.work import Work, checked_box, made, stamp
from data.errors import InputError
from recon.editing.options import EditOptions, EditTask
from recon.editing.prompts import ANY_SENTENCE, SUGGESTIONS, checked, understood
from recon.understanding.answered import is_region

LARGEST_MASK = 4096
"""Longest side of a painted mask, pixels."""


@dataclass(frozen=True)
class Asked:
    """An edit as it comes from the page or a program."""

    prompt: str = ""
    do: str = "prompt"
    region: str = ""
    mask: Mapping[str, Any] | None = None
    """`photo`: its name; `png`: a picture as base64, white where the edit applies."""
    color: str = ""
    strength: float = 1.0
    views: int = 6
    seed: int = 0


class Edits(Work):
    """What a person can ask about edits."""

    def suggestions(self) -> tuple[str, ...]:
        """Sentences that the editor of this studio understands."""
        return SUGGESTIONS if self.options.editor == "shipped" else ANY_SENTENCE

    def try_edit(self, user: str, project_id: str, result: str | None, photo: str, asked: Asked) -> Ticket:
        """Edit one photo alone, to see what a sentence does."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        if asked.do != "prompt":
            raise InputError("Only sentences are tried on one photo. Edit the scene: it can be undone.")
        prompt = self._understood(asked.prompt)
        options = self._options_of(project, asked, prompt, painted=False)
        values = {"result": str(folder), "photo": str(photo), "prompt": prompt, "options": to_json(options), "out": str(made(project.folder / "renders" / f"try-{stamp()}.png"))}
        return self._submit(project, "tryout", f"Trying: {prompt}", values)

    def edit(self, user: str, project_id: str, result: str | None, asked: Asked) -> Ticket:
        """Edit the scene; the edited one is a new result."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        if any(t.kind in ("edit", "reconstruct") for t in self._open(project)):
            raise InputError("The scene is being worked on. Wait until that has ended, or cancel it; then edit what came out.")
        prompt = self._understood(asked.prompt) if asked.do == "prompt" else ""
        options = self._options_of(project, asked, prompt)
        task = EditTask(folder, self._new_result(project, "edit"), prompt, options)
        photos = len(project.read(f"results/{folder.name}/report.json").get("cameras", {}).get("names", []))
        expected = estimates.of_edit(self.root, photos).middle if asked.do == "prompt" and self.options.editor == "shipped" else None
        arguments = {**to_json(task), "page": True, "preview": str(project.folder / "renders" / f"edit-{stamp()}.jpg")}
        ticket = self._submit(project, "edit", f"Editing: {prompt or _named(asked)}", arguments, expected)
        for name in project.undone():  # a new edit takes the place of those that were undone
            shutil.rmtree(project.folder / "undone" / name, ignore_errors=True)
        return ticket

    def undo_edit(self, user: str, project_id: str) -> str:
        """Go back to before the last edit, at once; the edit is kept aside. Answers the result that is the newest now."""
        project = self.projects.open(user, project_id)
        names = project.results()
        if not names or not names[-1].endswith("-edit"):
            raise InputError("There is no edit to undo: the newest result is a reconstruction.")
        self._at_rest(project)
        self._move(project, "results", "undone", names[-1])
        return project.results()[-1] if project.results() else ""

    def redo_edit(self, user: str, project_id: str) -> str:
        """Bring the edit back that was undone last."""
        project = self.projects.open(user, project_id)
        names = project.undone()
        if not names:
            raise InputError("There is no edit to bring back: none was undone since the last change.")
        self._at_rest(project)
        self._move(project, "undone", "results", names[0])
        return names[0]

    def edits(self, user: str, project_id: str, result: str | None = None) -> dict[str, Any]:
        """The edits that a result is made of, and what can be undone."""
        project = self.projects.open(user, project_id)
        folder = project.result(result)
        report = project.read(f"results/{folder.name}/report.json")
        undone = project.undone()
        return {"result": folder.name, "edits": report.get("edits", []), "can_undo": folder.name.endswith("-edit") and folder.name == project.results()[-1], "can_redo": bool(undone)}

    # --- inside -------------------------------------------------------------------------------------------------------

    def _understood(self, prompt: str) -> str:
        return understood(str(prompt)) if self.options.editor == "shipped" else checked(str(prompt))

    def _options_of(self, project: Project, asked: Asked, prompt: str, painted: bool = True) -> EditOptions:
        region = _region(asked.region)
        if asked.mask and painted:
            if region:
                raise InputError("Where the edit applies was said twice. Give a region or a painted mask, not both.")
            region = str(self._painted(project, asked.mask))
        if asked.do not in ("prompt", "recolor", "remove", "crop", "background"):
            raise InputError(f"'{asked.do}' is no edit. Choose prompt, recolor, remove, crop or background.")
        if asked.do in ("recolor", "remove", "crop") and not region:
            raise InputError("Say where: paint it on a photo, or choose the subject or a box.")
        if "/" in asked.color or "." in asked.color:
            raise InputError("A colour is a name, such as red, or #rrggbb.")
        if not 1 <= int(asked.views) <= 100:
            raise InputError("1 to 100 views can be edited first. Choose within that.")
        strength = float(asked.strength)
        if not (math.isfinite(strength) and 0 <= strength <= 1):
            raise InputError("The strength of an edit is from 0 to 1. Choose within that.")
        content = {
            "do": asked.do, "model": self.options.editor, "region": region, "color": asked.color, "strength": strength, "views": int(asked.views),
            "seed": int(asked.seed), "device": self.options.device,
        }  # fmt: skip
        return from_json(EditOptions, content, "the edit")

    def _painted(self, project: Project, mask: Mapping[str, Any]) -> Path:
        """A mask that was painted on a photo, as a file named like the photo."""
        from PIL import Image, UnidentifiedImageError

        names = {Path(str(p["name"])).stem for p in project.read("photos.json").get("photos", [])}
        stem = Path(str(mask.get("photo", ""))).stem
        if stem not in names:
            raise InputError("The mask belongs to no photo of this project. Paint it anew.")
        try:
            picture = Image.open(io.BytesIO(base64.b64decode(str(mask.get("png", "")).split(",")[-1], validate=True)), formats=["PNG"])
            if max(picture.size) > LARGEST_MASK:
                raise InputError(f"The painted mask is larger than {LARGEST_MASK} pixels. Paint it smaller.")
            gray = picture.convert("L").point(lambda v: 255 if v > 127 else 0)
        except (binascii.Error, UnidentifiedImageError, OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError("The painted mask is no PNG picture. Paint it anew.") from None
        if gray.getbbox() is None:
            raise InputError("Nothing was painted yet. Paint on the photo where the edit is to apply.")
        path = made(project.folder / "painted" / stamp() / f"{stem}.png")
        gray.save(path)
        return path

    def _at_rest(self, project: Project) -> None:
        if self._open(project):
            raise InputError("This project is being worked on. Wait until that has ended, or cancel it.")

    def _move(self, project: Project, source: str, target: str, name: str) -> None:
        place = made(project.folder / target / name)
        shutil.rmtree(place, ignore_errors=True)
        (project.folder / source / name).rename(place)
        project.update(touched=time.time())


def _region(region: str) -> str:
    """The subject, what is behind it, what was found in the scene, or a box: nothing else comes from outside.

    Raises:
        InputError: it is something else.
    """
    region = str(region).strip()
    if region in ("", "subject", "background") or is_region(region):
        return region
    try:
        values = [float(w) for w in region.replace(",", " ").split()]
    except ValueError:
        raise InputError("The region is 'subject', 'background', what was found in the Understand step, or a box: lower corner, then upper corner, six numbers.") from None
    return " ".join(f"{v:.9g}" for v in checked_box(values))


def _named(asked: Asked) -> str:
    words = {"recolor": "another colour", "remove": "something removed", "crop": "cropped", "background": "another background"}
    return words.get(asked.do, asked.do)
