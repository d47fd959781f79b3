"""What can be set about understanding scenes and about training the network for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class UnderstandingTraining:
    """Options of `lumigraph train understanding`."""

    minutes: float = 8.0
    worlds: int = 2400
    views: int = 4
    """Pictures of each world."""
    bank: tuple[int, int] = (320, 240)
    """Width and height of the pictures in the bank."""
    sizes: tuple[tuple[int, int], ...] = ((320, 256), (256, 320))
    """Widths and heights of crops, taken in turn; multiples of 32."""
    zoom: tuple[float, float] = (0.45, 1.0)
    """Range of the side of a crop relative to the picture's."""
    batch: int = 40
    """Worlds of a step, two pictures each."""
    samples: int = 256
    """Pixels of each picture whose features are compared."""
    learning_rate: float = 2e-3
    average: float = 0.999
    """Decay of the running mean of the weights, which is what is kept."""
    plain: float = 0.3
    """Share of the worlds with unpainted objects."""
    seed: int = 90
    """Worlds begin at this number times 100 000."""
    start_from: Literal["nothing", "shipped"] | Path = "nothing"
    """shipped: train on from the weights that come with the program; or a safetensors file with its card."""
    labels: Path | None = None
    """Light tuning instead: a folder of labelled photos (images/NAME.jpg, labels/NAME.png, names.json). The network stays as it is; what is written is
    an adapter for `lumigraph understand --adapter`."""
    steps: int | None = None
    """Length of an adapter's training in steps instead of minutes: the same on every machine."""
    rank: int = 4
    """Of the adapter's matrices."""


What = Literal["instances", "segment", "materials", "planes", "edges", "normals", "depth", "keypoints", "features", "foreground", "select"]


@dataclass(frozen=True)
class UnderstandOptions:
    """What is asked about a scene."""

    task: What = "instances"
    """instances: things, one number each in all photos; segment: named classes; materials; planes: flat surfaces; edges; normals; depth; keypoints;
    features: how alike things look, or with --text where something is; foreground: the subject; select: what was clicked on."""
    model: str = "shipped"
    """shipped: the network that comes with the program; classical: without a network (instances by colour, edges, keypoints); or a model of
    `transformers`: a folder, or the id of one that is in the local Hugging Face cache (SegFormer, Mask2Former, SAM, CLIP, SigLIP, DINO, Depth Anything)."""
    clicks: tuple[str, ...] = ()
    """Of select: 'PHOTO X Y' in pixels of the photo, or 'X Y Z' for a point of the scene; '- PHOTO X Y' or '- X Y Z' on what does not belong to it."""
    text: str = ""
    """Of features: what to look for; needs a model that knows text (CLIP, SigLIP)."""
    adapter: Path | None = None
    """Light tuning of the shipped network: what `lumigraph train understanding --labels` wrote."""
    side: int = 640
    """Longest side of the photos that are looked at, pixels."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """auto: CUDA if there is a GPU, else the CPU."""


@dataclass(frozen=True)
class UnderstandTask:
    """One question about a result."""

    result: Path
    """Folder that `reconstruct` or `edit` wrote."""
    out: Path | None = None
    """Folder for the answer; RESULT/understanding/TASK if not given. An earlier answer there is replaced."""
    options: UnderstandOptions = UnderstandOptions()
