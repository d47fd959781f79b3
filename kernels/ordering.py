"""Orders of points that keep neighbours in space neighbours in memory: Morton codes, and sorting by them."""

from jaxtyping import Float, Int
from torch import Tensor

_SPREAD = ((16, 0x030000FF), (8, 0x0300F00F), (4, 0x030C30C3), (2, 0x09249249))


def morton(cells: Int[Tensor, "*n 3"]) -> Int[Tensor, "*n"]:
    """The bits of three coordinates interleaved, x lowest (Morton 1966). Coordinates count modulo 1024.

    Example: ``(1, 0, 0)`` is 1, ``(0, 1, 0)`` 2, ``(0, 0, 1)`` 4, ``(2, 0, 0)`` 8.
    """
    spread = cells.long() & 0x3FF
    for shift, mask in _SPREAD:
        spread = (spread | (spread << shift)) & mask
    return spread[..., 0] | (spread[..., 1] << 1) | (spread[..., 2] << 2)


def morton_order(points: Float[Tensor, "n 3"], bits: int = 10) -> Int[Tensor, "n"]:
    """Indices that sort points of the unit cube along the Morton curve of a grid of ``2^bits`` cells a side.

    ``points[order]`` visits them cell by cell; ``order.argsort()`` undoes it.
    """
    if not 1 <= bits <= 10:
        raise ValueError(f"bits must be 1 to 10, not {bits}: three coordinates share 32 bits.")
    # 30 bits: keys of 32 are half as much to sort as torch's integers of 64
    return morton((points.clamp(0, 1) * (1 << bits)).long().clamp(max=(1 << bits) - 1)).int().argsort()


def ray_first(ray_indices: Int[Tensor, "n"], positions: Float[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Indices that put samples ray after ray, near to far: Instant-NeRF's order, in which neighbours often share a cell."""
    nearest_first = positions.argsort()
    return nearest_first[ray_indices[nearest_first].argsort(stable=True)]
