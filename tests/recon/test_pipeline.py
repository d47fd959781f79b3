"""The whole job at tiny size: files as promised, a stop at any stage resumed, other inputs refused."""

import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.config import from_json, to_json, write_run_file
from app.report import write_html
from data.errors import InputError
from recon.editing.options import EditorTraining
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.options import FEW_ENOUGH, ReconstructOptions, Task
from recon.pipeline import overall, reconstruct
from recon.surface.options import SurfaceOptions
from tests.conftest import drain, write_sphere_scene

OPTIONS = ReconstructOptions(
    engine="hashgrid", quality="draft", device="cpu", turntable=False,
    hashgrid=HashGridOptions(
        FieldOptions(levels=4, log2_table_size=13, width=16),
        TrainOptions(steps=300, samples_per_step=8192, samples_per_ray=16, occupancy_side=32, preview_every=60, checkpoint_every=50),
    ),
    surface=SurfaceOptions(resolution=48, depth_side=96, faces=2000, texture=128),
)  # fmt: skip


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos") / "sphere"
    write_sphere_scene(folder, views=10, size=96)
    return folder


@pytest.fixture(scope="module")
def finished(photos: Path, tmp_path_factory) -> tuple[Path, dict]:
    task = Task(photos, tmp_path_factory.mktemp("out") / "result", OPTIONS, hold_out=5)
    report = drain(reconstruct(task))
    write_run_file(task)
    write_html(task.out, report)
    return task.out, report


def test_the_output_is_self_describing(finished: tuple[Path, dict]) -> None:
    out, report = finished
    for name in ("mesh.glb", "transforms.json", "images", "field/field.safetensors", "previews/side_0.png", "report.json", "report.html", "run.toml"):
        assert (out / name).exists(), name
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(report))
    for key in ("engine", "device", "seconds", "peak_memory_mb", "views", "poses", "quality", "mesh", "warnings"):
        assert key in report
    assert report["views"] == {"given": 10, "used": 10, "dropped": []}
    assert len(report["quality"]["held_out"]) == 2
    assert report["quality"]["psnr"] > 15
    page = (out / "report.html").read_text()
    assert "http" not in page.replace("http-equiv", "")  # nothing is fetched
    assert page.count("data:image/jpeg") >= 7
    assert not list(out.rglob("*.part"))


def test_the_mesh_lies_where_the_photos_say(finished: tuple[Path, dict]) -> None:
    from recon.surface.asset import load_asset

    radius = np.linalg.norm(load_asset(finished[0] / "mesh.glb").mesh.vertices, axis=1)
    assert np.median(np.abs(radius - 1)) < 0.07


def test_run_file_repeats_the_run(finished: tuple[Path, dict], photos: Path) -> None:
    content = tomllib.loads((finished[0] / "run.toml").read_text())
    again = from_json(Task, content)
    assert again == Task(photos.resolve(), finished[0].resolve(), OPTIONS, hold_out=5)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["prepare", "stereo", "train", "depth", "texture"])
def test_a_stop_in_any_stage_can_be_resumed(photos: Path, tmp_path: Path, stage: str) -> None:
    task = Task(photos, tmp_path / "out", OPTIONS)
    work = reconstruct(task)
    for progress in work:
        if progress.stage == stage and progress.fraction > 0.3:
            break
    work.close()
    assert not (tmp_path / "out" / "report.json").exists()
    report = drain(reconstruct(replace(task, resume=True)))
    assert (tmp_path / "out" / "mesh.glb").exists()
    assert report["views"]["used"] == 10


def test_progress_only_moves_forward(photos: Path, tmp_path: Path) -> None:
    shares = []
    work = reconstruct(Task(photos, tmp_path / "out", OPTIONS))
    for progress in work:
        shares.append(overall(progress))
        if progress.stage == "train" and progress.fraction > 0.2:
            work.close()
            break
    assert shares == sorted(shares)
    with pytest.raises(InputError, match="--resume"):
        drain(reconstruct(Task(photos, tmp_path / "out", OPTIONS)))
    other = replace(OPTIONS, seed=5)
    with pytest.raises(InputError, match="other photos or options"):
        drain(reconstruct(Task(photos, tmp_path / "out", other, resume=True)))


def test_configurations_round_trip_and_name_what_is_wrong() -> None:
    assert from_json(ReconstructOptions, to_json(OPTIONS)) == OPTIONS
    with pytest.raises(InputError, match="no option 'qualty'"):
        from_json(ReconstructOptions, {"qualty": "draft"})
    with pytest.raises(InputError, match="draft, standard, high"):
        from_json(ReconstructOptions, {"quality": "best"})
    with pytest.raises(InputError, match="must be int"):
        from_json(ReconstructOptions, {"seed": "seven"})
    # A word or a folder: the first that fits.
    assert from_json(EditorTraining, {"start_from": "shipped"}).start_from == "shipped"
    assert from_json(EditorTraining, {"start_from": "my/editor"}).start_from == Path("my/editor")


def test_the_engine_follows_from_photos_and_quality() -> None:
    options = ReconstructOptions()
    assert options.engine_for(FEW_ENOUGH) == "general"
    assert options.engine_for(FEW_ENOUGH + 1) == "hashgrid"
    assert replace(options, quality="draft").engine_for(400) == "general"
    assert replace(options, tune="10s").engine_for(400) == "general"
    # Who sets the hash grid's own options means the hash grid; who names an engine gets it.
    assert replace(options, steps=500).engine_for(10) == "hashgrid"
    assert OPTIONS.resolved(10).engine == "hashgrid"
    assert replace(options, engine="general").resolved(400).engine == "general"
