"""The fused training step on a GPU against the plain one: the same loss, and the same gradient of everything that is trained."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from data.prepare import prepare
from data.readers import read_scene
from kernels.compositing import accumulate, distortion, render_weights
from kernels.hashgrid.encoding import encode
from recon.hashgrid.field import color_sigmoid
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer
from tests.conftest import drain, write_sphere_scene

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
_SCALE = 16.0
OPTIONS = HashGridOptions(
    FieldOptions(levels=8, features=4, log2_table_size=14, appearance=True),
    TrainOptions(steps=300, samples_per_step=16_384, samples_per_ray=40, occupancy_side=32, distortion_weight=0.01, depth_weight=0.05),
)


OWN_COLOR = replace(OPTIONS, field=replace(OPTIONS.field, color_log2_table_size=12))
NARROW = replace(OPTIONS, field=replace(OPTIONS.field, levels=8, features=2, width=32))
ODD = replace(OPTIONS, field=replace(OPTIONS.field, levels=12, features=4, width=48, hash="block_morton"))


CASES = {
    "masks": (True, OPTIONS), "whole pictures": (False, OPTIONS), "a grid for colour": (False, OWN_COLOR), "32 neurons": (False, NARROW), "48 neurons": (True, ODD),
}  # fmt: skip


@pytest.fixture(params=CASES.values(), ids=CASES)
def trainer(request: pytest.FixtureRequest, tmp_path: Path) -> HashGridTrainer:
    masks, options = request.param
    write_sphere_scene(tmp_path / "sphere", masks=masks)
    scene = drain(prepare(read_scene(tmp_path / "sphere"), tmp_path / "work", 64))
    trainer = HashGridTrainer(scene, options, "cuda")
    assert trainer.fused is not None
    depth = torch.where(torch.rand(len(trainer.pixels.rgb), device="cuda") > 0.5, 2.0, 0.0) / trainer.frame.radius
    trainer.fused.depths = depth
    return trainer


def plain_loss(trainer: HashGridTrainer, parts: list[torch.Tensor]) -> torch.Tensor:
    """The sum of the rays' losses on the samples that the fused step drew, by PyTorch."""
    fused, field, settings = trainer.fused, trainer.field, trainer.options.train
    rays = int(fused.control[1])
    ranges = fused.ranges[:rays].long()
    assert (ranges[:, 1] >= 0).all()
    order = ranges[:, 0].argsort(stable=True)
    counts = ranges[order, 1]
    index = torch.repeat_interleave(order, counts)
    n = int(counts.sum())
    filled = counts > 0
    offsets = torch.cat([torch.zeros(1, dtype=torch.long, device="cuda"), counts.cumsum(0)])
    assert torch.equal(fused.ray_of[:n].long(), index)
    assert int(ranges[order][filled][:, 0][0]) == 0
    *tables, flat = parts
    shape, start, networks = fused.shape, 0, []
    bias = shape.first_bias
    for rows, columns in shape.shapes:
        networks.append((flat[start : start + rows * columns].view(rows, columns), flat[bias : bias + rows]))
        start, bias = start + rows * columns, bias + rows
    w1, b1, w2, b2 = flat[shape.parameters : shape.parameters + 643].split([512, 32, 96, 3])
    w1, w2 = w1.view(32, 16), w2.view(3, 32)
    log_gains = flat[-field.log_gains.numel() :].view_as(field.log_gains)
    linear = torch.nn.functional.linear
    out = linear(linear(encode(fused.points[:n], tables[0], field.layout, "reference"), *networks[0]).relu(), *networks[1])
    density = torch.exp(out[:, 0] + field.options.density_bias)
    geometry = torch.cat([torch.zeros_like(out[:, :1]), out[:, 1:]], 1)
    if field.color_layout is not None:
        geometry = encode(fused.points[:n], tables[1], field.color_layout, "reference")
    directions = fused.harmonics.float()
    hidden = linear(torch.cat([directions[index], geometry], 1), *networks[2]).relu()
    color = color_sigmoid(linear(linear(hidden, *networks[3]).relu(), *networks[4])[:, :3])
    position, length = fused.positions[:n], fused.lengths[:n]
    # render_weights wants rays in order
    weights = render_weights(density * length, offsets)
    rgb = accumulate(weights, color, index, rays)
    opacity = accumulate(weights, torch.ones_like(weights)[:, None], index, rays)[:, 0]
    views = fused.view_of[:rays].long()
    gains = torch.exp(log_gains - log_gains.mean(0, keepdim=True))[views]
    if field.transparent:
        rgb = rgb * gains + (1 - opacity)[:, None] * fused.behind[:rays]
    else:
        behind = color_sigmoid(linear(linear(directions[:rays], w1, b1).relu(), w2, b2))
        rgb = (rgb + (1 - opacity)[:, None] * behind) * gains
    loss = torch.nn.functional.huber_loss(rgb, fused.truth[:rays], delta=0.1, reduction="none").sum() / 0.1 / 3
    near = 1 / (1 + position)
    loss = loss + settings.distortion_weight * distortion(weights, 1 - near, length * near**2, offsets).sum()
    wanted = fused.wanted[:rays]
    known = wanted > 0
    deviation = ((position - wanted[index]) / wanted[index].clamp(min=1e-6)).abs().clamp(max=0.5)
    off = accumulate(weights, deviation[:, None], index, rays)[:, 0] + 0.5 * (1 - opacity)
    loss = loss + settings.depth_weight * (off * known).sum()
    if field.transparent:
        clamped = opacity.clamp(1e-4, 1 - 1e-4)
        loss = loss - settings.opacity_weight * (clamped * clamped.log() + (1 - clamped) * (1 - clamped).log()).sum()
    return loss


def test_loss_and_gradients_equal_the_plain_ones(trainer: HashGridTrainer) -> None:
    fused = trainer.fused
    fused.run(60, trainer.generator)
    seen: dict[str, list[list[torch.Tensor]]] = {"tables": [], "flat": []}

    def instead(name: str):
        def take(*arguments: object) -> None:
            seen[name].append([a.clone() for a in arguments if isinstance(a, torch.Tensor)])

        return take

    import recon.hashgrid.fused as module

    fused.statistics.zero_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module.hashgrid, "adam_touched", instead("tables"))
        patch.setattr(type(fused.shape), "adam", lambda _self, *a: instead("flat")(*a))
        patch.setattr(fused, "_advance", lambda: None)
        fused._launch()
        torch.cuda.synchronize()
    tables = [t.half.float().requires_grad_() for t in (fused.table, fused.color_table) if t is not None]
    flat = fused.flat.clone().requires_grad_()
    loss = plain_loss(trainer, [*tables, flat])
    loss.backward()
    assert float(fused.statistics.sum(0)[0]) == pytest.approx(float(loss.detach()), rel=5e-3)
    assert len(seen["tables"]) == len(tables)
    for (_, _, d_table, *_), table in zip(seen["tables"], tables, strict=True):
        assert float((d_table / _SCALE - table.grad).norm() / table.grad.norm()) < 2e-2
    d_flat = seen["flat"][0][2]
    last = trainer.field.log_gains.numel()
    networks = slice(0, len(d_flat) - last)
    assert float((d_flat[networks] / _SCALE - flat.grad[networks]).norm() / flat.grad[networks].norm()) < 2e-2
    gains = d_flat[-last:] - 2e-2 * flat.detach()[-last:] / last
    expected = flat.grad[-last:] / int(fused.control[1])
    assert float((gains - expected).norm() / expected.norm()) < 2e-2


def test_checkpoints_go_on_where_they_stopped(trainer: HashGridTrainer, tmp_path: Path) -> None:
    steps = trainer.train()
    for _ in range(4):
        next(steps)
    trainer.save(tmp_path / "checkpoint.safetensors")
    moments = {f"{name}.{k}": v for name, table in trainer.tables.items() for k, v in table.state().items()}
    state = {k: v.clone() for k, v in (trainer.fused.state() | moments).items()}
    rates = trainer.fused.rates.clone()
    drain(steps)
    trainer.load(tmp_path / "checkpoint.safetensors")
    assert trainer.step == trainer.fused.step == 100
    for key, value in (trainer.fused.state() | moments).items():
        assert torch.equal(value, state[key]), key
    torch.testing.assert_close(trainer.fused.rates, rates)
    drain(trainer.train())
    assert trainer.step == 300


def test_density_is_that_of_the_plain_field(trainer: HashGridTrainer) -> None:
    trainer.fused.run(40, trainer.generator)
    points = torch.rand(1000, 3, device="cuda") * 2 - 1
    fast = trainer.fused.density(points)
    trainer.fused.write_back()
    torch.testing.assert_close(fast, trainer.field.density(points).detach(), rtol=0.05, atol=1e-3)


def test_what_it_does_not_know_is_trained_plainly(trainer: HashGridTrainer, tmp_path: Path) -> None:
    scene = drain(prepare(read_scene(tmp_path / "sphere"), tmp_path / "work", 64))
    odd = HashGridTrainer(scene, replace(OPTIONS, field=replace(OPTIONS.field, geometry_features=7)), "cuda")
    assert odd.fused is None
    assert odd.train_step()["samples"] > 0


def test_colours_own_grid_is_left_alone_every_other_step(tmp_path: Path) -> None:
    write_sphere_scene(tmp_path / "sphere")
    trainer = HashGridTrainer(drain(prepare(read_scene(tmp_path / "sphere"), tmp_path / "work", 64)), OWN_COLOR, "cuda")
    assert trainer.fused is not None
    assert trainer.field.color_table is not None
    for step in range(12):  # eager ones, then recorded ones of both kinds
        before = trainer.field.color_table.detach().clone()
        trainer.fused.run(1, trainer.generator)
        assert torch.equal(before, trainer.field.color_table) == (step % 2 == 1), step
