"""A `Job` is long work in a child process: it yields progress, can be cancelled, and leaves what can be resumed.

The command line and the studio run the same jobs. The child prints one JSON object a line; `app.worker` is its main.
"""

import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.child import command, environment
from data.errors import Cancelled, InputError


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
    """One run of a kind of work that `app.worker` knows."""

    kind: str
    arguments: Mapping[str, Any]
    """JSON-able; see `app.worker`."""
    result: dict[str, Any] | None = None
    log: Path | None = None
    _process: subprocess.Popen[str] | None = None
    _cancelled: bool = False

    def run(self) -> Iterator[Event]:
        """Start the child and yield its events until it ends; the result is then in ``result``.

        Closing the iterator cancels the job.

        Raises:
            InputError: what was given cannot be used.
            Cancelled: `cancel` was called.
            JobFailed: the child crashed.
        """
        folder = Path(tempfile.mkdtemp(prefix="lumigraph-job-"))
        self.log = folder / "log.txt"
        request = folder / "job.json"
        request.write_text(json.dumps({"kind": self.kind, "arguments": dict(self.arguments)}))
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches us first, and the child and its children can be stopped together.
            self._process = subprocess.Popen(
                command("app.worker", str(request)), stdout=subprocess.PIPE, stderr=log, text=True,
                env=environment(), start_new_session=True,
            )  # fmt: skip
            try:
                yield from self._events(self._process)
            finally:
                self._stop()
        if self.result is not None:  # the log of a run that went well is of no use
            shutil.rmtree(folder, ignore_errors=True)
            self.log = None

    def _events(self, process: subprocess.Popen[str]) -> Iterator[Event]:
        assert process.stdout is not None
        lines: queue.Queue[str | None] = queue.Queue()
        stream = process.stdout

        def pump() -> None:
            for line in stream:
                lines.put(line)
            lines.put(None)

        threading.Thread(target=pump, daemon=True).start()
        last = Event("start", 0.0, 0.0)
        while True:
            try:
                line = lines.get(timeout=0.5)
            except queue.Empty:
                yield Event(last.stage, -1.0, last.overall, last.message)
                continue
            if line is None:
                break
            try:
                message = json.loads(line)
            except json.JSONDecodeError:
                continue
            if "event" in message:
                last = Event(**message["event"])
                yield last
            elif "result" in message:
                self.result = message["result"]
            elif "error" in message:
                raise InputError(message["error"])
        code = process.wait()
        if self._cancelled:
            raise Cancelled("The job was cancelled.")
        if self.result is None:
            raise JobFailed(f"The job ended with code {code}: {self._last_words()} The whole log is in '{self.log}'.")

    def cancel(self) -> None:
        """Ask the child to stop at its next event; what is finished can be resumed."""
        self._cancelled = True
        self._stop()

    def _stop(self, patience: float = 20.0) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        deadline = time.monotonic() + patience
        process.send_signal(signal.SIGTERM)
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _last_words(self) -> str:
        assert self.log is not None
        lines = [line for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "it left no message."
