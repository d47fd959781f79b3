"""A thread a core, for PyTorch's operations on pieces that each core takes through several of them."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


@lru_cache(maxsize=1)
def _pool() -> tuple[ThreadPoolExecutor, int]:
    """A thread a core, each of which multiplies alone: no operation waits for another core's part of it."""
    threads = torch.get_num_threads()
    return ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)), threads


def each_on_a_core(parts: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """``work`` on part after part, the cores taking them in turn; results in the parts' order."""
    pool, threads = _pool()
    shares = [pool.submit(lambda mine=parts[t::threads]: [work(part) for part in mine]) for t in range(threads)]  # type: ignore[misc]
    done = [share.result() for share in shares]
    return [done[i % threads][i // threads] for i in range(len(parts))]
