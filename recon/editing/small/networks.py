"""The parts of the shipped editor, as `diffusers` and `transformers` build them, and how it is loaded."""

import json
from pathlib import Path
from typing import Any

import torch

import data
from data.errors import InputError
from data.worlds.edits.words import vocabulary
from recon.editing.small.pipeline import BLOCK, TOKENS, SmallEditPipeline

SHIPPED = Path(data.__file__).parent / "weights" / "editor"
VERSION = 1
MARKS = ("<pad>", "<begin>", "<end>", "<unknown>")


def build() -> SmallEditPipeline:
    """The editor with random weights."""
    from diffusers import DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    words = (*MARKS, *vocabulary())
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(words), hidden_size=96, intermediate_size=384, projection_dim=96, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=TOKENS, pad_token_id=0, bos_token_id=1, eos_token_id=2,
    ))  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=64, in_channels=7 * BLOCK**2, out_channels=3 * BLOCK**2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type=None, up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), block_out_channels=(64, 96, 72), layers_per_block=1,
        cross_attention_dim=96, attention_head_dim=3, norm_num_groups=8,  # of the heads it means the number, whatever its name
        # The sentence as a whole also steers every layer, the finest too: which colours to change is asked of each pixel.
        addition_embed_type="text", addition_embed_type_num_heads=4, resnet_time_scale_shift="scale_shift",
    )  # fmt: skip
    torch.nn.init.zeros_(unet.conv_out.weight)  # it begins by leaving photos alone
    torch.nn.init.zeros_(unet.conv_out.bias)
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="sample", rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True,
    )  # fmt: skip
    return SmallEditPipeline(unet, text, _tokenizer(words), scheduler)


def _tokenizer(words: tuple[str, ...]) -> Any:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=MARKS[3]))
    inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex("[^a-z]+"), " "), normalizers.Strip()])
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    inner.post_processor = processors.TemplateProcessing(single="<begin> $A <end>", special_tokens=[("<begin>", 1), ("<end>", 2)])
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=MARKS[0], bos_token=MARKS[1], eos_token=MARKS[2], unk_token=MARKS[3], model_max_length=TOKENS, padding_side="right",
    )  # fmt: skip


def save(pipeline: SmallEditPipeline, folder: Path, card: dict[str, Any]) -> None:
    """Write half-precision weights and the model card; an editor that is there is replaced only when all is written."""
    import shutil

    from data.files import write_json

    partial = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.save_pretrained(partial, safe_serialization=True)
    for path in partial.rglob("*.json"):  # where the weights that it began from lay is nobody's business
        content = json.loads(path.read_text())
        if content.pop("_name_or_path", None) is not None:
            write_json(path, content)
    write_json(partial / "card.json", {"format": "lumigraph editor", "version": VERSION, **card})
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def trainings(folder: Path) -> list[dict[str, Any]]:
    """All trainings that an editor has had, the first one first."""
    card = json.loads((folder / "card.json").read_text())
    return [*card.get("earlier", []), {name: card[name] for name in ("steps", "minutes", "seed", "device") if name in card}]


def load(folder: Path | None = None, device: torch.device | str = "cpu") -> SmallEditPipeline:
    """The shipped editor, or one of the same kind from a folder; single precision.

    Raises:
        InputError: files are missing or damaged, or belong to another kind of editor.
    """
    folder = folder or SHIPPED
    try:
        card = json.loads((folder / "card.json").read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"'{folder}' holds no editor of this program ({error}). Give a folder that `lumigraph train editor` wrote.") from None
    if card.get("format") != "lumigraph editor" or card.get("version") != VERSION:
        raise InputError(f"'{folder}' holds version {card.get('version')} of '{card.get('format')}', not version {VERSION} of 'lumigraph editor'. Train it again, or take the program that belongs to it.")
    try:
        pipeline = SmallEditPipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except Exception as error:  # diffusers, transformers, safetensors and tokenizers each have their own
        raise InputError(f"The editor in '{folder}' cannot be read ({str(error).splitlines()[0]}). Take an intact copy.") from None
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device, torch.float32)  # type: ignore[no-any-return]
