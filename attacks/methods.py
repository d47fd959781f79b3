"""The attacks and controls by name, as the command line and suites ask for them."""

from collections.abc import Callable
from typing import Any

from attacks.apgd import APGD
from attacks.base import Attack
from attacks.camera import PoseAttack
from attacks.controls import GaussianNoise, RandomSign, UniformNoise
from attacks.gradient import FGSM, PGD, DepthAttack, NeRFool, NeRFoolPlus, Patch, Targeted, UniversalNeRFool
from attacks.square import Square
from data.errors import InputError

METHODS: dict[str, Callable[..., Attack]] = {
    kind.name: kind
    for kind in (
        FGSM, PGD, APGD, NeRFool, UniversalNeRFool, NeRFoolPlus, Targeted, DepthAttack, Patch, PoseAttack, Square, UniformNoise, GaussianNoise,
        RandomSign,
    )
}  # fmt: skip

CONTROLS = (UniformNoise.name, GaussianNoise.name, RandomSign.name)
"""In every report, asked for or not."""


def attack_by_name(name: str, **options: Any) -> Attack:
    """An attack with options; those that it does not know are an error.

    Raises:
        InputError: no such attack or option.
    """
    if name not in METHODS:
        import difflib

        near = difflib.get_close_matches(name, METHODS, n=1)
        raise InputError(f"There is no attack '{name}'{f'; did you mean {near[0]}?' if near else '.'} Known: {', '.join(METHODS)}.")
    kind = METHODS[name]
    known = set(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    wrong = sorted(set(options) - known)
    if wrong:
        raise InputError(f"The attack '{name}' has no option '{wrong[0]}'. Its options: {', '.join(sorted(known - {'model'}))}.")
    return kind(**options)
