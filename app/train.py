"""`lumigraph train general` and `train robust`, also as a module for torchrun:

torchrun --nproc-per-node N -m app.train [general|robust] --config FILE --out DIR
"""

import argparse
import sys
from pathlib import Path

from app.config import from_json, read_toml
from attacks.defences.training import RobustOptions
from data.errors import InputError
from recon.general.options import TrainOptions


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
            print("  ".join(f"{k} {v:.4g}" for k, v in row.items()), file=sys.stderr, flush=True)


def main() -> int:
    """Entry for torchrun."""
    parser = argparse.ArgumentParser(prog="python -m app.train")
    parser.add_argument("what", choices=["general", "robust"], nargs="?", default="general")
    parser.add_argument("--config", type=Path, help="TOML file with TrainOptions or RobustOptions")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        kind = RobustOptions if arguments.what == "robust" else TrainOptions
        options = from_json(kind, read_toml(arguments.config), str(arguments.config)) if arguments.config else kind()
        train_general(options, arguments.out)
    except InputError as error:
        print(f"lumigraph: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
