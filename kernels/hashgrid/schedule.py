"""How the encoding is walked and how gradients are merged: what a `Schedule` says, and the cost model that chooses one."""

from dataclasses import dataclass
from typing import Literal

from kernels.hashgrid.layout import HashGridLayout
from kernels.machine import Machine

Merge = Literal["none", "warp", "private", "sort"]
Order = Literal["given", "morton"]
Arrival = Literal["rays", "random"]
Walking = Literal["level-major", "point-major"]


@dataclass(frozen=True)
class Schedule:
    """Decisions that change the speed of an encoding, never its values (but for the rounding of sums)."""

    order: Order = "given"
    """In which points are taken. given: as they come, ray after ray in training; morton: sorted along the Morton curve first."""
    forward_levels: int = 16
    """Levels a GPU thread walks before the next group's turn: 1 is level-major, all of them point-major."""
    backward_walking: Walking = "point-major"
    """On a GPU. level-major: one level of all points after the other; point-major: neighbouring blocks take different levels,
    which spreads the writes to the few entries of the coarse levels over time, but wants all levels in the cache."""
    merges: tuple[Merge, ...] = ()
    """Per level, how gradients that meet in an entry are added up on a GPU. none: one write for each; warp: neighbours in one
    cell add up in registers first; private: each multiprocessor keeps a copy of the level in its shared memory; sort: points are
    sorted by cell first, so that all of a cell's are neighbours. Empty: warp."""
    pairs: bool = True
    """Corners that lie side by side in the table are read and written at once, on a GPU."""
    block: int = 128
    """Threads of a block, on a GPU."""
    tile: int = 8192
    """Points whose output a core keeps in its cache while it walks the levels, on a CPU."""
    pieces: int = 1
    """Parts of a level's gradient that different cores own, on a CPU."""

    @classmethod
    def auto(
        cls, layout: HashGridLayout, machine: Machine, table_bytes: int = 4, gradient_bytes: int = 4, arrival: Arrival = "rays"
    ) -> "Schedule":
        """The cheapest by `cost`, of `candidates`.

        Args:
            table_bytes: of a number in the table; likewise ``gradient_bytes`` in its gradient.
            arrival: how points come: along rays (or otherwise so that neighbours in the array are neighbours in space), or at random.
        """
        best, least = cls(), float("inf")
        options = candidates(layout, machine, arrival)
        for order in sorted({s.order for s in options}):
            ordered = [(s, *cost(s, layout, machine, table_bytes, gradient_bytes, arrival)) for s in options if s.order == order]
            forward, backward = min(ordered, key=lambda row: row[1]), min(ordered, key=lambda row: row[2])
            if (both := forward[1] + _BACKWARD * backward[2]) < least:
                least, fore, back = both, forward[0], backward[0]
                best = cls(order, fore.forward_levels, back.backward_walking, back.merges, tile=fore.tile, pieces=back.pieces)
        return best

    def merge(self, level: int) -> Merge:
        """How gradients of a level are merged."""
        return self.merges[level] if self.merges else "warp"


_BACKWARD = 2.6
"""The unit of `cost`'s backward in its forward's, on a GPU."""


def candidates(layout: HashGridLayout, machine: Machine, arrival: Arrival = "rays") -> list[Schedule]:
    """The schedules that are worth comparing on a machine."""
    if machine.kind == "cpu":  # sorting takes a good part of the encoding's time, and saves next to none of it
        return [Schedule(tile=tile, pieces=pieces) for tile in (1024, 8192, 65_536) for pieces in (1, 2)]
    together = sorted({g for g in (1, 4, layout.levels) if layout.levels % g == 0})
    fitting: list[Merge] = ["private" if _fits(layout, level, machine) else "warp" for level in range(layout.levels)]
    small, alone = tuple(fitting), list[Merge](["none"])
    none = tuple(alone * layout.levels)
    fine: list[Merge] = ["warp" if layout.dense[level] else "sort" for level in range(layout.levels)]
    merges = [(), none, *([small] if "private" in small else []), *([tuple(fine)] if "sort" in fine else [])]
    orders: tuple[Order, ...] = ("given",) if arrival == "rays" else ("given", "morton")
    walkings: tuple[Walking, ...] = ("level-major", "point-major")
    return [Schedule(o, g, w, m) for o in orders for g in together for w in walkings for m in merges]


def cost(
    schedule: Schedule, layout: HashGridLayout, machine: Machine, table_bytes: int = 4, gradient_bytes: int = 4, arrival: Arrival = "rays"
) -> tuple[float, float]:
    """Cost of forward (with sorting, if points are sorted) and backward, in units that only compare schedules on one machine.

    What counts is what does not fit a cache. A walk's working set is the whole table where all levels are walked together, and
    one level where they are not; the share of it beyond half of the cache is missed, and costs more by the hash that scatters a cell's
    corners over four lines of it than by those that keep them together. Points at random share neither lines nor cells with their
    neighbours. Constants are fits to one H100 and to one two-core server CPU (benchmarks/RESULTS.md has the measurements).
    """
    sizes = [int(n) * layout.features for n in layout.offsets[1:] - layout.offsets[:-1]]
    if machine.kind == "cpu":
        output = schedule.tile * layout.output_features * 4
        beyond = max(output / machine.private_cache - 0.5, 0)  # the tile's output leaves the cache between two levels
        short = 8192 / min(schedule.tile, 8192) - 1  # each tile brings the levels into the cache anew
        rounds = -(-layout.levels * schedule.pieces // machine.cores)  # of tasks, each of which walks all points
        return 1 + 0.2 * min(beyond, 2) + 0.05 * short, rounds * (1 if schedule.pieces == 1 else 2.2)
    sorts, scattered = schedule.order == "morton", schedule.order == "given" and arrival == "random"
    together = min(schedule.forward_levels, layout.levels)
    group = max(sum(sizes[level : level + together]) for level in range(0, layout.levels, together)) * table_bytes
    # Output is written in sectors of 32 bytes, and the points are read once for every group.
    traffic = 1 + 0.8 * max(1 - together * layout.features * table_bytes / 32, 0) + 0.05 * layout.levels / together
    forward = traffic * (1 + (1.9 if layout.hash == "coherent_prime" else 0.8) * _missed(group, machine))
    if scattered:
        forward += 0.3 + 0.75 * together / layout.levels + 0.8 * _missed(group, machine)
    elif sorts:
        forward += 28 / layout.levels  # as long as about so many levels' forward, whatever there is to encode
    walked = sum(sizes) if schedule.backward_walking == "point-major" else max(sizes)
    contended = 1.0 if schedule.backward_walking == "point-major" else 1.17
    # Sorted points share cells again, but they and their gradients are then gathered from all over the arrays.
    backward = contended * (1 + 1.5 * _missed(walked * gradient_bytes, machine)) * (1.65 if scattered else 1.7 if sorts else 1)
    # Along rays a warp's points share cells on the coarse levels; copies in shared memory cost a pass of their own, and save what
    # random points do not share.
    # Sorting level by level reads and writes every key several times, and then the points and gradients in an order that no longer streams.
    unmerged, private, sorted_ = (sum(schedule.merge(level) == kind for level in range(layout.levels)) for kind in ("none", "private", "sort"))
    return forward, backward * (1 + 0.6 * unmerged / layout.levels) + (-0.02 if scattered else 0.08) * private + 0.6 * sorted_


def _missed(working_set: int, machine: Machine) -> float:
    """Share of accesses to a working set that go to memory."""
    return max(1 - 0.5 * machine.shared_cache / max(working_set, 1), 0.0)


def _fits(layout: HashGridLayout, level: int, machine: Machine) -> bool:
    """Whether a level's gradient fits one multiprocessor's shared memory twice."""
    return bool(layout.dense[level]) and (int(layout.resolutions[level]) + 1) ** 3 * layout.features * 4 * 2 <= machine.private_cache
