"""Jobs of many projects on one machine: one heavy job at a time on each device, in fair order, kept on disk.

Every ticket is a file in its project, so that a restarted server knows all of them: jobs that went on without it are attached to, those that
did not are started again where they stopped. Two kinds of lanes: heavy work, one a device; and small work (looking at uploads, exports, one
picture), which does not wait for an hour's reconstruction.
"""

import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from app.jobs import Event, Job, JobFailed
from data.errors import Cancelled, InputError
from data.files import write_json

Status = Literal["queued", "running", "done", "failed", "cancelled"]
SMALL = frozenset({"intake", "examine", "export", "view", "pack", "machine", "tryout"})
"""Kinds of work that take seconds."""
MOST_TRIES = 3
"""Times that a job is started again after its process vanished."""
PATIENCE = 1.5
"""Seconds that a cancelled job has to end by itself."""
NICE = 10
KEPT = 20
"""Finished tickets of a project that are remembered."""


@dataclass(frozen=True)
class Ticket:
    """A job's place in the queue, and what became of it."""

    id: str
    project: str
    """Key of its project: owner/id."""
    kind: str
    title: str
    """What a person calls it."""
    arguments: Mapping[str, Any]
    status: Status = "queued"
    created: float = 0.0
    started: float = 0.0
    ended: float = 0.0
    tries: int = 0
    message: str = ""
    """Why it failed, as a sentence."""
    estimate: float | None = None
    """Seconds that it was expected to take."""
    result: Mapping[str, Any] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.project.split("/")[0]

    @property
    def small(self) -> bool:
        return self.kind in SMALL

    @property
    def ended_already(self) -> bool:
        return self.status in ("done", "failed", "cancelled")


@dataclass(frozen=True)
class Limits:
    """How much one user, and all together, may have waiting."""

    per_user: int = 20
    in_all: int = 100


class JobQueue:
    """The queue of a folder of projects. `start` it, and `stop` it; all methods may be called from any thread."""

    def __init__(
        self, root: Path, devices: tuple[Mapping[str, str], ...] = ({},), limits: Limits | None = None,
        on_end: Callable[[Ticket], None] | None = None,
    ) -> None:  # fmt: skip
        """Args:
        devices: environment variables of each heavy lane's jobs, one lane a device.
        on_end: told every ticket that ended by itself.
        """
        self.root, self.limits, self.on_end = root, limits or Limits(), on_end
        self._lanes: list[tuple[bool, Mapping[str, str]]] = [(False, d) for d in devices] + [(True, {})]
        self._tickets: dict[str, Ticket] = {}
        self._jobs: dict[str, Job] = {}
        self._events: dict[str, tuple[Event, float]] = {}
        self._previews: dict[str, str] = {}
        self._served: dict[str, float] = {}
        self._changed = threading.Condition(threading.RLock())
        self._stopping = False
        self._threads: list[threading.Thread] = []
        self._free: list[int] = list(range(len(self._lanes)))
        self._count = 0

    # --- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Pick up what an earlier server left, then work."""
        with self._changed:
            for path in sorted(self.root.glob("*/*/jobs/*/ticket.json")):
                ticket = _stored(path)
                if ticket is None or ticket.id in self._tickets:
                    continue
                self._tickets[ticket.id] = ticket
                if ticket.status == "running":
                    self._pick_up(ticket)
        thread = threading.Thread(target=self._schedule, name="queue", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _pick_up(self, ticket: Ticket) -> None:
        """A job that was running when the server went: follow it, take its result, or start it again."""
        folder = self._folder(ticket)
        try:
            job = Job.attach(folder, PATIENCE)
        except InputError:
            self._keep(replace(ticket, status="queued"))
            return
        lane = next((n for n in self._free if self._lanes[n][0] == ticket.small), None)
        if lane is not None:
            self._free.remove(lane)
        self._jobs[ticket.id] = job
        self._follow_aside(ticket, job, lane)

    def stop(self) -> None:
        """End all jobs, resumable: the next start goes on with them."""
        with self._changed:
            self._stopping = True
            running = [(self._tickets[i], job) for i, job in self._jobs.items()]
            self._changed.notify_all()
        for ticket, job in running:
            job.cancel()
            self._keep(replace(ticket, status="queued"))
        for thread in self._threads:
            thread.join(timeout=5)

    # --- for everybody ------------------------------------------------------------------------------------------------

    def add(self, project: str, kind: str, title: str, arguments: Mapping[str, Any], estimate: float | None = None) -> Ticket:
        """Put a job at the end.

        Raises:
            InputError: too many wait already.
        """
        with self._changed:
            owner = project.split("/", maxsplit=1)[0]
            waiting = [t for t in self._tickets.values() if t.status == "queued"]
            if sum(t.owner == owner for t in waiting) >= self.limits.per_user:
                raise InputError(f"You have {self.limits.per_user} jobs waiting already. Wait for one to end, or cancel one.")
            if len(waiting) >= self.limits.in_all:
                raise InputError(f"{self.limits.in_all} jobs wait already. Come back later.")
            self._count += 1
            stamp = time.time()
            ticket = Ticket(f"{int(stamp * 1000):013d}-{self._count:04d}", project, kind, title, dict(arguments), created=stamp, estimate=estimate)
            self._folder(ticket).mkdir(parents=True, exist_ok=True)
            self._keep(ticket)
            self._changed.notify_all()
            return ticket

    def again(self, project: str, ticket_id: str) -> Ticket:
        """A cancelled or failed job anew, from where it stopped.

        Raises:
            InputError: there is no such job, or it needs no second try.
        """
        ticket = self.get(project, ticket_id)
        if ticket.status not in ("cancelled", "failed"):
            raise InputError(f"'{ticket.title}' is {ticket.status}. Only what was cancelled or failed can go on.")
        with self._changed:  # what is still ending must not meet its successor in the same folder
            self._changed.wait_for(lambda: ticket_id not in self._jobs, timeout=2 * PATIENCE)
        return self.add(project, ticket.kind, ticket.title, ticket.arguments, ticket.estimate)

    def get(self, project: str, ticket_id: str) -> Ticket:
        """A project's ticket.

        Raises:
            InputError: there is none.
        """
        with self._changed:
            ticket = self._tickets.get(str(ticket_id))
        if ticket is None or ticket.project != project:
            raise InputError("There is no such job. Reload the page.")
        return ticket

    def cancel(self, project: str, ticket_id: str) -> Ticket:
        """End a job or take it out of the queue; returns when its process is gone."""
        with self._changed:
            ticket = self.get(project, ticket_id)
            if ticket.ended_already:
                return ticket
            ticket = replace(ticket, status="cancelled", ended=time.time(), message="Cancelled. It can go on where it stopped." if ticket.started else "Cancelled before it began.")
            self._keep(ticket)
            job = self._jobs.get(ticket_id)
        if job is not None:
            job.cancel()
        return ticket

    def forget(self, project: str) -> None:
        """End and forget all jobs of a project that is about to be deleted."""
        for ticket in self.of(project):
            self.cancel(project, ticket.id)
            with self._changed:
                self._tickets.pop(ticket.id, None)

    def of(self, project: str) -> list[Ticket]:
        """A project's tickets, oldest first."""
        with self._changed:
            return sorted((t for t in self._tickets.values() if t.project == project), key=lambda t: t.id)

    def open_tickets(self) -> list[Ticket]:
        """What runs and what waits, in the order in which it will be served as things stand."""
        with self._changed:
            running = sorted((t for t in self._tickets.values() if t.status == "running"), key=lambda t: t.started)
            waiting = [t for t in self._tickets.values() if t.status == "queued"]
            served, order = dict(self._served), []
            clock = time.time()
            while waiting:
                first = _fairest(waiting, served)
                waiting.remove(first)
                clock += 1
                served[first.owner] = clock
                order.append(first)
            return running + order

    def last_event(self, ticket_id: str) -> tuple[Event, float] | None:
        """What a running job said last, and when."""
        with self._changed:
            return self._events.get(ticket_id)

    def last_preview(self, ticket_id: str) -> str | None:
        """The last picture that a job said shows how far it is."""
        with self._changed:
            return self._previews.get(ticket_id)

    # --- work ---------------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                for lane in list(self._free):
                    small, variables = self._lanes[lane]
                    waiting = [t for t in self._tickets.values() if t.status == "queued" and t.small == small]
                    if waiting:
                        self._free.remove(lane)
                        self._begin(_fairest(waiting, self._served), lane, variables)
                self._changed.wait(timeout=1.0)

    def _begin(self, ticket: Ticket, lane: int, variables: Mapping[str, str]) -> None:
        now = time.time()
        self._served[ticket.owner] = now
        ticket = replace(ticket, status="running", started=now, tries=ticket.tries + 1)
        job = Job(ticket.kind, ticket.arguments, self._folder(ticket), survives=True, nice=NICE, variables=variables, patience=PATIENCE)
        try:
            job.start()
        except OSError as error:
            self._keep(replace(ticket, status="failed", ended=now, message=f"The job could not be started ({error.strerror}). Free memory or disk space, then try again."))
            self._free.append(lane)
            return
        self._keep(ticket)
        self._jobs[ticket.id] = job
        self._follow_aside(ticket, job, lane)

    def _follow_aside(self, ticket: Ticket, job: Job, lane: int | None) -> None:
        thread = threading.Thread(target=self._follow, args=(ticket, job, lane), name=f"job {ticket.id}", daemon=True)
        thread.start()

    def _follow(self, ticket: Ticket, job: Job, lane: int | None) -> None:
        """To the job's end, then write down what became of it and free the lane."""
        status: Status = "failed"
        message, vanished = "", False
        try:
            for event in job.follow():
                with self._changed:
                    self._events[ticket.id] = (event, time.time())
                    if picture := event.values.get("preview"):
                        self._previews[ticket.id] = str(picture)
            status = "done"
        except Cancelled:
            status = "cancelled"
        except InputError as error:
            message = str(error)
        except (JobFailed, OSError) as error:
            message, vanished = f"It ended unexpectedly: {error}", True
        with self._changed:
            self._jobs.pop(ticket.id, None)
            if lane is not None:
                self._free.append(lane)
            known = self._tickets.get(ticket.id)
            if known is not None and known.status == "running" and not self._stopping:
                # A process that vanished while no server watched was ended with it (a reboot); one that crashes before our eyes does so again.
                if vanished and job._process is None and known.tries < MOST_TRIES:
                    self._keep(replace(known, status="queued"))
                else:
                    self._keep(replace(known, status=status, ended=time.time(), message=message, result=job.result or {}))
                    self._prune(known.project)
            ended = self._tickets.get(ticket.id)
            self._changed.notify_all()
        if ended is not None and ended.ended_already and self.on_end is not None:
            self.on_end(ended)

    def _keep(self, ticket: Ticket) -> None:
        """Remember a ticket, on disk as well; a project that is gone keeps nothing."""
        with self._changed:
            self._tickets[ticket.id] = ticket
            folder = self._folder(ticket)
            if folder.is_dir():
                write_json(folder / "ticket.json", {**asdict(ticket), "arguments": dict(ticket.arguments), "result": _small(ticket.result)})

    def _prune(self, project: str) -> None:
        ended = [t for t in self.of(project) if t.ended_already]
        for ticket in ended[: max(len(ended) - KEPT, 0)]:
            self._tickets.pop(ticket.id, None)
            self._events.pop(ticket.id, None)
            self._previews.pop(ticket.id, None)
            shutil.rmtree(self._folder(ticket), ignore_errors=True)

    def _folder(self, ticket: Ticket) -> Path:
        return self.root / ticket.project / "jobs" / ticket.id


def _fairest(waiting: list[Ticket], served: Mapping[str, float]) -> Ticket:
    """The oldest job of the user who was served longest ago."""
    return min(waiting, key=lambda t: (served.get(t.owner, 0.0), t.id))


def _small(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result without what its own files hold."""
    return {k: v for k, v in result.items() if len(json.dumps(v)) < 4000}


def _stored(path: Path) -> Ticket | None:
    try:
        content = json.loads(path.read_text())
        return Ticket(**content)
    except (OSError, ValueError, TypeError):
        return None
