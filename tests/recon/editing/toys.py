"""Large editors' pipelines at toy size, randomly initialised, saved in diffusers' format: the same classes, the same code, nothing learned."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers as d
import torch
import transformers as t

LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *(c + "</w>" for c in "abcdefghijklmnopqrstuvwxyz"), "<|startoftext|>", "<|endoftext|>"]


def clip_tokenizer(folder: Path) -> t.CLIPTokenizer:
    """One that knows letters."""
    words = folder / "clip_words"
    words.mkdir(parents=True, exist_ok=True)
    (words / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(LETTERS)}))
    (words / "merges.txt").write_text("#version: 0.2\n")
    return t.CLIPTokenizer(str(words / "vocab.json"), str(words / "merges.txt"), model_max_length=77)


def _clip_text(kind: Any = t.CLIPTextModel, **more: Any) -> Any:
    return kind(t.CLIPTextConfig(
        vocab_size=len(LETTERS), hidden_size=32, intermediate_size=37, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=77, projection_dim=32,
        bos_token_id=52, eos_token_id=53, pad_token_id=53, **more,
    ))  # fmt: skip


def _unet(channels: int, width: int, **more: Any) -> d.UNet2DConditionModel:
    return d.UNet2DConditionModel(
        block_out_channels=(32, 64), layers_per_block=1, sample_size=32, in_channels=channels, out_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=width, **more,
    )  # fmt: skip


def _vae(latents: int = 4, **more: Any) -> d.AutoencoderKL:
    return d.AutoencoderKL(
        block_out_channels=(32, 64), in_channels=3, out_channels=3, down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=latents, **more,
    )  # fmt: skip


_UNSAFE = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def pix2pix(folder: Path) -> Any:
    """InstructPix2Pix of Stable Diffusion."""
    return d.StableDiffusionInstructPix2PixPipeline(
        vae=_vae(), text_encoder=_clip_text(), tokenizer=clip_tokenizer(folder), unet=_unet(8, 32), scheduler=d.DDIMScheduler(), **_UNSAFE
    )


def pix2pix_xl(folder: Path) -> Any:
    """InstructPix2Pix of SDXL."""
    unet = _unet(
        8, 64, addition_embed_type="text_time", addition_time_embed_dim=8, transformer_layers_per_block=(1, 2), projection_class_embeddings_input_dim=80, attention_head_dim=(2, 4),
        use_linear_projection=True,
    )  # fmt: skip
    return d.StableDiffusionXLInstructPix2PixPipeline(
        vae=_vae(), text_encoder=_clip_text(hidden_act="gelu"), text_encoder_2=_clip_text(t.CLIPTextModelWithProjection, hidden_act="gelu"),
        tokenizer=clip_tokenizer(folder), tokenizer_2=clip_tokenizer(folder), unet=unet, scheduler=d.DDIMScheduler(),
    )  # fmt: skip


def controlnet(folder: Path) -> Any:
    """Image to image of Stable Diffusion, held by a ControlNet."""
    control = d.ControlNetModel(
        block_out_channels=(32, 64), layers_per_block=1, in_channels=4, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), cross_attention_dim=32,
        conditioning_embedding_out_channels=(16, 32),
    )  # fmt: skip
    return d.StableDiffusionControlNetImg2ImgPipeline(
        vae=_vae(), text_encoder=_clip_text(), tokenizer=clip_tokenizer(folder), unet=_unet(4, 32), controlnet=control, scheduler=d.DDIMScheduler(), **_UNSAFE
    )


def kontext(folder: Path) -> Any:
    """FLUX.1 Kontext."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = Tokenizer(models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "make": 3, "it": 4, "night": 5}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer_2 = t.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=32)
    text_2 = t.T5EncoderModel(t.T5Config(vocab_size=6, d_model=32, d_kv=8, d_ff=37, num_layers=2, num_heads=4, dense_act_fn="gelu"))
    transformer = d.FluxTransformer2DModel(
        patch_size=1, in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2, joint_attention_dim=32, pooled_projection_dim=32,
        axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    return d.FluxKontextPipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(), vae=_vae(1, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.0609, scaling_factor=1.5035),
        text_encoder=_clip_text(hidden_act="gelu"), tokenizer=clip_tokenizer(folder), text_encoder_2=text_2, tokenizer_2=tokenizer_2, transformer=transformer,
    )  # fmt: skip


def clip(folder: Path) -> Path:
    """A CLIP that has learned nothing."""
    text = {"vocab_size": len(LETTERS), "hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4, "bos_token_id": 52, "eos_token_id": 53, "pad_token_id": 53}
    vision = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    t.CLIPModel(t.CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder / "clip")
    side = {"height": 32, "width": 32}
    t.CLIPProcessor(t.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=side), clip_tokenizer(folder)).save_pretrained(folder / "clip")
    return folder / "clip"


KINDS: dict[str, Callable[[Path], Any]] = {"pix2pix": pix2pix, "pix2pix_xl": pix2pix_xl, "controlnet": controlnet, "kontext": kontext}


def saved(kind: str, folder: Path) -> Path:
    """The folder of a toy, as one would download it."""
    torch.manual_seed(0)
    KINDS[kind](folder).save_pretrained(folder / kind)
    return folder / kind
