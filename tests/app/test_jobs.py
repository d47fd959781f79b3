"""Jobs: the same work in a child process, cancelled and resumed from outside; and the page over them."""

from pathlib import Path

import pytest

from app.config import to_json
from app.jobs import Job
from data.errors import Cancelled, InputError
from recon.options import ReconstructOptions, Task
from tests.recon.test_pipeline import OPTIONS


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


def test_the_page_checks_uploads_and_builds(sphere_scene: Path, tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from app.studio.page import _check, build

    folder, text, button = _check(tmp_path / "projects", [str(p) for p in sorted((sphere_scene / "images").iterdir())])
    assert folder is not None
    assert "8 photos" in text
    assert button.interactive
    lone = _check(tmp_path / "projects", [str(sphere_scene / "images" / "000.png")])
    assert lone[0] is None
    assert "cannot be used" in lone[1]
    assert build(tmp_path / "projects") is not None
