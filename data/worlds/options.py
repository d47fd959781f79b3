"""What can be set about worlds and their photographs."""

from dataclasses import dataclass


@dataclass(frozen=True)
class DegradeOptions:
    """How strong each flaw may be, and how often it occurs."""

    exposure: float = 0.03
    """Standard deviation of each view's gain, relative."""
    white_balance: float = 0.015
    noise: float = 0.02
    """Largest standard deviation of the sensor's noise, of full scale."""
    blur: float = 0.8
    """Largest standard deviation of the lens blur, pixels."""
    vignetting: float = 0.25
    """Largest loss of light in the corners."""
    jpeg: float = 0.25
    """Share of worlds whose pictures went through coarse quantisation in 8 x 8 blocks."""
    pose_rotation: float = 0.0006
    """Standard deviation of pose errors, radians."""
    pose_translation: float = 0.0006
    """The same, relative to the distance of the scene."""
