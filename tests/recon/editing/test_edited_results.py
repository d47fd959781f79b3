"""Edits of a whole result, from the bundled photos: what is written, what stays as it was, and the way back."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.images import load_rgba, save_image
from data.progress import drained
from recon.editing.options import EditOptions, EditTask
from recon.editing.pipeline import edit, try_out
from recon.editing.protocol import EditRequest
from recon.editing.small.editor import SmallEditor
from recon.editing.stack import read_stack
from recon.engines import load_field
from recon.surface.asset import load_asset
from recon.surface.realtime.stored import load_baked
from tests.conftest import sample_result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reconstruction at a glance, of every third photo."""
    return sample_result(tmp_path_factory.mktemp("edit"), 3)


def _middle(result: Path, share: float) -> str:
    """A box about the middle of the mesh, as the command line takes it."""
    vertices = load_asset(result / "mesh.glb").mesh.vertices
    low, high = np.percentile(vertices, [50 - 50 * share, 50 + 50 * share], axis=0)
    return " ".join(f"{v:.6g}" for v in (*low, *high))


def test_a_sentence_in_a_box_and_back(result: Path, tmp_path: Path) -> None:
    box = _middle(result, 0.5)
    report = drained(edit(EditTask(result, tmp_path / "night", "make it night", EditOptions(region=box, views=3, steps=3, device="cpu"))))
    photo = sorted((result / "images").iterdir())[0]
    before, after = load_rgba(photo)[0].astype(int), load_rgba(tmp_path / "night" / "images" / f"{photo.stem}.png")[0].astype(int)
    changed = np.abs(after - before).max(-1) > 8
    assert report["edits"][0]["unchanged_outside"]
    assert 0.01 < changed.mean() < 0.9
    assert after[changed].mean() < before[changed].mean()
    assert read_stack(tmp_path / "night")[0].prompt == "make it night"
    painted = load_asset(tmp_path / "night" / "mesh.glb")
    assert len(painted.mesh.faces) == len(load_asset(result / "mesh.glb").mesh.faces)
    load_baked(tmp_path / "night")
    field, old = load_field(tmp_path / "night"), load_field(result)
    torch.testing.assert_close(field.sources.surface, old.sources.surface)  # type: ignore[attr-defined]
    assert not torch.equal(field.sources.images, old.sources.images)  # type: ignore[attr-defined]

    drained(edit(EditTask(tmp_path / "night", tmp_path / "back", undo=True)))
    again = load_rgba(tmp_path / "back" / "images" / f"{photo.stem}.png")[0].astype(int)
    np.testing.assert_array_equal(again, before)
    assert read_stack(tmp_path / "back") == []


def test_cropping_and_removing_take_faces_away(result: Path, tmp_path: Path) -> None:
    box, faces = _middle(result, 0.5), len(load_asset(result / "mesh.glb").mesh.faces)
    drained(edit(EditTask(result, tmp_path / "part", options=EditOptions(do="crop", region=box))))
    report = drained(edit(EditTask(result, tmp_path / "rest", options=EditOptions(do="remove", region=box))))
    kept, left = (len(load_asset(tmp_path / name / "mesh.glb").mesh.faces) for name in ("part", "rest"))
    assert kept + left == faces
    assert 0 <= report["edits"][0]["seen_behind"] <= 1


def test_nothing_is_left_of_an_edit_that_fails_or_is_closed(result: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No view sees"):
        drained(edit(EditTask(result, tmp_path / "x", "make it night", EditOptions(region="1000 1000 1000 1001 1001 1001"))))
    running = edit(EditTask(result, tmp_path / "y", "make it night"))
    for _ in range(4):
        next(running)
    running.close()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="no masks"):
        drained(edit(EditTask(result, tmp_path / "z", "make it night", EditOptions(region="subject"))))
    with pytest.raises(InputError, match="already holds something"):
        drained(edit(EditTask(result, result, "make it night")))


def test_a_stopped_edit_goes_on_from_what_was_edited(result: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[EditRequest] = []
    original = SmallEditor.edit

    def counted(self: SmallEditor, request: EditRequest) -> Any:
        asked.append(request)
        return (yield from original(self, request))

    monkeypatch.setattr(SmallEditor, "edit", counted)
    options = EditOptions(views=3, steps=2, device="cpu")
    drained(edit(EditTask(result, tmp_path / "whole", "make it sunset", options)))
    needed = len(asked)
    asked.clear()
    running = edit(EditTask(result, tmp_path / "twice", "make it sunset", options))
    while not next(running).message.startswith("round 1"):
        pass
    running.close()
    assert [p.name for p in tmp_path.iterdir() if p.name != "whole"] == [".twice.part"]
    before = len(asked)
    asked.clear()
    drained(edit(EditTask(result, tmp_path / "twice", "make it sunset", options)))
    assert 0 < len(asked) <= needed - before + 1
    assert len(asked) < needed
    assert not (tmp_path / ".twice.part").exists()
    assert not (tmp_path / "twice" / ".work").exists()
    for path in (tmp_path / "whole" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "twice" / "images" / path.name).read_bytes()


def test_a_painted_mask_stays_with_the_edit(result: Path, tmp_path: Path) -> None:
    """The mask, the edited result and the one that was edited may be moved: the edit can be done again."""
    photo = sorted((result / "images").iterdir())[1]
    rows, columns = load_rgba(photo)[0].shape[:2]
    mask = np.zeros((rows, columns), np.uint8)
    mask[rows // 3 : 2 * rows // 3, columns // 3 : 2 * columns // 3] = 255
    (tmp_path / "drawn").mkdir()
    save_image(tmp_path / "drawn" / f"{photo.stem}.png", mask)
    task = EditTask(result, tmp_path / "red", options=EditOptions(do="recolor", color="red", region=str(tmp_path / "drawn" / f"{photo.stem}.png")))
    report = drained(edit(task))
    assert report["edits"][0]["region"] == f"{photo.stem}.png"
    shutil.rmtree(tmp_path / "drawn")
    (tmp_path / "red").rename(tmp_path / "moved")
    drained(edit(EditTask(result, tmp_path / "again", repeat=tmp_path / "moved" / "edit.toml")))
    for path in (tmp_path / "moved" / "images").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "images" / path.name).read_bytes()
    assert (tmp_path / "again" / "edit.toml").read_bytes() == (tmp_path / "moved" / "edit.toml").read_bytes()


def test_a_sentence_is_tried_on_one_photo(result: Path, tmp_path: Path) -> None:
    name = sorted((result / "images").iterdir())[0].name
    files = drained(try_out(result, name, "make it brighter", EditOptions(device="cpu"), tmp_path / "try.png"))["files"]
    bright, photo = (load_rgba(Path(f))[0].astype(float) for f in files)
    assert bright.shape == photo.shape
    assert bright.mean() > photo.mean()
    with pytest.raises(InputError, match="not among the photos"):
        drained(try_out(result, "nobody.jpg", "make it brighter", EditOptions(device="cpu"), tmp_path / "try.png"))
    json.dumps(files)
