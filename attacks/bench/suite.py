"""What a run of the bench covers. Light: the command line reads it before anything heavy is imported."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from data.errors import InputError

Setting = Literal["view", "universal"]
"""view: each target view is attacked by itself, with the source photos nearest to it. universal: one change for all targets, whose source
photos are the same."""


@dataclass(frozen=True)
class SuiteOptions:
    """Everything that decides the figures; stored with them."""

    method: tuple[str, ...] = ("pgd",)
    """Attacks: fgsm, pgd, apgd, nerfool, nerfool-universal, nerfool+, depth, targeted, patch, pose, square. The controls uniform, gaussian and
    random-sign are always run as well."""
    defence: tuple[str, ...] = ("none",)
    """none, more-views, blur, median, bits, jpeg, trimmed, depth-filter, robust-weights, smoothing. The attacker knows the defence."""
    victim: tuple[str, ...] = ("general",)
    """general, density (an IBRNet-like model), hashgrid (trained on the changed photos; white-box attacks are made for general and carried
    over), or a path of weights of the general model."""
    eps: tuple[float, ...] = (0.0, 2.0, 4.0, 8.0, 16.0)
    """Budgets in steps of 255."""
    seeds: int = 3
    """Seeds, from 0."""
    norm: Literal["linf", "l2"] = "linf"
    """linf: each value may change so much; l2: a photo's values in root mean square."""
    paths: Literal["both", "feature_only"] = "both"
    """feature_only: colours are blended from the clean photos, as in the released code of NeRFool; no attacker can do that."""
    knowledge: Literal["truth", "render"] = "truth"
    """truth: the attacker knows the photos of the target views; render: only what the model makes of the clean photos."""
    follow: float = 1.0
    """How far gradients follow the surface through the general engine's cascade of depth volumes, 0 to 1. Neither end is stronger everywhere: a
    defence that must hold is tried with both."""
    views: int | None = None
    """How many source photos are changed, the nearest first; all if not given."""
    steps: int | None = None
    """Gradient steps (or queries); each attack's own number if not given."""
    rays: int | None = None
    """Rays that a step asks; each attack's own number if not given."""
    side: int = 504
    """Longest side of the photos, pixels."""
    look: int = 504
    """Longest side at which the model looks at them. Its own 960 costs several times as much."""
    sources: int = 8
    """Source photos of a view."""
    hold_out: int = 8
    """Every N-th view is a target (a data set's own test split is used where it has one)."""
    targets: int = 2
    """At most so many targets of each scene."""
    transfer: bool = False
    """Also transfer matrices: view to view, source set to source set, model to model, scene to scene."""
    corruptions: bool = False
    """Also 15 natural corruptions in 5 severities, JPEG qualities, wrong poses and intrinsics, dropped and swapped photos."""
    pose_estimation: bool = False
    """Also whether structure from motion still finds the poses of the changed photos."""
    certificate: bool = False
    """Also what randomised smoothing guarantees: the PSNR that no change within a Euclidean radius can push the median below."""
    certificate_samples: int = 100
    """Noisy sets of photos that the certificate is drawn from."""
    certificate_sigma: float = 8.0
    """Standard deviation of the noise, steps of 255."""
    meshes: bool = False
    """Also how far the mesh moves that is fused from what the victim shows at the source views."""
    branches: bool = False
    """Also what each branch of the general engine contributes: clean features, depth volumes, colours or surface put back."""
    option: tuple[str, ...] = ()
    """Further options of attacks, such as nerfool+.unseen=0.7 or pgd.alpha=0.004."""

    def options_of(self, method: str) -> dict[str, Any]:
        """Further options of one attack.

        Raises:
            InputError: one is not of the form METHOD.OPTION=VALUE.
        """
        out = {}
        for text in self.option:
            place, equals, value = text.partition("=")
            name, dot, option = place.rpartition(".")
            if not (equals and dot and name and option):
                raise InputError(f"'{text}' is no option of an attack. Write METHOD.OPTION=VALUE, such as pgd.alpha=0.004.")
            if name == method:
                try:
                    out[option] = json.loads(value)
                except ValueError:
                    out[option] = value
        return out

    def checked(self) -> "SuiteOptions":
        """These options, or an error that names the first one without sense."""
        for e in self.eps:
            if not 0 <= e <= 255:
                raise InputError(f"--eps {e:g} is not a budget: it is counted in steps of 255, so give 0 to 255 (8 is common).")
        if not self.eps or not self.method or not self.defence or not self.victim:
            raise InputError("A suite needs at least one method, defence, victim and eps. Add what is missing.")
        if not 0 <= self.follow <= 1:
            raise InputError(f"--follow {self.follow:g} is no share. Give 0 to 1.")
        for name, least in (("seeds", 1), ("targets", 1), ("sources", 2), ("side", 32), ("look", 32), ("hold_out", 2), ("certificate_samples", 10)):
            if getattr(self, name) < least:
                raise InputError(f"--{name.replace('_', '-')} {getattr(self, name)} is too small. Give {least} or more.")
        self.options_of("")
        if not self.certificate_sigma > 0:
            raise InputError(f"--certificate-sigma {self.certificate_sigma:g} is no noise. Give more than 0 (8 is common).")
        if self.steps is not None and self.steps < 1:
            raise InputError(f"An attack of {self.steps} steps does nothing. Give --steps 1 or more; epsilon 0 is the unattacked figure.")
        if self.rays is not None and self.rays < 1:
            raise InputError(f"--rays {self.rays} leaves nothing to look at. Give 1 or more.")
        return self


@dataclass(frozen=True)
class Suite:
    """Scenes and options."""

    scenes: tuple[Path, ...]
    out: Path
    options: SuiteOptions = field(default_factory=SuiteOptions)
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 1
    """Cells at a time."""
    overwrite: bool = False
    """Do finished cells again."""
