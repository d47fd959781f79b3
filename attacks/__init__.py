"""The robustness bench: threat models, attacks, controls, defences, and what they do to a reconstruction.

    from attacks import PGD
    changed = PGD(None, eps=8 / 255, alpha=2 / 255, steps=10)(scene)

The names are imported when they are asked for: PyTorch takes seconds.
"""

from typing import Any

_HOMES = {
    "FGSM": "gradient", "PGD": "gradient", "NeRFool": "gradient", "UniversalNeRFool": "gradient", "NeRFoolPlus": "gradient", "Targeted": "gradient",
    "DepthAttack": "gradient", "Patch": "gradient", "APGD": "apgd", "Square": "square", "PoseAttack": "camera", "UniformNoise": "controls",
    "GaussianNoise": "controls", "RandomSign": "controls", "Transplanted": "controls", "ThreatModel": "threat", "Adversarial": "base", "Case": "case", "read_case": "case",
    "read_cases": "case", "read_universal": "case", "prepared": "case",
}  # fmt: skip

__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"attacks.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'attacks' has no attribute '{name}'")
