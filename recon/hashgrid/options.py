"""What can be set about the hash-grid engine."""

import dataclasses
from dataclasses import dataclass

from kernels.hashgrid.layout import Hash, HashGridLayout


@dataclass(frozen=True)
class FieldOptions:
    """Size of the field."""

    levels: int = 8
    """Resolutions of the hash grid."""
    features: int = 4
    """Features per entry; 8 x 4 gathers half as often as 16 x 2 and fits twice as well."""
    log2_table_size: int = 18
    """Base-2 logarithm of the entries of a hashed level."""
    base_resolution: int = 16
    """Cells a side of the coarsest level."""
    finest_resolution: int = 0
    """Cells a side of the finest level; 0: half the size of a pixel at the subject."""
    color_log2_table_size: int = 0
    """Base-2 logarithm of the entries of a level of a second, smaller grid (8 x 2) for colour alone, as in Instant-3D; usually two
    less than ``log2_table_size``. 0: colour shares density's grid."""
    hash: Hash = "coherent_prime"
    """How fine levels are scattered over the table (see `kernels.hashgrid.layout`)."""
    width: int = 64
    """Neurons of the hidden layers."""
    geometry_features: int = 15
    """Numbers the density network hands to the colour network, unless colour has a grid of its own."""
    density_bias: float = -2.0
    """Added before the exponential: space starts nearly empty instead of as fog."""
    appearance: bool = False
    """Learn one gain per colour channel and photo, for captures with automatic exposure."""

    @property
    def layout(self) -> HashGridLayout:
        return HashGridLayout(self.levels, self.features, self.log2_table_size, self.base_resolution, self.finest_resolution, self.hash)

    @property
    def color_layout(self) -> HashGridLayout | None:
        """Of colour's own grid: 16 numbers a point, which take the geometry features' place in the colour network."""
        if not self.color_log2_table_size:
            return None
        return HashGridLayout(8, 2, self.color_log2_table_size, self.base_resolution, self.finest_resolution, self.hash)


@dataclass(frozen=True)
class TrainOptions:
    """How long and how a field is trained."""

    steps: int = 3000
    """Optimiser steps."""
    learning_rate: float = 3e-2
    """Of the hash table; falls to a thirtieth at the end."""
    color_every: int = 2
    """Steps between updates of colour's own grid, if it has one."""
    network_learning_rate: float = 5e-3
    """Of the two small networks."""
    distortion_weight: float = 0.0
    """Weight of the distortion loss (Barron et al. 2022), which draws the weights of a ray together. Off, because stereo
    already says where surfaces are. Worth trying without stereo."""
    depth_weight: float = 0.02
    """Weight of the distance to the depth that stereo found, where it found one. Much more makes its errors binding."""
    opacity_weight: float = 1e-3
    """Weight of the entropy of each ray's opacity: rays shall hit or miss."""
    occupancy_side: int = 128
    """Cells a side of the occupancy grid."""
    samples_per_ray: int = 32
    """Most samples a training ray."""
    samples_per_step: int = 65_536
    """Samples a step aims at; the number of rays follows."""
    cone: float = 0.015
    """Growth of the coarse step with distance."""
    preview_every: int = 250
    """Steps between previews."""
    checkpoint_every: int = 500
    """Steps between checkpoints."""
    seed: int = 0


@dataclass(frozen=True)
class HashGridOptions:
    """Everything about the hash-grid engine."""

    field: FieldOptions = dataclasses.field(default_factory=FieldOptions)
    train: TrainOptions = dataclasses.field(default_factory=TrainOptions)
