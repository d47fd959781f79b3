"""A `Job` is long work in a child process: it yields progress, can be cancelled, and leaves what can be resumed.

The command line, the studio and Python programs run the same jobs. The child (`app.worker`) appends one JSON object a line to a file in the
job's folder, so that it depends on nobody who reads them: a job that may survive its starter goes on without it, and another process can
`attach` to it. Whether it is alive is told by a lock that it inherits and holds to its end, not by a number that another process may get.
"""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.child import command, environment
from data.errors import Cancelled, InputError

POLL = 0.05
"""Seconds between looks at the child's events."""


@dataclass(frozen=True)
class Event:
    """What a job reports."""

    stage: str
    fraction: float
    """0 to 1 within the stage, negative if only a sign of life."""
    overall: float
    """0 to 1 of the whole job."""
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)


class JobFailed(RuntimeError):
    """The job ended in a way nobody foresaw; the text ends with where its log is."""


@dataclass
class Job:
    """One run of a kind of work that `app.kinds` knows."""

    kind: str
    arguments: Mapping[str, Any]
    """JSON-able; see `app.kinds`."""
    folder: Path | None = None
    """Where its events and its log are kept; a temporary folder, gone after success, if not given."""
    survives: bool = False
    """Whether it goes on when the process that started it is gone."""
    nice: int = 0
    """How far it stands back for other processes, 0 to 19."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Added to its environment."""
    patience: float = 20.0
    """Seconds that it has to end by itself when cancelled, before it is killed; what finished stages left stays in either case."""
    result: dict[str, Any] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _cancelled: bool = False

    @classmethod
    def attach(cls, folder: Path, patience: float = 20.0) -> "Job":
        """A job that another process started, by its folder.

        Raises:
            InputError: no job was started there.
        """
        try:
            request = json.loads((folder / "job.json").read_text())
        except (OSError, ValueError) as error:
            raise InputError(f"'{folder}' holds no job ({error}). Start it anew.") from None
        return cls(request["kind"], request["arguments"], folder, survives=request["survives"], patience=patience)

    def run(self) -> Iterator[Event]:
        """Start the child and yield its events until it ends; the result is then in ``result``.

        Closing the iterator cancels the job.

        Raises:
            InputError: what was given cannot be used.
            Cancelled: `cancel` was called.
            JobFailed: the child crashed.
        """
        temporary = self.folder is None
        self.start()
        try:
            yield from self.follow()
        finally:
            self._stop()
        if temporary and self.folder is not None:  # the log of a run that went well is of no use
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def start(self) -> None:
        """Start the child; `follow` tells what becomes of it."""
        self.folder = self.folder or Path(tempfile.mkdtemp(prefix="lumigraph-job-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        request = {"kind": self.kind, "arguments": dict(self.arguments), "survives": self.survives, "nice": self.nice}
        (self.folder / "job.json").write_text(json.dumps(request))
        with (self.folder / "alive").open("wb") as lock, (self.folder / "log.txt").open("wb") as log, (self.folder / "events.jsonl").open("wb") as events:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the child inherits it, and with it the lock
            # A session of its own: Ctrl-C reaches us first, and the child and its children can be stopped together.
            self._process = subprocess.Popen(
                command("app.worker", str(self.folder / "job.json")), stdout=events, stderr=log, stdin=subprocess.DEVNULL,
                env={**environment(), **self.variables}, start_new_session=True, pass_fds=[lock.fileno()],
            )  # fmt: skip
            (self.folder / "pid").write_text(str(self._process.pid))

    def follow(self) -> Iterator[Event]:
        """The events of a started job, from its first on, until it ends. Closing the iterator leaves the job alone.

        Raises: see `run`.
        """
        assert self.folder is not None
        last, heard, rest = Event("start", 0.0, 0.0), time.monotonic(), b""
        with (self.folder / "events.jsonl").open("rb") as events:
            while True:
                ended = not self.alive()
                *lines, rest = (rest + events.read()).split(b"\n")
                for message in _messages(lines):
                    if "event" in message:
                        last, heard = Event(**message["event"]), time.monotonic()
                        yield last
                    elif "result" in message:
                        self.result = message["result"]
                    elif "error" in message:
                        raise InputError(message["error"])
                if ended:
                    break
                if time.monotonic() - heard > 0.5:
                    heard = time.monotonic()
                    yield Event(last.stage, -1.0, last.overall, last.message)
                time.sleep(POLL)
        if self.result is not None:
            return
        if self._cancelled:
            raise Cancelled("The job was cancelled.")
        code = None if self._process is None else self._process.wait()
        raise JobFailed(f"The job ended {f'with code {code}' if code is not None else 'early'}: {self._last_words()} The whole log is in '{self.folder / 'log.txt'}'.")

    def alive(self) -> bool:
        """Whether the child runs."""
        if self._process is not None:
            return self._process.poll() is None
        try:
            with (self.folder / "alive").open("rb") as lock:  # type: ignore[operator]
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def cancel(self) -> None:
        """Ask the child to stop at its next event, and kill it where it does not; what is finished can be resumed."""
        self._cancelled = True
        self._stop()

    def _stop(self) -> None:
        if self.folder is None or not self.alive():
            return
        pid = self._process.pid if self._process is not None else int((self.folder / "pid").read_text())
        deadline = time.monotonic() + self.patience
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.02)
        with suppress(ProcessLookupError, PermissionError):  # its children too, which may not have heard
            os.killpg(pid, signal.SIGKILL)
        while self.alive():
            time.sleep(0.02)

    def _last_words(self) -> str:
        assert self.folder is not None
        lines = [line for line in (self.folder / "log.txt").read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it left no message."


def _messages(lines: list[bytes]) -> Iterator[dict[str, Any]]:
    """What the lines say; others than ours (a library that prints) are passed over."""
    for line in lines:
        with suppress(ValueError):
            message = json.loads(line)
            if isinstance(message, dict):
                yield message
