"""Training the general model at toy size: it learns, and an interrupted run goes on as if nothing had happened."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.worlds.bank import make_bank
from recon.general.batches import enlarged, make_batch
from recon.general.options import TrainOptions
from recon.general.training import Trainer
from recon.general.weights import load_network, read_card

TINY = TrainOptions(
    steps=6, worlds=3, sizes=((64, 48), (48, 64)), world_views=5, refresh_every=100, batch=1, views=4, neighbours=2, rays=48,
    log_every=1, checkpoint_every=3, validation_worlds=0, seed=11,
)  # fmt: skip
CPU = torch.device("cpu")


def losses(rows: list[dict[str, float]]) -> list[float]:
    return [row["total"] for row in rows]


@pytest.mark.slow
def test_resuming_continues_the_loss_curve(tmp_path: Path) -> None:
    # One run, whose checkpoint of step 3 is put aside: two runs would differ by how threads round.
    whole, rows = Trainer(TINY, tmp_path / "whole", CPU), []
    for row in whole.train():
        if row["step"] == 4:
            shutil.copytree(tmp_path / "whole", tmp_path / "parts")
        rows.append(row)
    whole_losses = losses(rows)
    assert len(rows) == 6
    assert whole_losses[-1] < whole_losses[0]
    second = Trainer(TINY, tmp_path / "parts", CPU)
    assert second.step == 3
    # The same worlds, or the comparison would not be one; new seeds are what a real run wants.
    second.banks = whole.banks
    rest = losses(list(second.train()))
    assert rest[0] == pytest.approx(whole_losses[3], rel=1e-4)
    # Sums over threads come in any order, and Adam's first steps magnify what that changes.
    assert torch.allclose(torch.tensor(rest), torch.tensor(whole_losses[3:]), rtol=2e-2)
    with (tmp_path / "parts" / "losses.csv").open() as file:
        assert [int(r["step"]) for r in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]
    assert (tmp_path / "parts" / "curves.png").stat().st_size > 5000
    load_network(tmp_path / "parts" / "general.safetensors")


def test_options_that_cannot_work_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="world_views"):
        Trainer(replace(TINY, world_views=4), tmp_path / "a", CPU)
    with pytest.raises(InputError, match="held-out worlds"):
        Trainer(replace(TINY, seed=95), tmp_path / "d", CPU)
    with pytest.raises(InputError, match="whole factors"):
        Trainer(replace(TINY, enlargements=()), tmp_path / "e", CPU)
    with pytest.raises(InputError, match="multiples of 16"):
        Trainer(replace(TINY, sizes=((60, 48),)), tmp_path / "b", CPU)


@pytest.mark.slow
def test_frozen_parts_stay_as_they_are(tmp_path: Path) -> None:
    trainer = Trainer(replace(TINY, steps=3, frozen=("encoder",)), tmp_path, CPU)
    before = {k: v.clone() for k, v in trainer.network.state_dict().items()}
    assert all(np.isfinite(losses(list(trainer.train()))))
    for states in (trainer.network.state_dict(), trainer.average):
        same = {k: torch.equal(v, before[k]) for k, v in states.items()}
        assert all(same[k] for k in same if k.startswith("encoder."))
        assert sum(not v for k, v in same.items()) > 20
    assert Trainer(replace(TINY, frozen=("encoder",)), tmp_path, CPU).step == 3
    with pytest.raises(InputError, match="no part named 'encoders'.*encoder, "):
        Trainer(replace(TINY, frozen=("encoders",)), tmp_path / "a", CPU)
    with pytest.raises(InputError, match="nothing is left to train"):
        Trainer(replace(TINY, frozen=("encoder", "cascade", "coarse", "geometry", "blending")), tmp_path / "b", CPU)


@pytest.mark.slow
def test_new_worlds_take_the_place_of_old_ones(tmp_path: Path) -> None:
    trainer = Trainer(replace(TINY, refresh_every=1, refresh_worlds=1, sizes=((64, 48),)), tmp_path / "c", CPU)
    before = trainer.banks[0].rgb.clone()
    trainer.step = 1
    trainer._refresh()
    changed = (trainer.banks[0].rgb != before).flatten(1).any(1)
    assert changed.sum() <= 1
    assert (trainer.banks[0].cameras[:, 0, 16] == torch.arange(len(before))).all()


def test_enlarged_photos_show_the_same_points() -> None:
    """Photos, cameras and depths grow together: twice the pixel shows the same depth, and rays and truth stay."""
    bank = make_bank(range(3), 64, 48, 5)
    small = make_batch(bank, 1, 4, 20, 2, None, torch.Generator(), (torch.tensor([0]), torch.tensor([0])))
    large = enlarged(small, 2)
    assert large.images.shape == (1, 4, 3, 96, 128)
    point = torch.tensor([0.3, -0.2, 2.0])
    pixels = [(k := b.intrinsics[0, 0] @ point)[:2] / k[2] for b in (small, large)]
    assert torch.allclose(pixels[1], 2 * pixels[0], atol=1e-4)
    assert (large.source_depth[..., 1::2, ::2] == small.source_depth).all()
    assert (torch.nn.functional.avg_pool2d(large.images[0], 2) - small.images[0]).abs().mean() < 0.03
    assert large.directions is small.directions


@pytest.mark.slow
def test_enlarged_photos_can_be_trained_on(tmp_path: Path) -> None:
    rows = list(Trainer(replace(TINY, steps=2, sizes=((64, 48),), enlargements=(1, 2)), tmp_path / "e", CPU).train())
    assert all(np.isfinite(losses(rows)))


@pytest.mark.slow
def test_two_processes_train_one_model(tmp_path: Path) -> None:
    """torchrun with two processes, as on two GPUs: one set of weights, and more than one process on its card."""
    config = tmp_path / "tiny.toml"
    config.write_text(
        "steps = 2\nworlds = 5\nsizes = [[64, 48]]\nworld_views = 5\nbatch = 1\nviews = 4\nneighbours = 2\nrays = 32\n"
        "log_every = 1\ncheckpoint_every = 2\nvalidation_worlds = 0\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "app.train"]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [*command, "--config", str(config), "--out", str(tmp_path / "out")], cwd=root, capture_output=True, text=True, timeout=300,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert read_card(tmp_path / "out" / "general.safetensors")["runs"][-1]["processes"] == 2
    with (tmp_path / "out" / "losses.csv").open() as file:
        assert [int(r["step"]) for r in csv.DictReader(file)] == [1, 2]
