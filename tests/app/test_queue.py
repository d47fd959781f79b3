"""The queue: one heavy job at a time, fair between users, on disk, alive across servers."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.jobs import Job
from app.projects import Project, Projects
from app.queue import JobQueue, Limits, Ticket, _fairest
from data.errors import InputError

pytestmark = pytest.mark.alone


def until(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def projects(tmp_path: Path) -> Projects:
    return Projects(tmp_path / "projects")


def packing(project: Project, name: str = "a.zip", megabytes: int = 1) -> dict[str, str]:
    """A job that takes a little while: packing incompressible bytes."""
    folder = project.folder / "results" / "1-draft"
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(megabytes):
        (folder / f"{i:03d}.bin").write_bytes(os.urandom(2**20))
    return {"folder": str(folder), "out": str(project.folder / name)}


def test_a_job_runs_to_its_end_and_is_remembered(projects: Projects) -> None:
    project = projects.create("ann", "one")
    queue = JobQueue(projects.root)
    queue.start()
    ticket = queue.add(project.key, "pack", "Packing", packing(project))
    until(lambda: queue.get(project.key, ticket.id).ended_already)
    done = queue.get(project.key, ticket.id)
    assert done.status == "done"
    assert Path(done.result["files"][0]).exists()
    queue.stop()
    again = JobQueue(projects.root)
    again.start()
    assert again.get(project.key, ticket.id) == done
    again.stop()


def test_a_job_that_fails_says_why(projects: Projects) -> None:
    project = projects.create("ann", "one")
    queue = JobQueue(projects.root)
    queue.start()
    ticket = queue.add(project.key, "pack", "Packing", {"folder": str(project.folder / "nowhere"), "out": str(project.folder / "x.zip")})
    until(lambda: queue.get(project.key, ticket.id).ended_already)
    assert queue.get(project.key, ticket.id).status == "failed"
    assert "nothing to pack" in queue.get(project.key, ticket.id).message
    queue.stop()


def test_twenty_jobs_wait_and_all_are_done_in_fair_order(projects: Projects) -> None:
    ann, bob = projects.create("ann", "one"), projects.create("bob", "two")
    queue = JobQueue(projects.root, limits=Limits(per_user=20))
    for i in range(18):  # ann is first, and asks for much
        queue.add(ann.key, "pack", f"a{i}", packing(ann, f"{i}.zip"))
    for i in range(2):
        queue.add(bob.key, "pack", f"b{i}", packing(bob, f"{i}.zip"))
    order = [t.title for t in queue.open_tickets()]
    assert set(order[:4]) == {"a0", "a1", "b0", "b1"}, "bob does not wait for eighteen jobs of ann's"
    queue.start()
    until(lambda: not queue.open_tickets(), 60)
    assert all(t.status == "done" for t in queue.of(ann.key) + queue.of(bob.key))
    started = sorted(queue.of(ann.key) + queue.of(bob.key), key=lambda t: t.started)
    assert all(a.ended <= b.started + 0.05 for a, b in zip(started, started[1:])), "one at a time in a lane"
    queue.stop()


def test_nobody_may_fill_the_queue(projects: Projects) -> None:
    ann, bob = projects.create("ann", "one"), projects.create("bob", "two")
    queue = JobQueue(projects.root, limits=Limits(per_user=2, in_all=3))
    for i in range(2):
        queue.add(ann.key, "pack", str(i), {})
    with pytest.raises(InputError, match="2 jobs waiting already"):
        queue.add(ann.key, "pack", "one too many", {})
    queue.add(bob.key, "pack", "fits", {})
    with pytest.raises(InputError, match="3 jobs wait already"):
        queue.add(bob.key, "pack", "one too many", {})


def test_waiting_jobs_are_cancelled_at_once_and_can_go_on(projects: Projects) -> None:
    project = projects.create("ann", "one")
    queue = JobQueue(projects.root)
    ticket = queue.add(project.key, "pack", "Packing", packing(project))
    assert queue.cancel(project.key, ticket.id).status == "cancelled"
    assert queue.open_tickets() == []
    again = queue.again(project.key, ticket.id)
    assert again.arguments == ticket.arguments
    with pytest.raises(InputError, match="is queued"):
        queue.again(project.key, again.id)


def test_other_projects_jobs_do_not_exist(projects: Projects) -> None:
    ann, bob = projects.create("ann", "one"), projects.create("bob", "two")
    queue = JobQueue(projects.root)
    ticket = queue.add(ann.key, "pack", "Packing", {})
    for act in (queue.get, queue.cancel, queue.again):
        with pytest.raises(InputError, match="no such job"):
            act(bob.key, ticket.id)


def test_fairness_is_to_the_one_who_waited_longest() -> None:
    tickets = [Ticket("1", "ann/x", "pack", "", {}), Ticket("2", "bob/x", "pack", "", {}), Ticket("3", "cid/x", "pack", "", {})]
    assert _fairest(tickets, {"ann": 5.0, "bob": 3.0, "cid": 4.0}).owner == "bob"
    assert _fairest(tickets, {}).owner == "ann"


_SERVER = """
import sys, time
from pathlib import Path
from app.queue import JobQueue
queue = JobQueue(Path(sys.argv[1]))
queue.start()
print("up", flush=True)
time.sleep(600)
"""


def _serving(root: Path) -> subprocess.Popen[str]:
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(root)], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    assert server.stdout is not None
    assert server.stdout.readline().strip() == "up"
    return server


def _begun_by_a_server_that_is_killed(project: Project, ticket: Ticket) -> Path:
    """The job's folder; the job itself is left alive."""
    server = _serving(project.folder.parents[1])
    folder = project.folder / "jobs" / ticket.id
    until(lambda: (folder / "events.jsonl").exists() and b"event" in (folder / "events.jsonl").read_bytes())
    server.send_signal(signal.SIGKILL)
    server.wait()
    return folder


def test_a_job_goes_on_when_its_server_is_killed_and_the_next_one_has_its_result(projects: Projects) -> None:
    project = projects.create("ann", "one")
    first = JobQueue(projects.root)
    ticket = first.add(project.key, "pack", "Packing", packing(project, megabytes=150))
    _begun_by_a_server_that_is_killed(project, ticket)
    second = JobQueue(projects.root)
    second.start()
    until(lambda: second.get(project.key, ticket.id).ended_already)
    done = second.get(project.key, ticket.id)
    assert done.status == "done"
    assert done.tries == 1, "it was not begun again"
    assert Path(done.result["files"][0]).exists()
    second.stop()


def test_a_job_that_died_with_its_server_is_begun_again(projects: Projects) -> None:
    project = projects.create("ann", "one")
    first = JobQueue(projects.root)
    ticket = first.add(project.key, "pack", "Packing", packing(project, megabytes=150))
    folder = _begun_by_a_server_that_is_killed(project, ticket)
    os.kill(int((folder / "pid").read_text()), signal.SIGKILL)  # the machine went down
    second = JobQueue(projects.root)
    second.start()
    until(lambda: second.get(project.key, ticket.id).ended_already, 60)
    assert (second.get(project.key, ticket.id).status, second.get(project.key, ticket.id).tries) == ("done", 2)
    second.stop()


def test_stopping_the_server_leaves_jobs_to_the_next_one(projects: Projects) -> None:
    project = projects.create("ann", "one")
    queue = JobQueue(projects.root)
    queue.start()
    ticket = queue.add(project.key, "pack", "Packing", packing(project, megabytes=150))
    until(lambda: queue.get(project.key, ticket.id).status == "running")
    queue.stop()
    stored = json.loads((project.folder / "jobs" / ticket.id / "ticket.json").read_text())
    assert stored["status"] == "queued"
    assert not Job.attach(project.folder / "jobs" / ticket.id).alive()


def test_a_job_without_its_starter_ends_unless_it_may_survive(tmp_path: Path) -> None:
    """The command line's jobs end with it, even when it is killed."""
    folder = tmp_path / "big"
    folder.mkdir()
    for i in range(150):
        (folder / f"{i:03d}.bin").write_bytes(os.urandom(2**20))
    starter = (
        "from pathlib import Path; from app.jobs import Job\n"
        f"job = Job('pack', {{'folder': {str(folder)!r}, 'out': {str(tmp_path / 'out.zip')!r}}}, Path({str(tmp_path / 'job')!r}))\n"
        "for event in job.run(): print('x', flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", starter], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).resolve().parents[2])
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    job = Job.attach(tmp_path / "job")
    until(lambda: not job.alive(), 10)
    assert not (tmp_path / "out.zip").exists()
