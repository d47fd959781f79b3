"""How the encoding is walked and how gradients are merged: what a `Schedule` says, and the cost model that chooses one."""

from dataclasses import dataclass, replace
from typing import Literal

from kernels.hashgrid.layout import HashGridLayout

Merge = Literal["none", "warp", "private"]
Order = Literal["given", "morton"]
Walking = Literal["level-major", "point-major"]


@dataclass(frozen=True)
class Schedule:
    """Decisions that change the speed of an encoding, never its values (but for the rounding of sums)."""

    order: Order = "given"
    """given: as they come, ray after ray in training; morton: sorted along the Morton curve first."""
    forward_levels: int = 4
    """Levels a thread walks before the next one's turn: 1 is level-major, all of them point-major."""
    backward_walking: Walking = "point-major"
    """level-major: one level of all points after the other; point-major: neighbouring blocks take different levels, which
    spreads the writes to the few entries of the coarse levels over time."""
    merges: tuple[Merge, ...] = ()
    """Per level, how gradients that meet in an entry are added up. none: one write for each; warp: neighbours in one cell add
    up in registers first; private: each multiprocessor keeps a copy of the level in its shared memory. Empty: warp."""
    pairs: bool = True
    """Corners that lie side by side in the table are read and written at once."""
    block: int = 256
    """Threads of a block, on a GPU."""
    tile: int = 8192
    """Points whose output a core keeps in its cache while it walks the levels, on a CPU."""
    pieces: int = 1
    """Parts of a level's gradient that the cores own, each small enough for a cache, on a CPU."""

    @classmethod
    def auto(cls, layout: HashGridLayout, points: int, table_bytes: int = 2) -> "Schedule":
        return cls(forward_levels=16, backward_walking="level-major", block=128)

    def merge(self, level: int) -> Merge:
        """How gradients of a level are merged."""
        return self.merges[level] if self.merges else "warp"
