"""Work that calls back, as a generator: a thread runs it, and what it tells comes out; closing the generator ends it at its next word."""

import queue
import threading
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from data.errors import Cancelled
from data.progress import Progress

T = TypeVar("T")


def relayed(work: Callable[[Callable[[Progress], None]], T]) -> Generator[Progress, None, T]:
    """Run ``work(tell)`` beside the caller; what it tells is yielded, what it returns is the value, what it raises is raised here.

    If the generator is closed, the next ``tell`` raises `Cancelled` in the work, and the generator ends when the work has.
    """
    told: queue.Queue[tuple[str, Any]] = queue.Queue()
    stopped = threading.Event()

    def tell(progress: Progress) -> None:
        if stopped.is_set():
            raise Cancelled("cancelled")
        told.put(("progress", progress))

    def run() -> None:
        try:
            told.put(("value", work(tell)))
        except BaseException as error:  # it belongs to whoever asked
            told.put(("error", error))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while True:
            kind, content = told.get()
            if kind == "progress":
                yield content
            elif kind == "value":
                return content  # type: ignore[no-any-return]
            else:
                raise content
    finally:
        stopped.set()
        thread.join()
