"""The one event that long work yields."""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

Event = TypeVar("Event")
Told = TypeVar("Told")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a stage has come. Generators of long work yield these and may be closed at any of them."""

    stage: str
    fraction: float
    """0 to 1 within the stage."""
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Figures worth plotting, such as `psnr`; JSON-able."""


def drained(work: Generator[Any, None, Result]) -> Result:
    """The value of a generator, its events unheard."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def told(work: Generator[Event, None, Result], tell: Callable[[Event], Told]) -> Generator[Told, None, Result]:
    """The same work with other words for its events."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        yield tell(event)
