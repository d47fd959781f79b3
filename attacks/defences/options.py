"""Options of adversarial training. Light: the command line reads them before anything heavy is imported."""

from dataclasses import dataclass

from recon.general.options import TrainOptions


@dataclass(frozen=True)
class RobustOptions(TrainOptions):
    """Options of `lumigraph train robust`: those of `train general`, and the inner attack's."""

    eps: float = 8 / 255
    """Largest change of a value (linf); each attacked world draws its own between half of it and all."""
    attack_steps: int = 2
    """Gradient steps of the inner attack, after a random start."""
    attack_step: float = 0.7
    """Size of its steps as a share of the world's epsilon."""
    attack_share: float = 0.75
    """Share of the worlds that are attacked; the others keep the model good on clean photos."""
    noise_share: float = 0.5
    """Share of the other worlds that get random signs of epsilon instead."""
    plain: float = 0.35
    """Share of the worlds with unpainted objects: on smooth white surfaces there is little that could speak against an attack."""
    attack_rays: int = 256
    """Rays of each target that the inner attack asks."""
