"""Large editors at toy size: a randomly initialised InstructPix2Pix in diffusers' format runs through the same code as one of full size."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from data.errors import InputError
from data.progress import drained
from recon.editing.diffusion import DiffusersEditor, latent_noise
from recon.editing.editors import open_editor
from recon.editing.options import EditOptions
from recon.editing.protocol import EditRequest


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny pipeline."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("toy")
    words = folder / "words"
    words.mkdir()
    letters = [*"abcdefghijklmnopqrstuvwxyz", *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz"), "<|startoftext|>", "<|endoftext|>"]
    (words / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(letters)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    torch.manual_seed(0)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(letters), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77,
        bos_token_id=52, eos_token_id=53, pad_token_id=53,
    ))  # fmt: skip
    unet = UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=8, out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=32,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(32, 64), in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4,
    )  # fmt: skip
    StableDiffusionInstructPix2PixPipeline(
        vae=vae, text_encoder=text, tokenizer=CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77), unet=unet, scheduler=DDIMScheduler(),
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder / "model")  # fmt: skip
    return folder / "model"


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


def test_noise_for_latents_is_taken_not_averaged() -> None:
    noise = torch.randn(1, 3, 64, 64)
    out = latent_noise(noise, 4, 8)
    assert out.shape == (1, 4, 8, 8)
    assert torch.equal(out[0, 0], noise[0, 0, ::8, ::8])
    assert torch.equal(out[0, 3], noise[0, 0, 1::8, 1::8])
