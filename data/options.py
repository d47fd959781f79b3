"""What can be set about reading scenes; import-light, because the command line shows it."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class PoseOptions:
    """How structure from motion is run."""

    matching: Literal["auto", "exhaustive", "sequential"] = "auto"
    """Compare all pairs, or neighbours in time; auto: neighbours for videos and beyond 150 photos."""
    features: int = 4096
    """Most SIFT features a photo."""
    max_side: int = 1600
    """Photos are shrunk to this many pixels for feature detection."""
    memory_mb: int | None = None
    """Memory limit of the child process; four fifths of the machine's memory if not given, 0: none."""
    timeout: float = 3600.0
    """Seconds after which it is given up."""
