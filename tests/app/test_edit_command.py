"""`lumigraph edit` and `evaluate-edit` as a person types them, on a ball with eight photos."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh

from app.cli import main
from data.images import load_rgba
from data.readers.nerfstudio import read as read_transforms
from recon.surface.asset import load_asset
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.baked import bake_realtime
from recon.surface.realtime.stored import save_baked
from recon.surface.texture import bake
from recon.surface.triangles import Triangles
from tests.conftest import drain, write_sphere_scene

pytestmark = pytest.mark.slow
BOX = "-2 -2 0 2 2 2"


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result as `reconstruct` would leave it, with the least that an edit needs."""
    out = tmp_path_factory.mktemp("edit") / "ball"
    write_sphere_scene(out, views=8, size=96, masks=True)
    sphere = trimesh.creation.icosphere(subdivisions=3)
    scene = read_transforms(out)
    drain(bake(Triangles(np.asarray(sphere.vertices, np.float64), np.asarray(sphere.faces, np.int64)), scene, 128)).write(out / "mesh.glb")
    save_baked(bake_realtime(load_asset(out / "mesh.glb"), scene, RealtimeOptions()), out)
    return out


@pytest.fixture(scope="module")
def purple(ball: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its upper half, purple."""
    out = tmp_path_factory.mktemp("edit") / "purple"
    assert main(["edit", str(ball), "--do", "recolor", "--color", "purple", "--region", BOX, "-o", str(out)]) == 0
    return out


def test_the_edited_result_is_whole(purple: Path, ball: Path) -> None:
    assert {"mesh.glb", "report.json", "report.html", "edit.toml", "transforms.json", "images", "originals", "field", "realtime"} <= {p.name for p in purple.iterdir()}
    report = json.loads((purple / "report.json").read_text())
    assert report["edits"][0]["unchanged_outside"]
    assert len(load_asset(purple / "mesh.glb").mesh.faces) == len(load_asset(ball / "mesh.glb").mesh.faces)
    page = (purple / "report.html").read_text()
    assert "recolor" in page
    assert "http" not in page.replace("http://www.w3.org", "")


def test_it_is_measured(purple: Path, ball: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate-edit", str(ball), str(purple), "--device", "cpu", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["unchanged_outside"]
    assert 0 < found["change"] < 1
    assert found["bpsnr"] > 10
    assert found["warp_error"] < 0.2
    assert found["clip_direction"] is None


def test_a_sentence_is_tried_and_undone(purple: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = sorted((purple / "images").iterdir())[0].name
    assert main(["edit", str(purple), "make it darker", "--try-on", name, "-o", str(tmp_path / "try.png"), "--device", "cpu"]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "try.png")
    assert load_rgba(tmp_path / "try.png")[0].mean() < load_rgba(purple / "images" / name)[0].mean()
    assert main(["edit", str(purple), "--undo", "-o", str(tmp_path / "back")]) == 0
    before = load_rgba(purple / "originals" / name)[0]
    np.testing.assert_array_equal(load_rgba(tmp_path / "back" / "images" / name)[0], before)


@pytest.mark.parametrize(("words", "says"), [
    ([], "prompt is empty"), (["make it a zebra"], "does not know 'zebra'"), (["make it night", "--region", "1 2 3"], "is no box"), (["make it night", "--undo"], "--undo takes back"),
    (["make it night", "--model", "nobody/nothing"], "hf download nobody/nothing"), (["make it night", "--region", "900 900 900 901 901 901"], "No view sees"),
    (["--do", "remove"], "needs to know where"), (["make it night", "--strength", "3"], "from 0"),
])  # fmt: skip
def test_what_cannot_be_is_said(ball: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], says: str) -> None:
    assert main(["edit", str(ball), *words, "-o", str(tmp_path / "out"), "--device", "cpu"]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
