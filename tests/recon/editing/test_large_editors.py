"""Large editors at toy size: a randomly initialised InstructPix2Pix in diffusers' format runs through the same code as one of full size."""

import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from data.progress import drained
from recon.editing.diffusion import DiffusersEditor, latent_noise
from recon.editing.editors import open_editor
from recon.editing.evaluation import Clip, clip_scores
from recon.editing.options import EditOptions
from recon.editing.protocol import EditRequest
from tests.conftest import ring_of_cameras
from tests.recon.editing.toys import clip, saved


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny InstructPix2Pix."""
    return saved("pix2pix", tmp_path_factory.mktemp("toy"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pix2pix_xl", "controlnet", "kontext"])
def test_every_kind_edits_and_goes_on_from_drawings(kind: str, tmp_path: Path) -> None:
    editor = open_editor(EditOptions(model=str(saved(kind, tmp_path)), steps=4))
    g = torch.Generator().manual_seed(0)
    photos, noise, depth = torch.rand(2, 3, 64, 96, generator=g), torch.randn(2, 3, 64, 96, generator=g), 1 + torch.rand(2, 64, 96, generator=g)
    first, again = (drained(editor.edit(EditRequest(photos, "make it night", depth, noise=noise))) for _ in range(2))
    assert first.shape == photos.shape
    assert torch.equal(first, again)
    on, other = (drained(editor.edit(EditRequest(photos, "make it night", depth, renders=start, strength=0.3, noise=noise))) for start in (first, photos))
    assert on.shape == photos.shape
    assert not torch.equal(on, other)
    if kind != "kontext":  # its views are edited one by one
        changed = drained(editor.edit(EditRequest(torch.stack([1 - photos[0], photos[1]]), "make it night", depth, noise=noise)))
        assert (changed[1] - first[1]).abs().max() > 1e-5, "a view looks at the first of its batch"
    running = editor.edit(EditRequest(photos, "make it night", depth))
    next(running)
    running.close()


def test_it_edits_the_same_twice_and_goes_on_from_drawings(toy: Path) -> None:
    editor = open_editor(EditOptions(model=str(toy), steps=4))
    assert isinstance(editor, DiffusersEditor)
    photos = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(photos.shape, generator=torch.Generator().manual_seed(1))
    first, again = (drained(editor.edit(EditRequest(photos, "make it night", noise=noise))) for _ in range(2))
    assert first.shape == photos.shape
    assert torch.equal(first, again)
    on = drained(editor.edit(EditRequest(photos, "make it night", renders=first, strength=0.3, noise=noise)))
    other = drained(editor.edit(EditRequest(photos, "make it night", renders=photos, strength=0.3, noise=noise)))
    assert on.shape == photos.shape
    assert not torch.equal(on, other)


def test_it_can_be_cancelled_at_a_step(toy: Path) -> None:
    editor = open_editor(EditOptions(model=str(toy), steps=50))
    running = editor.edit(EditRequest(torch.rand(1, 3, 64, 64), "make it night"))
    progress = next(running)
    running.close()
    assert progress.fraction < 0.1


def test_short_memory_halves_the_batch_and_then_says_so(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    editor = open_editor(EditOptions(model=str(toy), steps=2))
    assert isinstance(editor, DiffusersEditor)
    whole, most, sizes = DiffusersEditor._batch, 1, []

    def short(self: DiffusersEditor, request: EditRequest, rows: list[int], tell: Callable[[float], None]) -> torch.Tensor:
        sizes.append(len(rows))
        if len(rows) > most:
            raise torch.OutOfMemoryError
        return whole(self, request, rows, tell)

    monkeypatch.setattr(DiffusersEditor, "_batch", short)
    assert drained(editor.edit(EditRequest(torch.rand(3, 3, 64, 64), "make it night"))).shape == (3, 3, 64, 64)
    assert sizes == [3, 2, 1, 1, 1]
    most = 0
    with pytest.raises(InputError, match="--memory offload"):
        drained(editor.edit(EditRequest(torch.rand(3, 3, 64, 64), "make it night")))


def test_what_is_wrong_with_a_model_is_said(toy: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder"):
        open_editor(EditOptions(model="nowhere"))
    with pytest.raises(InputError, match="hf download nobody/nothing"):
        open_editor(EditOptions(model="nobody/nothing"))
    broken = tmp_path / "broken"
    shutil.copytree(toy, broken)
    shutil.rmtree(broken / "unet")
    with pytest.raises(InputError, match="misses its part 'unet'"):
        open_editor(EditOptions(model=str(broken)))
    index = json.loads((toy / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "StableDiffusionPipeline"}))
    with pytest.raises(InputError, match="does not edit photos"):
        open_editor(EditOptions(model=str(broken)))
    if find_spec("torchvision") is None:
        (broken / "unet").mkdir()
        (broken / "model_index.json").write_text(json.dumps({**index, "_class_name": "QwenImageEditPipeline"}))
        with pytest.raises(InputError, match="pip install torchvision"):
            open_editor(EditOptions(model=str(broken)))


def test_noise_for_latents_is_taken_not_averaged() -> None:
    noise = torch.randn(1, 3, 64, 64)
    out = latent_noise(noise, 4, 8)
    assert out.shape == (1, 4, 8, 8)
    assert torch.equal(out[0, 0], noise[0, 0, ::8, ::8])
    assert torch.equal(out[0, 3], noise[0, 0, 1::8, 1::8])


def test_clip_compares_the_change_of_pictures_with_that_of_words(tmp_path: Path) -> None:
    judge = Clip.from_pretrained(str(clip(tmp_path)))
    g = torch.Generator().manual_seed(0)
    before, after = torch.rand(3, 3, 48, 64, generator=g), torch.rand(3, 3, 48, 64, generator=g)
    assert torch.allclose(judge.pictures(before).norm(dim=1), torch.ones(3), atol=1e-5)
    assert torch.allclose(judge.sentences(["a leaf"]), judge.sentences(["a leaf", "a much longer sentence"])[:1], atol=1e-5), "padding counts for nothing"
    scores = clip_scores(judge, before, after, "a leaf", "a red leaf", ring_of_cameras(3, 64))
    opposite = clip_scores(judge, before, after, "a red leaf", "a leaf", ring_of_cameras(3, 64))
    assert scores["clip_direction"] == pytest.approx(-opposite["clip_direction"], abs=1e-5)
    assert -1 <= scores["clip_consistency"] <= 1
    assert clip_scores(judge, before, before, "a leaf", "a red leaf", ring_of_cameras(3, 64))["clip_image"] == pytest.approx(1, abs=1e-4)
    with pytest.raises(InputError, match="hf download nobody/clip"):
        Clip.from_pretrained("nobody/clip")
