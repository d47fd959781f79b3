"""The threat model: what an attacker may change, by how much, and what it knows. Frozen, checked, stored with every result."""

import math
from dataclasses import dataclass
from typing import Literal

from data.errors import InputError

Norm = Literal["linf", "l2"]
Paths = Literal["both", "feature_only"]
Knowledge = Literal["truth", "render"]


@dataclass(frozen=True)
class ThreatModel:
    """Who is defended against. Photos are sRGB from 0 to 1; changed photos stay inside."""

    norm: Norm = "linf"
    eps: float = 8 / 255
    """linf: how much any value may change. l2: how much the values of a photo may change in root mean square, so that the change of a
    photo of n values lies in the Euclidean ball of radius ``eps * sqrt(n)``. At equal ``eps`` the l2 ball holds the linf ball."""
    views: int | None = None
    """How many of the source views are changed, those nearest to the attacked view first; all if not given."""
    paths: Paths = "both"
    """both: the changed photo is all that the victim gets. feature_only: it sees features of the changed photo, but blends the clean
    one's colours; no attacker can do that, but the released code of NeRFool measures it."""
    knowledge: Knowledge = "truth"
    """truth: the attacker knows the photos at the poses that it attacks; render: only what the victim makes of the clean photos."""
    knows_poses: bool = True
    """Whether the poses that will be rendered are known; otherwise the attack must do with other ones."""
    targeted: bool = False
    """Whether a picture of the attacker's choice must appear, not just any other."""
    steps: int = 100
    """Gradients (or, for a black box, renderings) that may be asked for in one start."""
    restarts: int = 1
    """Starts; the best is kept."""
    rounded: bool = True
    """Whether the changed photos are files of 8 bits a value, as anybody would get them. The changes stay inside the ball."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.eps) and 0 <= self.eps <= 1):
            raise InputError(f"epsilon is {self.eps:g}, but photos range from 0 to 1, so it must lie between 0 and 1. For 8 steps of 255 give 8/255.")
        if self.norm not in ("linf", "l2"):
            raise InputError(f"There is no norm '{self.norm}'. Choose linf or l2.")
        if self.paths not in ("both", "feature_only"):
            raise InputError(f"There are no paths '{self.paths}'. Choose both or feature_only.")
        if self.steps < 1:
            raise InputError(f"An attack of {self.steps} steps does nothing. Give 1 step or more; for an unattacked figure take epsilon 0.")
        if self.restarts < 1:
            raise InputError(f"{self.restarts} restarts leave nothing to do. Give 1 or more.")
        if self.views is not None and self.views < 1:
            raise InputError(f"An attack on {self.views} views changes nothing. Give 1 view or more.")
