"""What can be set about the general model: its sizes (stored with the weights) and its training."""

from dataclasses import dataclass, field
from pathlib import Path

from data.worlds.options import DegradeOptions


@dataclass(frozen=True)
class ModelOptions:
    """Everything that decides the shapes of the weights, and the defaults of sampling."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    """Channels of the encoder at 1/2, 1/4, 1/8 and 1/16 of the photo's size."""
    features: tuple[int, int, int] = (32, 32, 16)
    """Channels of the feature maps at 1/8, 1/4 and 1/2."""
    groups: tuple[int, int, int] = (8, 8, 4)
    """Correlation groups of the three cost volumes."""
    hypotheses: tuple[int, int, int] = (64, 32, 8)
    """Depth hypotheses of the three cost volumes."""
    zoom: tuple[float, float] = (2.0, 4.0)
    """How much finer the hypotheses' spacing gets from one volume to the next."""
    volume_widths: tuple[int, int, int] = (16, 8, 8)
    """Channels of the three regularisers at full volume resolution."""
    token: int = 32
    """Width of a source view's token in the geometry branch."""
    ray: int = 48
    """Width of a sample's token along the ray."""
    ray_layers: int = 2
    heads: int = 3
    blend: int = 24
    """Width of the blending branch."""
    coarse_samples: int = 48
    """Samples along a ray that ask the depth volumes alone."""
    fine_samples: int = 12
    """Samples around the surface, where the geometry branch runs."""
    reach: float = 0.02
    """Unit of signed distance inside the networks, relative to the distance from the source cameras."""


@dataclass(frozen=True)
class LossOptions:
    """Weights of the terms."""

    color: float = 2.0
    ray_depth: float = 6.0
    """On the expected coordinate of a ray's surface (half of it for the coarse samples)."""
    distance: float = 0.3
    """On signed distances near surfaces, in the networks' unit."""
    volume_class: float = 0.25
    """Cross-entropy of the depth volumes' bins."""
    volume_depth: float = 0.25
    """On the volumes' expected inverse depth, in bins."""


@dataclass(frozen=True)
class TrainOptions:
    """Options of `lumigraph train general`."""

    steps: int = 20_000
    """Length of the schedule."""
    minutes: float | None = None
    """Length in minutes instead of steps, for machines lent by the hour."""
    start_from: Path | None = None
    """Weights to go on from: a safetensors file with its card, or `shipped`."""
    worlds: int = 1500
    """Worlds kept in memory, for each picture size."""
    sizes: tuple[tuple[int, int], ...] = ((256, 192), (192, 256))
    """Width and height of the pictures, one bank each."""
    plain: float = 0.0
    """Share of the worlds with unpainted objects (`data.worlds.generate.make_world`)."""
    world_views: int = 12
    """Photographs of each world."""
    refresh_every: int = 60
    """Steps after which some worlds are replaced by new ones."""
    refresh_worlds: int = 48
    """How many are replaced."""
    batch: int = 6
    """Worlds a step and process."""
    enlargements: tuple[int, ...] = (1,)
    """The steps take turns with these factors by which photos are enlarged before the model looks, as the engine enlarges small
    ones (the shipped weights: at last 1, 2, 3, 4); a step at factor f sees a batch divided by f, and f times the rays of each target."""
    views: int = 8
    """Source views of each target; 3 to this many are used."""
    neighbours: int = 4
    """Views each source view is compared with to find its depth."""
    rays: int = 768
    """Rays of each target."""
    frozen: tuple[str, ...] = ()
    """Parts of the model that stay as they are, by name: `encoder`, `cascade`, `coarse`, `geometry`, `blending`."""
    learning_rate: float = 1e-3
    warm_up: float = 0.03
    """Share of the schedule."""
    weight_decay: float = 1e-2
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the exponential moving average, which is what gets saved."""
    seed: int = 0
    log_every: int = 50
    """Steps between rows of the table; likewise the next two."""
    validate_every: int = 2000
    checkpoint_every: int = 1000
    validation_worlds: int = 24
    """Held-out worlds that are scored."""
    real_scenes: Path | None = None
    """Folder of posed photo sets to score as well: undistorted, in the size wanted. They are only looked at, never learned from."""
    compile: bool = False
    """Let PyTorch compile the parts that pay (takes two minutes)."""
    model: ModelOptions = field(default_factory=ModelOptions)
    loss: LossOptions = field(default_factory=LossOptions)
    flaws: DegradeOptions = field(default_factory=DegradeOptions)
