"""Jobs: the same work in a child process, cancelled, resumed and attached to from outside."""

from pathlib import Path

import pytest

from app.config import to_json
from app.jobs import Job
from data.errors import Cancelled, InputError
from recon.options import ReconstructOptions, Task
from tests.recon.test_pipeline import OPTIONS

pytestmark = pytest.mark.alone


@pytest.mark.slow
def test_a_job_can_be_cancelled_and_resumed(sphere_scene: Path, tmp_path: Path) -> None:
    task = Task(sphere_scene, tmp_path / "out", OPTIONS)
    job = Job("reconstruct", to_json(task))
    with pytest.raises(Cancelled):
        for event in job.run():
            if event.stage == "train" and event.fraction > 0.1:
                job.cancel()
    assert (tmp_path / "out" / ".work" / "train.safetensors").exists()
    again = Job("reconstruct", {**to_json(task), "resume": True})
    stages = [event.stage for event in again.run()]
    assert again.result is not None
    assert stages[-1] in ("previews", "turntable")
    assert (tmp_path / "out" / "report.html").exists()


def test_errors_cross_the_process_as_one_sentence(tmp_path: Path) -> None:
    job = Job("reconstruct", to_json(Task(tmp_path, tmp_path / "out", ReconstructOptions())))
    with pytest.raises(InputError, match="holds no photos"):
        list(job.run())


@pytest.mark.slow
def test_a_job_that_survives_is_attached_to_and_told_from_its_beginning(tmp_path: Path, sphere_scene: Path) -> None:
    job = Job("reconstruct", to_json(Task(sphere_scene, tmp_path / "out", OPTIONS)), tmp_path / "job", survives=True)
    job.start()
    other = Job.attach(tmp_path / "job", patience=1.0)
    first = next(event for event in other.follow() if event.stage != "start")  # which is a mere sign of life
    assert first.stage == "read"
    assert other.alive()
    other.cancel()
    assert not other.alive()
    assert not job.alive()
    with pytest.raises(InputError, match="holds no job"):
        Job.attach(tmp_path)
