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
