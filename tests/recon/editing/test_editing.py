"""Editing: what sentences mean, edits that travel as colours, views that agree, regions, the editor's files, large editors at toy size."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from data.cameras import Cameras, intrinsic_matrix
from data.errors import Cancelled, InputError
from data.progress import Progress, drained
from data.worlds.edits.words import Instruction, phrase, vocabulary, words_of
from recon.depthviews import DepthViews, link, nearest, warp_error
from recon.editing import transfer
from recon.editing.classical import parse_color, recolored
from recon.editing.loop import LoopOptions, edit_alone, edit_consistently
from recon.editing.options import EditOptions, EditorTraining
from recon.editing.prompts import SUGGESTIONS, checked, understood
from recon.editing.protocol import EditRequest
from recon.editing.regions import as_box, soft
from recon.editing.small.editor import SmallEditor
from recon.editing.small.networks import SHIPPED, load
from recon.editing.small.training import train_editor
from recon.editing.stack import Step, read_stack, write_stack
from recon.relay import relayed


def wall(n: int = 4, size: int = 64) -> DepthViews:
    """Views of a textured wall from side by side: all is known of them."""
    k = np.repeat(intrinsic_matrix(60.0, 60.0, size / 2, size / 2)[None], n, 0)
    pose = np.repeat(np.eye(4)[None], n, 0)
    pose[:, 0, 3] = np.linspace(-0.2, 0.2, n)
    cameras = Cameras.pinhole(k, pose, np.tile([[size, size]], (n, 1)))
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    photos = []
    for i in range(n):
        u, v = (x - size / 2) / 60 * 2 + float(pose[i, 0, 3]), (y - size / 2) / 60 * 2
        photos.append(torch.stack([0.5 + 0.4 * torch.sin(3 * u), 0.5 + 0.4 * torch.cos(4 * v), 0.5 + 0.3 * torch.sin(2 * (u + v))]))
    return DepthViews(torch.stack(photos), torch.full((n, size, size), 2.0), cameras)


def test_every_sentence_of_the_grammar_is_understood() -> None:
    g, known = np.random.default_rng(0), set(vocabulary())
    kinds = [("thing_color", "ball", "red"), ("place_material", "floor", "wood"), ("all_material", "", "gold"), ("swap", "red", "blue"), ("tint", "", "green"),
             ("background", "", "white"), ("time", "", "night"), ("weather", "", "fog"), ("season", "", "autumn"), ("style", "", "oil"), ("adjust", "", "warmer")]  # fmt: skip
    for kind in kinds:
        for _ in range(30):
            sentence = phrase(Instruction(*kind), g)
            assert set(words_of(sentence)) <= known
            assert understood(sentence) == sentence
    for sentence in SUGGESTIONS:
        understood(sentence)


@pytest.mark.parametrize(
    ("prompt", "says"),
    [("  ", "empty"), ("make a zebra", "does not know 'zebra'"), ("make it atumn", "Did you mean 'autumn'"), ("make it the scene", "does not say what should change"), ("x" * 600, "600 characters")],
)
def test_bad_prompts_are_explained(prompt: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        understood(prompt)


def test_a_photo_takes_an_affine_edit_exactly() -> None:
    before = wall().photos
    matrix = torch.tensor([[0.6, 0.2, 0.0], [0.1, 0.5, 0.1], [0.0, 0.3, 0.4]])
    after = torch.einsum("ep,nphw->nehw", matrix, before) + 0.1
    small = torch.nn.functional.avg_pool2d(before, 2), torch.nn.functional.avg_pool2d(after, 2)
    out = transfer.apply(before, transfer.fit(*small, epsilon=1e-8))
    assert (out - after).abs().max() < 0.01


def test_the_closed_inverse_is_the_inverse() -> None:
    x = torch.randn(2, 3, 8, 5, 6, dtype=torch.float64)
    square = torch.einsum("nipkq,njpkq->nijkq", x.transpose(1, 2).transpose(1, 2), x)
    square = 0.5 * (square + square.transpose(1, 2))
    ours = transfer._inverse(square, 0.1)
    full = torch.linalg.inv(square.permute(0, 3, 4, 1, 2) + 0.1 * torch.eye(3)).permute(0, 3, 4, 1, 2)
    torch.testing.assert_close(ours, full)


def test_views_of_one_wall_agree_and_colours_carry_over() -> None:
    views = wall()
    links = link(views, nearest(views.cameras, 2))
    assert warp_error(views.photos, links) < 0.01
    assert warp_error(1 - views.photos + 0.1 * torch.arange(4).view(4, 1, 1, 1), links) > 0.05
    blended, total = links.blended(views.photos)
    seen = (total > 0.5).expand_as(blended)
    assert (blended - views.photos)[seen].abs().max() < 0.03
    carried, _ = transfer.carried(views.photos, 1 - views.photos, links)
    assert (carried - (1 - views.photos)).abs().mean() < 0.02


def test_what_stands_in_front_is_not_seen_through() -> None:
    views = wall(2)
    depth = views.depth.clone()
    depth[1, 20:40, 20:40] = 1.0
    links = link(DepthViews(views.photos, depth, views.cameras), nearest(views.cameras, 1))
    free = link(views, nearest(views.cameras, 1))
    assert links.weight[0].sum() < 0.95 * free.weight[0].sum()


@dataclasses.dataclass(frozen=True)
class Unsteady:
    """An editor that darkens, each view by another amount, as its seed has it."""

    name: str = "unsteady"
    side: int = 64
    multiple: int = 16
    detail: str = "photo"
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))

    def check(self, prompt: str) -> None:
        checked(prompt)

    def suggestions(self) -> list[str]:
        return []

    def edit(self, request: EditRequest):  # type: ignore[no-untyped-def]
        yield Progress("edit", 0.5)
        n = len(request.photos)
        amount = 0.3 + 0.3 * torch.rand(n, 3, 1, 1, generator=torch.Generator().manual_seed(request.seed))
        made = request.photos * amount
        return made if request.renders is None else request.renders + request.strength * (made - request.renders)


def test_the_loop_makes_views_agree_that_an_editor_left_apart() -> None:
    views, editor = wall(6), Unsteady()
    links = link(views, nearest(views.cameras, 4))
    alone = drained(edit_alone(editor, views, "darker"))  # type: ignore[arg-type]
    edited = drained(edit_consistently(editor, views, "darker", LoopOptions(keys=3)))  # type: ignore[arg-type]
    coefficients, correction = transfer.settled(views.photos, edited.pictures, edited.links)  # type: ignore[arg-type]
    pictures = transfer.apply(views.photos, coefficients) + correction
    assert warp_error(pictures, links) < 0.4 * warp_error(alone, links)
    assert pictures.mean() < 0.75 * views.photos.mean()
    assert len(edited.keys) == 3
    assert len(edited.disagreement) >= 2


def test_an_edit_ends_when_it_is_closed() -> None:
    ended = []

    def work(tell):  # type: ignore[no-untyped-def]
        try:
            while True:
                tell(Progress("edit", 0.0))
        except Cancelled:
            ended.append(True)
            raise

    running = relayed(work)
    next(running)
    running.close()
    assert ended == [True]


def test_the_shipped_editor_fits_and_changes_what_is_asked() -> None:
    assert sum(f.stat().st_size for f in SHIPPED.rglob("*") if f.is_file()) <= 8_000_000
    editor = SmallEditor.from_pretrained()
    photo = wall(1, 64).photos
    night, day = (drained(editor.edit(EditRequest(photo, p))) for p in ("make it night", "make it brighter"))
    assert night.mean() < 0.6 * photo.mean()
    assert day.mean() > photo.mean()
    assert torch.equal(night, drained(editor.edit(EditRequest(photo, "make it night"))))


@pytest.mark.slow
def test_an_editor_is_trained_on_from_the_shipped_one(tmp_path: Path) -> None:
    options = EditorTraining(minutes=0.05, worlds=4, views=1, edits=2, side=64, sizes=((64, 48),), batch=3, learning_rate=1e-4, seed=9_800, start_from="shipped")
    list(train_editor(options, tmp_path, torch.device("cpu")))
    card = json.loads((tmp_path / "editor" / "card.json").read_text())
    assert card["steps"] >= 1
    assert card["started_from"] == "shipped"
    assert len(card["earlier"]) == 1 + len(json.loads((SHIPPED / "card.json").read_text())["earlier"])
    assert not [p for p in (tmp_path / "editor").rglob("*.json") if "_name_or_path" in p.read_text()]
    request = EditRequest(torch.rand(1, 3, 48, 64), "make it night")
    old, new = (drained(SmallEditor.from_pretrained(folder).edit(request)) for folder in (None, tmp_path / "editor"))
    assert not torch.equal(old, new)
    torch.testing.assert_close(old, new, atol=0.2, rtol=0)


def test_a_damaged_editor_is_explained(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no editor"):
        load(tmp_path)
    (tmp_path / "card.json").write_text(json.dumps({"format": "lumigraph editor", "version": 1}))
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path)


def test_regions_and_colours() -> None:
    assert as_box("subject") is None
    np.testing.assert_array_equal(as_box("0 0 0, 1 2 3"), [[0, 0, 0], [1, 2, 3]])
    with pytest.raises(InputError, match="is no box"):
        as_box("0 0 0 0 1 1")
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:20] = True
    weight = soft(mask)
    assert (weight[~mask] == 0).all()
    assert weight[10, 19] == weight.max() == 1
    np.testing.assert_allclose(parse_color("#ff0080"), [1, 0, 128 / 255])
    with pytest.raises(InputError, match="no colour"):
        parse_color("octarine")
    photo = np.full((20, 20, 3), 100, np.uint8)
    made = recolored([photo], [mask], parse_color("red"))[0]
    assert (made[~mask] == photo[~mask]).all()
    assert made[10, 12, 0] > 1.5 * made[10, 12, 2]


def test_a_stack_of_edits_is_read_as_it_was_written(tmp_path: Path) -> None:
    steps = [Step("make it autumn", EditOptions(strength=0.5)), Step("", EditOptions(do="recolor", region="subject", color="red"))]
    write_stack(tmp_path, steps)
    assert read_stack(tmp_path) == steps
    (tmp_path / "edit.toml").write_text('format = "lumigraph edits"\nversion = 1\n[[edits]]\nprompt = "x"\nspeed = 3\n')
    with pytest.raises(InputError, match="speed"):
        read_stack(tmp_path)
