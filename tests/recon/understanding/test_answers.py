"""Questions about a whole result, from the bundled photos: what is written, and what editing and export make of it."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.export import ExportTask, export
from app.understanding import write_understanding_page, write_understanding_view
from data.errors import InputError
from data.progress import drained
from recon.editing.regions import region_masks
from recon.result import open_result
from recon.surface.asset import load_asset
from recon.understanding.answered import region_on_mesh
from recon.understanding.asked import look, parsed
from recon.understanding.options import UnderstandOptions, UnderstandTask
from recon.understanding.pipeline import understand
from tests.conftest import sample_result

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A reconstruction at a glance, of every fourth photo."""
    return sample_result(tmp_path_factory.mktemp("understand"), 4)


def ask(result: Path, task: str, **more) -> dict:
    return drained(understand(UnderstandTask(result, None, UnderstandOptions(task=task, device="cpu", side=320, **more))))


def test_things_have_numbers_names_and_a_mesh(result: Path) -> None:
    found = ask(result, "instances")
    folder = Path(found["out"])
    assert json.loads((folder / "labels.json").read_text())["labels"] == found["labels"]
    assert found["views_agree"] > 0.6  # six photos, far apart, at a glance
    names = [one["name"] for one in found["labels"]]
    assert len(set(names)) == len(names) > 3
    photo = sorted((result / "images").iterdir())[0]
    labels = np.asarray(Image.open(folder / "maps" / f"{photo.stem}.png"))
    assert labels.shape == Image.open(photo).size[::-1]
    assert set(np.unique(labels)) <= {one["label"] for one in found["labels"]}
    faces = len(load_asset(result / "mesh.glb").mesh.faces)
    assert sum(one["faces"] for one in found["labels"]) == faces
    import trimesh

    mesh = next(iter(trimesh.load(folder / "mesh.glb").geometry.values()))
    assert "_LABEL" in mesh.vertex_attributes
    one = max((x for x in found["labels"] if x["faces"]), key=lambda x: x["faces"])
    assert len(region_on_mesh(result, f"instances:{one['name']}", faces)) == one["faces"]
    page = write_understanding_page(folder, found).read_text()
    assert one["name"] in page
    assert write_understanding_view(result, folder).stat().st_size > 10_000


def _middle(result: Path) -> np.ndarray:
    """The place of the scene in the middle of the first photo."""
    asked = look(open_result(result), 320)
    h, w = asked.depth[0].shape
    return asked.views.cameras.unproject(0, np.array([[w / 2, h / 2]]), np.array([float(asked.depth[0][h // 2, w // 2])]))[0]


def test_what_is_clicked_on_is_edited_and_exported(result: Path, tmp_path: Path) -> None:
    photo = sorted((result / "images").iterdir())[0]
    width, height = Image.open(photo).size
    found = ask(result, "select", clicks=(f"{photo.name} {width // 2} {height // 2}", f"-{photo.name} 3 3"))
    folder = Path(found["out"])
    in_3d = parsed((" ".join(f"{v:.9g}" for v in _middle(result)), f"- {photo.name} 3 3", "- -1.5 2 0.25"), open_result(result))
    assert [(c.photo, c.inside) for c in in_3d] == [(-1, True), (0, False), (-1, False)]
    assert ask(result, "select", clicks=(" ".join(f"{v:.9g}" for v in _middle(result)), f"- {photo.name} 3 3"))["faces"] > 0
    found = ask(result, "select", clicks=(f"{photo.name} {width // 2} {height // 2}", f"-{photo.name} 3 3"))
    mask = np.asarray(Image.open(folder / "masks" / f"{photo.stem}.png")) > 0
    assert mask[height // 2, width // 2]
    assert not mask[3, 3]
    opened = open_result(result)
    masks = region_masks("select", opened.scene, opened.baked)
    assert masks is not None
    assert (masks[0] == mask).all()
    exported = drained(export(ExportTask(result, part="select", out=tmp_path / "part.glb")))
    assert len(load_asset(Path(exported["files"][0])).mesh.faces) == found["faces"] <= len(opened.asset.mesh.faces)
    with pytest.raises(InputError, match="holds the whole scene"):
        drained(export(ExportTask(result, part="select", format="html")))


@pytest.mark.parametrize("task", ["segment", "materials", "planes", "foreground", "edges", "normals", "depth", "keypoints", "features"])
def test_every_task_answers(result: Path, task: str) -> None:
    found = ask(result, task)
    folder = Path(found["out"])
    assert len(list((folder / "maps").iterdir())) == len(list((folder / "overlays").iterdir())) == len(list((result / "images").iterdir()))
    assert (folder / "mesh.glb").stat().st_size > 1000
    assert ("labels" in found) == (task in ("segment", "materials", "planes", "foreground"))


def test_without_a_network(result: Path) -> None:
    assert ask(result, "edges", model="classical")["model"] == "classical"
    assert ask(result, "instances", model="classical")["labels"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "select"}, "needs to know what"), ({"task": "instances", "clicks": ("a 1 2",)}, "belong to --task select"), ({"task": "select", "clicks": ("nobody.jpg 1 2",)}, "names no photo"),
        ({"task": "select", "clicks": ("here",)}, "cannot be read"), ({"task": "features", "text": "a cup"}, "knows no text"), ({"task": "normals", "model": "classical"}, "no way without a network"),
        ({"task": "planes", "model": "somebody/model"}, "Leave --model out"), ({"task": "segment", "model": "nobody/nothing"}, "no model for 'segment'"),
        ({"task": "edges", "adapter": Path("x.safetensors")}, "Leave --adapter out"), ({"task": "edges", "side": 10}, "too small"),
    ],
)  # fmt: skip
def test_bad_questions_are_refused(result: Path, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        drained(understand(UnderstandTask(result, None, UnderstandOptions(**{"device": "cpu", "side": 320, **options}))))


def test_clicks_beside_the_photo_and_regions_that_are_not_there(result: Path) -> None:
    photo = sorted((result / "images").iterdir())[0].name
    with pytest.raises(InputError, match="beside the photo"):
        ask(result, "select", clicks=(f"{photo} 99999 5",))
    with pytest.raises(InputError, match="has no label 'unicorn'"):
        ask(result, "segment")
        region_on_mesh(result, "segment:unicorn", 5)
    with pytest.raises(InputError, match="has no answer for 'nothing'"):
        region_on_mesh(result, "nothing:1", 5)
