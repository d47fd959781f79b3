"""Models of transformers, as toys of the real architectures with random weights: their loading and what comes out, not how good it is."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from recon.understanding.hub import open_model

pytestmark = pytest.mark.slow
transformers = pytest.importorskip("transformers")
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    g = np.random.default_rng(0)
    return [g.integers(0, 255, (48, 80, 3)).astype(np.uint8) for _ in range(2)]


def saved(folder: Path, model, processor) -> str:
    torch.manual_seed(0)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def test_segformer(photos, tmp_path: Path) -> None:
    config = transformers.SegformerConfig(depths=[1, 1, 1, 1], hidden_sizes=[8, 8, 16, 16], decoder_hidden_size=16, num_attention_heads=[1, 1, 2, 2], id2label={0: "wall", 1: "chair", 2: "cup"}, label2id={"wall": 0, "chair": 1, "cup": 2})
    name = saved(tmp_path / "m", transformers.SegformerForSemanticSegmentation(config), transformers.SegformerImageProcessor(size={"height": 64, "width": 64}))
    said = open_model(name, "segment", CPU).predict(photos)
    assert said.kind == "scores"
    assert said.names == ("wall", "chair", "cup")
    assert torch.allclose(said.maps[0].sum(0), torch.ones(()), atol=1e-4)


def test_dino_and_clip(photos, tmp_path: Path) -> None:
    config = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, image_size=56, patch_size=14)
    name = saved(tmp_path / "dino", transformers.Dinov2Model(config), transformers.BitImageProcessor(size={"height": 56, "width": 56}, do_center_crop=False))
    model = open_model(name, "features", CPU)
    said = model.predict(photos)
    assert said.kind == "features"
    assert said.channels == 24
    assert abs(said.maps[0].shape[2] / said.maps[0].shape[1] - 80 / 48) < 0.4, "of the photo's shape"
    with pytest.raises(InputError, match="knows no text"):
        model.text(["a cup"])


def test_clip_is_asked_in_words(photos, tmp_path: Path) -> None:
    from tests.recon.editing.toys import clip

    model = open_model(str(clip(tmp_path)), "features", CPU)
    said, words = model.predict(photos), model.text(["a leaf", "a red leaf"])
    assert said.channels == words.shape[1] == 16
    assert torch.allclose(words.norm(dim=1), torch.ones(2), atol=1e-4)
    relevancy = torch.einsum("te,ehw->thw", words, torch.nn.functional.normalize(said.maps[0], dim=0))
    assert relevancy.abs().max() <= 1 + 1e-4


def test_patches_of_clip_stay_at_their_place(photos, tmp_path: Path) -> None:
    from tests.recon.editing.toys import clip

    model = open_model(str(clip(tmp_path)), "features", CPU)
    vision, last = model.model.vision_model, model.model.vision_model.encoder.layers[-1]
    values = model.inputs(photos[0])["pixel_values"]
    out = vision(pixel_values=values, output_hidden_states=True)
    assert torch.allclose(last(out.hidden_states[-2], attention_mask=None), out.last_hidden_state, atol=1e-5)
    # Alone, a token attends to itself anyway.
    alone = last(out.hidden_states[-2][:, 3:4], attention_mask=None)[0]
    expected = model.model.visual_projection(vision.post_layernorm(alone))
    assert torch.allclose(model._tokens(vision, values)[3:4], expected, atol=1e-5)


def test_siglip(photos, tmp_path: Path) -> None:
    from tests.recon.editing.toys import clip_tokenizer

    config = transformers.SiglipConfig(
        text_config={"vocab_size": 60, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 12, "projection_size": 16},
        vision_config={"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 8},
    )
    torch.manual_seed(0)
    network = transformers.SiglipModel(config)
    name = saved(tmp_path / "siglip", network, transformers.SiglipImageProcessor(size={"height": 32, "width": 32}))
    clip_tokenizer(tmp_path).save_pretrained(name)
    model = open_model(name, "features", CPU)
    said, words = model.predict(photos), model.text(["a leaf", "a red leaf"])
    assert said.channels == words.shape[1] == 16
    vision = model.model.vision_model
    values = model.inputs(photos[0])["pixel_values"]
    tokens = model._tokens(vision, values)
    # A picture of one patch is what its pooling says.
    assert torch.allclose(tokens[:1], vision.head(vision(pixel_values=values).last_hidden_state[:, :1]), atol=1e-5)


def test_depth_anything(photos, tmp_path: Path) -> None:
    backbone = transformers.Dinov2Config(hidden_size=24, num_hidden_layers=4, num_attention_heads=2, image_size=56, patch_size=14, out_indices=[1, 2, 3, 4], apply_layernorm=True, reshape_hidden_states=False)
    config = transformers.DepthAnythingConfig(backbone_config=backbone, reassemble_hidden_size=24, neck_hidden_sizes=[8, 8, 8, 8], fusion_hidden_size=8, head_hidden_size=8)
    name = saved(tmp_path / "m", transformers.DepthAnythingForDepthEstimation(config), transformers.DPTImageProcessor(size={"height": 56, "width": 56}))
    said = open_model(name, "depth", CPU).predict(photos)
    assert said.kind == "heat"
    assert float(said.maps[0].min()) >= 0
    assert float(said.maps[0].max()) <= 1


def test_mask2former(photos, tmp_path: Path) -> None:
    backbone = transformers.SwinConfig(embed_dim=12, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, image_size=64, out_features=["stage1", "stage2", "stage3", "stage4"])
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, feature_size=32, mask_feature_size=32, hidden_dim=32, encoder_feedforward_dim=16, encoder_layers=1, decoder_layers=2, dim_feedforward=16,
        num_attention_heads=2, num_queries=5, id2label={0: "wall", 1: "cup"}, label2id={"wall": 0, "cup": 1},
    )
    name = saved(tmp_path / "m", transformers.Mask2FormerForUniversalSegmentation(config), transformers.Mask2FormerImageProcessor(size={"height": 64, "width": 64}))
    segments = open_model(name, "instances", CPU).segment(photos)
    assert segments[0].ndim == 2
    said = open_model(name, "segment", CPU).predict(photos)
    assert said.names == ("wall", "cup")


def test_sam(photos, tmp_path: Path) -> None:
    from recon.understanding.hub import PromptedModel

    config = transformers.SamConfig(
        vision_config={"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "output_channels": 16, "image_size": 64, "patch_size": 8, "mlp_dim": 16, "window_size": 4, "global_attn_indexes": [1], "num_pos_feats": 8},
        prompt_encoder_config={"hidden_size": 16, "image_size": 64, "patch_size": 8, "mask_input_channels": 4},
        mask_decoder_config={"hidden_size": 16, "mlp_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "iou_head_hidden_dim": 16},
    )
    processor = transformers.SamProcessor(transformers.SamImageProcessor(size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}))
    name = saved(tmp_path / "m", transformers.SamModel(config), processor)
    model = open_model(name, "instances", CPU)
    assert isinstance(model, PromptedModel)
    assert model.segment(photos[:1])[0].shape == (48, 80)


def test_folders_without_weights_and_wrong_tasks(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="has no weights"):
        open_model(str(tmp_path / "empty"), "segment", CPU)
    with pytest.raises(InputError, match="no model for 'features'"):
        open_model("nobody/nothing", "features", CPU)
    with pytest.raises(InputError, match="takes no model"):
        open_model("nobody/nothing", "planes", CPU)
