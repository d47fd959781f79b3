"""Defences: what each does by itself, and that attackers see through it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import norm

from attacks import PGD, RandomSign
from attacks.case import Case, read_cases
from attacks.defences.consistency import agreement, trimmed
from attacks.defences.inputs import FILTERS, blurred, fewer_bits, filtered, jpeg, median
from attacks.defences.named import DEFENCES, defence_by_name
from attacks.defences.smoothing import Smoothed, certified_median
from attacks.victims.general import GeneralVictim
from attacks.victims.protocol import clean_look
from data.errors import InputError
from data.readers import read_scene
from recon.metrics import psnr
from tests.attacks.toy import ToyVictim, toy_case
from tests.conftest import SAMPLE


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Case:
    from attacks.case import prepared

    scene = prepared(read_scene(SAMPLE, SAMPLE), 96, tmp_path_factory.mktemp("sample"))
    return read_cases(scene, 5, 8, 1)[0]


@pytest.mark.parametrize("name", list(FILTERS))
def test_filters_keep_flat_photos_and_pass_gradients(name: str) -> None:
    flat = torch.full((2, 3, 24, 32), 128 / 255, requires_grad=True)
    out = FILTERS[name](flat)
    assert torch.allclose(out, flat, atol=0.02)
    out.sum().backward()
    assert flat.grad is not None
    assert float(flat.grad.sum()) == pytest.approx(flat.numel(), rel=0.2)


@pytest.mark.parametrize("filter_", [blurred, median, jpeg, fewer_bits])
def test_filters_take_noise_away_or_leave_it(filter_) -> None:
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=generator), (48, 48), mode="bilinear")
    noisy = (smooth + 8 / 255 * torch.randn(smooth.shape, generator=generator).sign()).clamp(0, 1)
    before, after = (noisy - smooth).square().mean(), (filter_(noisy) - smooth).square().mean()
    assert after < before * (0.5 if filter_ in (blurred, median) else 1.3)


def test_an_attack_reaches_through_every_filter() -> None:
    """On the toy renderer a filter may weaken an attack that does not know it, but the adaptive one still beats noise."""
    case = toy_case(size=24)
    for name in FILTERS:
        victim = filtered(ToyVictim(), name)

        def error(images: torch.Tensor, victim=victim) -> float:
            return float(torch.stack([(victim.look(case, images).picture_.permute(1, 2, 0) - t.truth).square().mean() for t in case.targets]).mean())

        assert error(PGD(victim, steps=20, rays=256)(case).images) > error(RandomSign(victim)(case).images), name


def test_trimming_drops_the_view_that_contradicts_the_others() -> None:
    distance = torch.tensor([[[0.0, 0.1, -0.1, 1.9], [0.0, 1.9, 0.0, 0.0]]])
    seen = torch.tensor([[[True, True, True, True], [True, True, False, False]]])
    keep = trimmed(distance, seen)
    assert keep[0, 0].tolist() == [True, True, True, False]
    # Two views cannot outvote each other.
    assert keep[0, 1].tolist() == [True, True, False, False]


def test_clean_views_agree_and_a_wrong_surface_is_seen(sample: Case) -> None:
    victim = GeneralVictim.load(side=96)
    sources = clean_look(victim, sample).field.sources
    looked, agreed = agreement(sources, 0.05)
    before = float((agreed[0, 0] >= 1).float().sum() / (looked[0, 0] >= 1).float().sum())
    from dataclasses import replace

    surface = sources.surface.clone()
    surface[:, 0, ..., 0] *= 1.3
    looked, agreed = agreement(replace(sources, surface=surface), 0.05)
    after = float((agreed[0, 0] >= 1).float().sum() / (looked[0, 0] >= 1).float().sum().clamp(min=1))
    assert before > 0.5
    assert after < 0.5 * before


@pytest.mark.parametrize("name", [n for n in DEFENCES if n not in FILTERS])
def test_every_defence_renders_clean_photos_nearly_as_well(name: str, sample: Case) -> None:
    plain = GeneralVictim.load(side=96)
    defended = defence_by_name(name).guard(plain)
    target = sample.targets[0]
    a, b = (clean_look(v, sample).picture(target).rgb.numpy() for v in (plain, defended))
    assert psnr(b, target.truth.numpy()) > psnr(a, target.truth.numpy()) - 2.0


@pytest.mark.parametrize("name", ["trimmed", "depth-filter", "robust-weights", "smoothing"])
def test_gradients_reach_the_photos_through_defences(name: str, sample: Case) -> None:
    result = PGD(defence_by_name(name).guard(GeneralVictim.load(side=96)), steps=2, rays=64)(sample)
    assert all(g > 0 for g in result.largest_gradients)


def test_an_unfit_or_unknown_defence_is_refused() -> None:
    with pytest.raises(InputError, match="no defence 'wall'"):
        defence_by_name("wall")
    with pytest.raises(InputError, match="works inside the general engine"):
        defence_by_name("trimmed").guard(ToyVictim())


def test_the_certificate_holds_where_the_truth_is_known() -> None:
    """f(x) = a linear function of the photos: its median under noise is itself, and a change of length r lowers it by r at most."""
    sigma, slope = 0.1, 2.0
    random = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        samples = 5.0 + slope * sigma * random.normal(size=200)
        for radius in (0.05, 0.1):
            bound = certified_median(samples, sigma, radius, 0.99)
            # The worst change lowers the median by exactly slope * radius.
            held += bound <= 5.0 - slope * radius + 1e-9
    assert held >= 0.985 * 400
    tight = certified_median(5.0 + slope * sigma * random.normal(size=20_000), sigma, 0.1)
    assert tight == pytest.approx(5.0 + slope * sigma * norm.ppf(norm.cdf(-1.0)), abs=0.02)


def test_the_certificate_shrinks_with_radius_and_says_when_it_knows_nothing() -> None:
    samples = np.random.default_rng(1).normal(size=100)
    bounds = [certified_median(samples, 1.0, r) for r in (0.0, 0.5, 1.0)]
    assert bounds == sorted(bounds, reverse=True)
    assert certified_median(samples, 1.0, 5.0) == -np.inf


def test_smoothing_is_repeatable_and_its_attack_averages() -> None:
    case = toy_case()
    victim = Smoothed(ToyVictim(), samples=3)
    one, two = (victim.look(case, case.photos).picture(case.targets[0]).rgb for _ in range(2))
    assert torch.equal(one, two)
    assert PGD(victim, steps=3, rays=64)(case).gradients == 3


@pytest.mark.slow
def test_adversarial_training_meets_worse_photos_within_their_budget(tmp_path: Path) -> None:
    from attacks.defences.options import RobustOptions
    from attacks.defences.training import RobustTrainer
    from recon.general.batches import make_batch

    options = RobustOptions(
        steps=1, worlds=4, sizes=((64, 48),), world_views=5, batch=2, views=4, neighbours=2, rays=48, validation_worlds=0, seed=12, start_from=Path("shipped"),
        attack_share=1.0, plain=1.0,
    )  # fmt: skip
    trainer = RobustTrainer(options, tmp_path, torch.device("cpu"))
    batch = make_batch(trainer.banks[0], 2, 4, 48, 2, options.flaws, trainer.generator)
    harder = trainer.hardened(batch, trainer.banks[0], 1)
    change = (harder.images - batch.images).abs().amax((1, 2, 3, 4))
    assert float(change.max()) <= options.eps + 1e-6
    assert float(change.min()) >= 0.4 * options.eps
    with torch.no_grad():
        torch.manual_seed(0)
        before = float(trainer.objective(batch, trainer.banks[0])[0])
        torch.manual_seed(0)
        assert float(trainer.objective(harder, trainer.banks[0])[0]) > before
    assert all(p.requires_grad for p in trainer.network.parameters())
    trainer.options = replace(options, attack_share=0.0, noise_share=1.0)
    noisy = trainer.hardened(batch, trainer.banks[0], 1)
    change = (noisy.images - batch.images).abs()
    assert float(change.max()) <= options.eps + 1e-6
    assert float(change.mean()) > 0.8 * options.eps
