"""What can be set about edits and about training the editor."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class EditorTraining:
    """Options of `lumigraph train editor`."""

    minutes: float = 8.0
    worlds: int = 1800
    views: int = 2
    """Pictures of each world."""
    edits: int = 4
    """Edits of each picture that are made in the world and photographed anew; those of whole pictures are made while training."""
    side: int = 256
    """Of the square pictures in the bank, pixels."""
    sizes: tuple[tuple[int, int], ...] = ((256, 192), (192, 256))
    """Widths and heights of crops, taken in turn; multiples of 16."""
    batch: int = 128
    learning_rate: float = 1.5e-3
    in_worlds: float = 0.55
    """Share of a batch whose edits were made in the world; the others are made in the picture."""
    small_edits: float = 0.4
    """Edits that touch less than this share of a picture (less a tenth) count for more in the loss, up to four times; 0: all count alike."""
    no_text: float = 0.1
    """Share of pairs without a sentence, for classifier-free guidance."""
    no_depth: float = 0.3
    """Share of pairs without depth, so that a lone photo can be edited too."""
    average: float = 0.999
    """Decay of the running mean of the weights, which is what is kept."""
    seed: int = 81
    """Worlds begin at this number times 100 000."""
    start_from: Literal["nothing", "shipped"] | Path = "nothing"
    """shipped: train on from the weights that come with the program; or a folder with an editor."""


Do = Literal["prompt", "recolor", "remove", "crop", "background"]
Memory = Literal["auto", "none", "slices", "offload", "least"]


@dataclass(frozen=True)
class EditOptions:
    """What is done to a scene. Two edits with the same options, of the same result, on the same machine are the same."""

    do: Do = "prompt"
    """prompt: as the sentence says. Without a model: recolor the region with --color; remove what is in it; crop to it; background: replace
    what is outside of it by --color."""
    model: str = "shipped"
    """shipped: the editor that comes with the program; or an editor in diffusers' format: a folder, or the id of one that is in the local
    Hugging Face cache (InstructPix2Pix of Stable Diffusion and SDXL, FLUX.1 Kontext, Qwen-Image-Edit, depth ControlNet)."""
    region: str = ""
    """Where: a box in the scene's coordinates (x y z x y z, its lower and upper corner); subject or background, where the result has masks;
    what `lumigraph understand` found in the result (select, foreground, instances:NAME, segment:NAME ...);
    a mask of one photo (PNG, white inside, named like the photo), which is carried to the others by depth. Everywhere if not given."""
    color: str = ""
    """Of recolor and background: a name (red) or #rrggbb; of background also a picture file."""
    strength: float = 1.0
    """0: the photos as they are, 1: the whole edit."""
    views: int = 6
    """Key views, which are edited first and together."""
    seed: int = 0
    """Random seed."""
    steps: int | None = None
    """Denoising steps; the editor's own number if not given."""
    guidance: float | None = None
    """How much the sentence counts; the editor's own number if not given."""
    memory: Memory = "auto"
    """Of large editors. none: all on the GPU; slices: attention and autoencoder in pieces; offload: parts wait in main memory; least: both and
    layer by layer, slow; auto: what fits."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""


@dataclass(frozen=True)
class EditTask:
    """One edit of a result."""

    result: Path
    """Folder that `reconstruct` or an earlier edit wrote."""
    out: Path
    """Folder for the edited result."""
    prompt: str = ""
    """What should change, in a sentence."""
    options: EditOptions = EditOptions()
    repeat: Path | None = None
    """An `edit.toml`: its edits are done again, instead of a prompt."""
    undo: bool = False
    """Do all edits of the result again but the last."""
    overwrite: bool = False
    """Replace an earlier result in the output folder."""
