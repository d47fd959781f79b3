"""The hash-grid engine: it learns, resumes exactly, and forgets nothing when saved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from data.errors import InputError
from data.prepare import prepare
from data.readers import read_scene
from data.scene import Scene
from recon.fields import RadianceField, image_rays
from recon.frame import choose_frame, inside_hull
from recon.hashgrid.engine import HashGridRadianceField
from recon.hashgrid.options import FieldOptions, HashGridOptions, TrainOptions
from recon.hashgrid.training import HashGridTrainer
from tests.conftest import drain, sphere_picture, write_sphere_scene

TINY = HashGridOptions(
    FieldOptions(levels=4, log2_table_size=13, width=16), TrainOptions(steps=60, samples_per_step=8192, samples_per_ray=16, occupancy_side=32)
)


@pytest.fixture
def scene(sphere_scene: Path, tmp_path: Path) -> Scene:
    return drain(prepare(read_scene(sphere_scene), tmp_path / "work", 64))


def state(trainer: HashGridTrainer) -> dict[str, torch.Tensor]:
    return {k: v.clone() for k, v in trainer.field.state_dict().items()} | {"grid": trainer.grid.density.clone()}


def test_resuming_gives_the_same_bits_as_not_stopping(scene: Scene, tmp_path: Path) -> None:
    whole = HashGridTrainer(scene, TINY)
    drain(whole.train())
    first = HashGridTrainer(scene, TINY)
    steps = first.train()
    for _ in range(25):
        next(steps)
    steps.close()
    first.save(tmp_path / "checkpoint.safetensors")
    second = HashGridTrainer(scene, TINY)
    second.load(tmp_path / "checkpoint.safetensors")
    assert second.step == 25
    drain(second.train())
    for name, value in state(whole).items():
        assert torch.equal(value, state(second)[name]), name


def test_checkpoints_of_other_options_or_damaged_ones_are_refused(scene: Scene, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    HashGridTrainer(scene, TINY).save(path)
    other = HashGridTrainer(scene, replace(TINY, train=replace(TINY.train, steps=61)))
    with pytest.raises(InputError, match="other options"):
        other.load(path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="damaged"):
        HashGridTrainer(scene, TINY).load(path)


@pytest.mark.slow
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_it_learns_the_sphere_and_its_depth(scene: Scene, tmp_path: Path, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    options = replace(TINY, train=replace(TINY.train, steps=500, occupancy_side=48))
    trainer = HashGridTrainer(scene, options, device)
    drain(trainer.train())
    field = trainer.radiance_field()
    assert isinstance(field, RadianceField)
    rendered = field.render(image_rays(scene.posed(), 0, near=field.near))
    picture, mask, z = sphere_picture(scene.posed(), 0)
    truth = np.where(mask[..., None], picture / 255, 1.0)
    mse = np.mean((rendered.rgb.reshape(48, 48, 3).numpy() - truth) ** 2)
    assert -10 * np.log10(mse) > 20
    inner = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(48) - 23.5] * 2), -1), axis=-1) < 10
    distance = rendered.depth.reshape(48, 48).numpy()[inner]
    from recon.fields import ray_to_z

    relative = np.abs(distance * ray_to_z(scene.posed(), 0).numpy()[inner] - z[inner]) / z[inner]
    assert np.median(relative) < 0.05

    field.save(tmp_path / "field")
    again = HashGridRadianceField.load(tmp_path / "field", device)
    torch.testing.assert_close(again.render(image_rays(scene.posed(), 1)).rgb, field.render(image_rays(scene.posed(), 1)).rgb)
    points = torch.rand(50, 3) * 2 - 1
    torch.testing.assert_close(again.density(points), field.density(points))


def test_the_hull_of_silhouettes_holds_the_sphere_and_little_else(scene: Scene) -> None:
    frame = choose_frame(scene)
    assert not frame.contracted
    assert frame.radius == pytest.approx(1.1, abs=0.25)
    random = np.random.default_rng(0).uniform(-2, 2, (4000, 3))
    kept = inside_hull(scene.posed(), [scene.mask(i) for i in range(len(scene))], random)
    radius = np.linalg.norm(random, axis=1)
    assert kept[radius < 0.93].all()
    assert not kept[radius > 1.6].any()


@pytest.mark.slow
def test_gains_of_photos_explain_automatic_exposure(scene: Scene, tmp_path: Path) -> None:
    from data.images import save_image

    true_gains = np.linspace(0.7, 1.3, len(scene))
    for i, path in enumerate(scene.image_paths):
        save_image(path, np.clip(scene.image(i) * true_gains[i], 0, 255).astype(np.uint8))
    options = replace(TINY, field=replace(TINY.field, appearance=True), train=replace(TINY.train, steps=500, occupancy_side=48))
    trainer = HashGridTrainer(scene, options)
    drain(trainer.train())
    gains = trainer.field.gains(torch.arange(len(scene))).detach().mean(1).numpy()
    assert np.corrcoef(gains, true_gains)[0, 1] > 0.9


def test_one_photo_cannot_be_trained_on(scene: Scene) -> None:
    with pytest.raises(InputError, match="at least 2"):
        HashGridTrainer(scene.select([0]), TINY)


@pytest.mark.parametrize("values", [{"log2_table_size": 40}, {"color_log2_table_size": 40}], ids=str)
def test_impossible_grids_are_refused_in_plain_words(scene: Scene, values: dict[str, int]) -> None:
    with pytest.raises(InputError, match="1 to 28"):
        HashGridTrainer(scene, replace(TINY, field=replace(TINY.field, **values)))
    with pytest.raises(InputError, match="at least 1"):
        HashGridTrainer(scene, replace(TINY, train=replace(TINY.train, color_every=0)))


@pytest.mark.parametrize("masks", [True, False])
def test_the_tiled_step_equals_the_plain_one(tmp_path: Path, masks: bool) -> None:
    """Same batch: the same loss, and the same gradient of table, networks, background and gains, up to bfloat16."""
    write_sphere_scene(tmp_path / "sphere", masks=masks)
    scene = drain(prepare(read_scene(tmp_path / "sphere"), tmp_path / "work", 64))
    train = replace(TINY.train, samples_per_ray=32, distortion_weight=0.01, depth_weight=0.05)
    trainer = HashGridTrainer(scene, replace(TINY, field=replace(TINY.field, appearance=True), train=train))
    for _ in range(30):
        trainer.train_step()
    trainer.step = 400  # the distortion loss has begun
    batch = trainer.pixels.draw(300, trainer.generator)
    depth = torch.where(torch.rand(300) > 0.5, 2.0, 0.0)
    batch = replace(batch, depth=depth)
    trainer.pixels = replace(trainer.pixels, depth=torch.zeros(len(trainer.pixels.rgb)))  # only whether there are any is asked
    state, found = trainer.generator.get_state(), []
    grid = trainer.grid.density.clone()
    parameters = [p for name, p in trainer.field.named_parameters() if name != "table"]
    for plain in (True, False):
        trainer.generator.set_state(state)
        trainer.grid.density.copy_(grid)
        trainer.optimizer.zero_grad(set_to_none=True)
        assert trainer.field.grad_buffer is not None
        trainer.field.grad_buffer.zero_()
        if plain:
            loss, error, samples = trainer._loss(batch)
            loss.backward()
        else:
            loss, error, samples = trainer._tiled(batch)
        gradients = [torch.cat([p.grad.reshape(-1) for p in parameters if p.grad is not None]), trainer.field.grad_buffer.reshape(-1).clone()]
        found.append((float(loss), error, samples, gradients))
    plain, tiled = found
    assert tiled[2] == plain[2]
    assert tiled[0] == pytest.approx(plain[0], rel=1e-2)
    assert tiled[1] == pytest.approx(plain[1], rel=1e-2)
    for ours, theirs in zip(tiled[3], plain[3], strict=True):
        assert ours.shape == theirs.shape
        assert float((ours - theirs).norm() / theirs.norm()) < 3e-2


def test_colour_with_a_grid_of_its_own_learns_every_other_step_and_goes_on_from_a_checkpoint(scene: Scene, tmp_path: Path) -> None:
    options = replace(TINY, field=replace(TINY.field, color_log2_table_size=10), train=replace(TINY.train, steps=120))
    trainer = HashGridTrainer(scene, options)
    assert trainer.field.color_table is not None
    assert not trainer.tiled
    psnr = []
    for step in range(100):
        before = [p.detach().clone() for p in (trainer.field.table, trainer.field.color_table)]
        psnr.append(trainer.train_step()["psnr"])
        assert not torch.equal(before[0], trainer.field.table)
        assert torch.equal(before[1], trainer.field.color_table) == (step % 2 == 1)
    assert sum(psnr[-20:]) > sum(psnr[:20]) + 40
    trainer.save(tmp_path / "checkpoint.safetensors")
    again = HashGridTrainer(scene, options)
    again.load(tmp_path / "checkpoint.safetensors")
    drain(trainer.train())
    drain(again.train())
    for name, value in trainer.field.state_dict().items():
        assert torch.equal(value, again.field.state_dict()[name]), name
    trainer.radiance_field().save(tmp_path / "field")
    loaded = HashGridRadianceField.load(tmp_path / "field")
    points = torch.rand(50, 3)
    assert torch.equal(loaded.field.geometry(points)[1], trainer.field.geometry(points)[1])


def test_colours_that_ran_into_white_come_out_again(scene: Scene) -> None:
    """A white object drives all colours up at once; a plain sigmoid's gradient is zero there, in single precision."""
    for tiled in (True, False):
        trainer = HashGridTrainer(scene, TINY)
        trainer.tiled = tiled
        with torch.no_grad():
            trainer.field.color_network[-1].bias.fill_(30.0)
        for _ in range(30):
            trainer.train_step()
        assert (trainer.field.color_network[-1].bias < 29.99).all(), "they would not have moved at all"


def test_a_colour_is_drawn_out_of_saturation_and_not_pushed_further_in() -> None:
    """Bounded both ways nothing stops raw colours, and whole trainings collapsed."""
    from kernels.compositing.cpu import LEAST_SLOPE, sigmoid_slope
    from recon.hashgrid.field import color_sigmoid

    raw = torch.tensor([-20.0, -20.0, 20.0, 20.0, 0.5], requires_grad=True)
    grad = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    (slope,) = torch.autograd.grad(color_sigmoid(raw), raw, grad)
    true = torch.sigmoid(raw.detach()) * (1 - torch.sigmoid(raw.detach()))
    torch.testing.assert_close(slope * grad, torch.where(torch.tensor([False, True, True, False, False]), torch.tensor(LEAST_SLOPE), true))
    for c, g, s in zip(torch.sigmoid(raw.detach()).tolist(), grad.tolist(), (slope * grad).tolist(), strict=True):
        assert sigmoid_slope(c, g) == pytest.approx(s, abs=1e-7)


def test_median_depth_is_where_half_of_the_weight_has_passed() -> None:
    from kernels.sampling import PackedSamples
    from recon.hashgrid.engine import median_depth

    counts = torch.randint(0, 9, (200,))
    offsets = torch.cat([torch.zeros(1, dtype=torch.long), counts.cumsum(0)])
    n = int(offsets[-1])
    samples = PackedSamples(offsets, torch.rand(n).cumsum(0), torch.rand(n) * 0.1)
    weights = torch.rand(n) * 0.4
    opacity = torch.zeros(200).index_add(0, samples.ray_indices, weights)
    fast = median_depth(weights, samples, opacity)
    assert (fast > 0).any()
    for ray in range(200):
        own = weights[offsets[ray] : offsets[ray + 1]].double().cumsum(0)
        if opacity[ray] <= 0.5:
            assert fast[ray] == 0
            continue
        i = int((own < 0.5 * opacity[ray].double()).sum())
        before = own[i - 1] if i else 0.0
        fraction = (0.5 * opacity[ray] - before) / (own[i] - before)
        at = int(offsets[ray]) + i
        assert float(fast[ray]) == pytest.approx(float(samples.positions[at] + (fraction - 0.5) * samples.lengths[at]), rel=1e-4, abs=1e-4)
