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
