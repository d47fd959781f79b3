"""`lumigraph train WHAT`, also as a module for torchrun (general and robust):

torchrun --nproc-per-node N -m app.train [general|robust|density|perceptual|editor|understanding] --config FILE --out DIR
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from app.config import from_json, read_toml
from attacks.defences.options import RobustOptions
from attacks.victims.options import DensityTraining
from data.errors import InputError
from recon.editing.options import EditorTraining
from recon.general.options import TrainOptions
from recon.options import PerceptualTraining
from recon.understanding.options import UnderstandingTraining

KINDS: dict[str, type] = {
    "general": TrainOptions, "robust": RobustOptions, "density": DensityTraining, "perceptual": PerceptualTraining, "editor": EditorTraining,
    "understanding": UnderstandingTraining,
}  # fmt: skip


def train(options: Any, out: Path, quiet: bool = False) -> None:
    """Train what the options are for, and print rows of numbers.

    The general model's training (plain and robust) goes on where its last checkpoint stands; the small ones take minutes, and begin anew.
    """
    import torch

    if isinstance(options, TrainOptions):
        train_general(options, out, quiet)
        return
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if isinstance(options, DensityTraining):
        from attacks.victims.density_training import train_density

        work = train_density(options, out, device)
    elif isinstance(options, EditorTraining):
        from recon.editing.small.training import train_editor

        work = train_editor(options, out, device)
    elif isinstance(options, UnderstandingTraining):
        from recon.understanding.small.training import train_understanding
        from recon.understanding.tuning import train_adapter

        work = (train_understanding if options.labels is None else train_adapter)(options, out, device)
    else:
        from recon.perceptual_training import train_perceptual

        work = train_perceptual(options, out, device)
    for row in work:
        if not quiet:
            _print(row)


def train_general(options: TrainOptions, out: Path, quiet: bool = False) -> None:
    """Train until the schedule ends; an interrupted run goes on where its last checkpoint stands. `RobustOptions` train adversarially."""
    from attacks.defences.training import RobustTrainer
    from recon.general.training import Trainer, distributed

    rank, processes, device = distributed()
    trainer = (RobustTrainer if isinstance(options, RobustOptions) else Trainer)(options, out, device, rank, processes)
    if trainer.step and rank == 0:
        print(f"going on from step {trainer.step}", file=sys.stderr)
    for row in trainer.train():
        if rank == 0 and not quiet:
            _print(row)


def _print(row: dict[str, float]) -> None:
    print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr, flush=True)


def main() -> int:
    """Entry for torchrun."""
    parser = argparse.ArgumentParser(prog="python -m app.train")
    parser.add_argument("what", choices=list(KINDS), nargs="?", default="general")
    parser.add_argument("--config", type=Path, help="TOML file with the options")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        kind = KINDS[arguments.what]
        options = from_json(kind, read_toml(arguments.config), str(arguments.config)) if arguments.config else kind()
        train(options, arguments.out)
    except InputError as error:
        print(f"lumigraph: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
