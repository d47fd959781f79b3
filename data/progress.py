"""The one event that long work yields."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a stage has come. Generators of long work yield these and may be closed at any of them."""

    stage: str
    fraction: float
    """0 to 1 within the stage."""
    message: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Figures worth plotting, such as `psnr`; JSON-able."""
