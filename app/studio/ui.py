"""How the page's parts are wired: each step shows a project and asks the desk; errors become one sentence on the page.

The page holds one thing: the project's id. All else is read from the project's folder, so that a reload, another tab or a restarted server
shows the same.
"""

import hashlib
import html
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

import gradio as gr

from app.jobs import JobFailed
from app.projects import Project
from app.studio.desk import Desk
from data.errors import InputError, OutputError

_ASSETS = Path(__file__).parent / "assets"
Shower = Callable[[str, Project | None], Sequence[Any]]


def asset(name: str) -> str:
    """A script or style of ours."""
    return (_ASSETS / name).read_text()


def text(value: object) -> str:
    """For use inside of HTML."""
    return html.escape(str(value))


class Ui:
    """What all steps share while the page is built."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.project = gr.Textbox(visible="hidden", elem_id="project", label="Project")
        self.version = gr.Textbox(visible="hidden", elem_id="version", label="Version")
        """Of the project as the page shows it; where the server's is another, the page looks again."""
        self.sent = gr.Textbox(visible="hidden", elem_id="sent", label="Sent")
        """Marks of what the page was sent last."""
        self.notice = gr.HTML("", elem_id="notice", js_on_load=asset("notice.js"))
        """One sentence that the last action gave back, if it gave one."""
        self._shown: list[tuple[list[Any], Shower]] = []
        self._again: list[Callable[..., Any]] = []

    def show(self, outputs: Sequence[Any], shower: Shower) -> None:
        """``shower(user, project)`` gives the outputs' values whenever the project changes."""
        self._shown.append((list(outputs), shower))

    @property
    def outputs(self) -> list[Any]:
        return [self.version, self.sent, *(component for outputs, _ in self._shown for component in outputs)]

    def refresh(self, project_id: str | None, sent: str | None, request: gr.Request) -> list[Any]:
        """The values of all outputs; what the page has already is left alone, so that a viewer is not loaded anew under somebody's hands."""
        user = user_of(request)
        try:
            project = self.desk.projects.open(user, project_id) if project_id else None
        except InputError:
            project = None
        version = self.desk.status(user, project.id if project else None)["version"]
        values = [value for _, shower in self._shown for value in shower(user, project)]
        marks = [_mark(value) for value in values]
        before = (sent or "").split()
        same = [n < len(before) and before[n] == mark for n, mark in enumerate(marks)]
        return [version, " ".join(marks), *(gr.skip() if known else value for value, known in zip(values, same, strict=True))]

    def act(
        self, event: Callable[..., Any], function: Callable[..., Any], inputs: Sequence[Any] = (), outputs: Sequence[Any] = (), js: str | None = None, sent: bool = False, every: bool = False
    ) -> Any:  # fmt: skip
        """Call ``function(user, project_id, *inputs)`` on an event of the page; with ``sent``, what the page's script sent along comes last.

        Its value is the outputs' (one, or a sequence of several), or something `Said`. What it cannot do is said in `notice`. A second click
        while the first is being answered asks for nothing, unless ``every`` one counts.
        """

        count = len(outputs)

        def called(*values: Any, request: gr.Request, event: gr.EventData) -> Any:
            extra = [event._data if isinstance(event._data, dict) else {}] if sent else []
            try:
                value = function(user_of(request), *values, *extra)
            except (InputError, OutputError, JobFailed) as error:
                return with_notice([gr.skip()] * count, _notice(str(error), "error"))
            if isinstance(value, Said):
                return with_notice([gr.skip()] * count, _notice(value.words, "said"))
            return with_notice([] if count == 0 else [value] if count == 1 else list(value), "")

        def with_notice(shown: list[Any], notice: str) -> Any:
            return [*shown, notice] if shown else notice  # Gradio takes a list for the value of a single output

        # Gradio finds the request and the event by the annotations of parameters, after as many as there are inputs. Its own error messages
        # need its queue, which is slower than the page should be.
        call = _spelled_out(called, len(inputs) + 1)
        return event(call, [self.project, *inputs], [*outputs, self.notice], queue=False, show_progress="hidden", api_visibility="private", js=js, trigger_mode="multiple" if every else "once")

    def again(self, event: Callable[..., Any]) -> None:
        """Show the project anew after an event."""
        self._again.append(event)

    def wire(self) -> None:
        """Once the whole page stands: every event that shows it anew shows all of it."""
        for event in self._again:
            event(self.refresh, [self.project, self.sent], self.outputs, queue=False, show_progress="hidden", api_visibility="private")


@dataclass(frozen=True)
class Said:
    """What an action has to say instead of a result."""

    words: str


def _notice(words: str, kind: str) -> str:
    # The time makes the same sentence a new one: it may have been closed.
    return f'<div class="{kind}" role="alert" data-at="{time.time_ns()}"><span>{text(words)}</span><button type="button" aria-label="Close this message">Close</button></div>'


def _mark(value: Any) -> str:
    """Tells values apart; of a component, by all that it was made with."""
    content = value.constructor_args if hasattr(value, "constructor_args") else value
    return hashlib.sha256(f"{type(value).__name__} {content!r}".encode()).hexdigest()[:10]


def told(function: Callable[..., Any]) -> Callable[..., Any]:
    """Errors that a person can act on, as such."""

    @wraps(function)
    def wrapped(*values: Any, **named: Any) -> Any:
        try:
            return function(*values, **named)
        except (InputError, OutputError, JobFailed) as error:
            raise gr.Error(str(error), title="That did not work", print_exception=False) from None

    return wrapped


def _spelled_out(function: Callable[..., Any], count: int) -> Callable[..., Any]:
    """The function with ``count`` plain parameters, a request and an event, as Gradio wants to see them."""
    names = ", ".join(f"v{i}" for i in range(count))
    space: dict[str, Any] = {"function": function, "gr": gr}
    exec(f"def call({names}, request: gr.Request, event: gr.EventData):\n    return function({names}, request=request, event=event)", space)  # names are ours
    return space["call"]  # type: ignore[no-any-return]


def user_of(request: gr.Request) -> str:
    """Who asks; the gate has found out."""
    return str(request.username)
