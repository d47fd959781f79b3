"""A few threads for photo after photo: OpenCV, Pillow, Embree and the larger of NumPy's loops let one another run."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")

WORKERS = 4
"""Each holds a photo's worth of memory."""


def mapped(function: Callable[[A], B], items: Iterable[A], most: int = WORKERS) -> Iterator[B]:
    """``function`` of each item, in order, worked out a few ahead; what it raises is raised when its turn comes.

    Args:
        most: threads at once, for work that takes much memory.
    """
    workers = min(most, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    waiting: deque[Future[B]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # closed early, or something was raised
            for future in waiting:
                future.cancel()
