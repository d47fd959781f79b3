"""Where each level of a multi-resolution hash grid lives in its table."""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PRIMES = (1, 2654435761, 805459861)
"""Hash multipliers of instant-ngp (Müller et al. 2022, eq. 4); the first is 1 for cache coherence."""
Hash = Literal["coherent_prime", "morton", "block_morton"]
HASHES: tuple[Hash, ...] = ("coherent_prime", "morton", "block_morton")
"""coherent_prime: Instant-NGP's; morton: Instant-NeRF's, the low bits of the Morton code, which repeats itself every
``T^(1/3)`` cells; block_morton: Morton inside blocks of 8^3 vertices, blocks scattered by primes, so that it does not."""
ALIGNMENT = 8
"""Every level begins at a multiple of this, so that pairs of entries can be read at once."""


@dataclass(frozen=True)
class HashGridLayout:
    """Sizes of a multi-resolution hash grid over the unit cube.

    Level ``l`` has ``resolutions[l]`` cells a side. A level whose ``(resolution + 1)^3`` vertices fit in
    ``2^log2_table_size`` entries is stored densely; a finer one is hashed.
    """

    levels: int = 16
    """Number of resolutions."""
    features: int = 2
    """Features per table entry."""
    log2_table_size: int = 19
    """Base-2 logarithm of the entries of a hashed level."""
    base_resolution: int = 16
    """Cells a side of the coarsest level."""
    finest_resolution: int = 2048
    """Cells a side of the finest level."""
    hash: Hash = "coherent_prime"
    """How the vertices of a level that is not dense are scattered over its entries."""

    def __post_init__(self) -> None:
        if self.levels < 1 or self.features < 1:
            raise ValueError(f"A hash grid needs at least one level and one feature, not {self.levels} x {self.features}.")
        if self.hash not in HASHES:
            raise ValueError(f"hash must be one of {', '.join(HASHES)}, not '{self.hash}'.")
        if not 1 <= self.log2_table_size <= 28:
            raise ValueError(f"log2_table_size must be 1 to 28, not {self.log2_table_size}.")
        if not 1 <= self.base_resolution <= self.finest_resolution:
            raise ValueError(
                f"Resolutions must rise: base_resolution {self.base_resolution}, finest_resolution {self.finest_resolution}."
            )

    @cached_property
    def resolutions(self) -> np.ndarray:
        """Cells a side of each level, ``[levels]`` int64, in geometric progression."""
        growth = (self.finest_resolution / self.base_resolution) ** (1 / max(self.levels - 1, 1))
        return np.floor(self.base_resolution * growth ** np.arange(self.levels) + 1e-6).astype(np.int64)

    @cached_property
    def dense(self) -> np.ndarray:
        """Whether a level is stored without hashing, ``[levels]`` bool."""
        return (self.resolutions + 1) ** 3 <= (1 << self.log2_table_size)

    @cached_property
    def offsets(self) -> np.ndarray:
        """First table entry of each level and, last, the number of entries, ``[levels + 1]`` int64."""
        aligned = (self.sizes + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT
        return np.concatenate([[0], np.cumsum(aligned)]).astype(np.int64)

    @cached_property
    def sizes(self) -> np.ndarray:
        """Entries of each level that are used, ``[levels]`` int64."""
        return np.where(self.dense, (self.resolutions + 1) ** 3, 1 << self.log2_table_size).astype(np.int64)

    def aligned(self, table: "Tensor") -> "Tensor":
        """A table of this layout, also from one that was written before levels were aligned."""
        if len(table) != int(self.sizes.sum()) or len(table) == self.entries:
            return table
        out = table.new_zeros(self.entries, table.shape[1])
        for level, part in enumerate(table.split(self.sizes.tolist())):
            out[self.offsets[level] : self.offsets[level] + len(part)] = part
        return out

    @property
    def entries(self) -> int:
        """Rows of the table, which is ``[entries, features]``."""
        return int(self.offsets[-1])

    @property
    def mask(self) -> int:
        """What a hash is reduced by: the entries of a hashed level, less one."""
        return (1 << self.log2_table_size) - 1

    @property
    def output_features(self) -> int:
        """Width of an encoded point: ``levels * features``, level-major."""
        return self.levels * self.features
