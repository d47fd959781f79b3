"""Sizes and training of the IBRNet-style victim. Light: the command line reads them before anything heavy is imported."""

from dataclasses import dataclass, field

from data.worlds.options import DegradeOptions
from recon.general.options import ModelOptions


@dataclass(frozen=True)
class DensityOptions:
    """Sizes of the network."""

    token: int = 32
    ray: int = 24
    heads: int = 3
    coarse_samples: int = 48
    fine_samples: int = 32
    encoder: ModelOptions = field(default_factory=ModelOptions)


@dataclass(frozen=True)
class DensityTraining:
    """Options of `lumigraph train density`."""

    minutes: float = 5.0
    worlds: int = 400
    size: tuple[int, int] = (256, 192)
    batch: int = 4
    views: int = 8
    rays: int = 512
    learning_rate: float = 1e-3
    depth: float = 1.0
    """Weight of the depth loss beside that of colour."""
    seed: int = 60
    """Worlds begin at this number times 100 000, as in the general model's training."""
    model: DensityOptions = field(default_factory=DensityOptions)
    flaws: DegradeOptions = field(default_factory=DegradeOptions)
