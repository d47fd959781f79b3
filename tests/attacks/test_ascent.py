"""Attacks on a renderer whose right answers are known."""

from dataclasses import replace

import pytest
import torch

from attacks import (
    APGD,
    FGSM,
    PGD,
    DepthAttack,
    NeRFool,
    NeRFoolPlus,
    Patch,
    RandomSign,
    Square,
    Targeted,
    Transplanted,
    UniformNoise,
    UniversalNeRFool,
)
from attacks.ascent import AdamStep, SignStep, ascend
from attacks.base import Adversarial, Attack
from attacks.case import Case
from attacks.objectives import RayLoss
from attacks.threat import ThreatModel
from data.errors import InputError
from tests.attacks.toy import ToyVictim, toy_case

EVERY = [FGSM, PGD, APGD, NeRFool, UniversalNeRFool, NeRFoolPlus, DepthAttack, Square, UniformNoise, RandomSign]


def damage(result: Adversarial, victim: ToyVictim, case: Case) -> float:
    """Mean squared error of all targets."""
    look = victim.look(case, result.images)
    errors = [(look.picture_.permute(1, 2, 0) - t.truth).square().mean() for t in case.targets if t.truth is not None]
    return float(torch.stack(errors).mean())


def short(kind: type[Attack], victim: ToyVictim, **options: object) -> Attack:
    steps = {} if kind in (FGSM, UniformNoise, RandomSign) else {"steps": 40}
    return kind(victim, rays=64, **{**steps, **options})  # type: ignore[arg-type]


def test_on_a_linear_loss_the_change_is_epsilon_times_the_sign_of_the_gradient() -> None:
    clean = torch.full((2, 3, 4, 4), 0.5)
    slope = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    threat = ThreatModel(eps=0.1, steps=12)
    for rule in (SignStep(0.02), AdamStep(0.02)):
        work = ascend(lambda x, i: ((x * slope).sum(),), clean, threat, rule)
        *_, images = drained(work)
        assert torch.allclose(images, clean + 0.1 * slope.sign(), atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_epsilon_zero_changes_nothing(kind: type[Attack]) -> None:
    case = toy_case()
    assert torch.equal(short(kind, ToyVictim(), eps=0.0)(case).images, case.photos)


@pytest.mark.parametrize("kind", EVERY)
def test_the_same_seed_gives_the_same_photos_and_another_does_not(kind: type[Attack]) -> None:
    case = toy_case()
    one, two = short(kind, ToyVictim(), seed=3)(case), short(kind, ToyVictim(), seed=3)(case)
    assert torch.equal(one.images, two.images)
    if kind is not FGSM:
        assert not torch.equal(one.exact, short(kind, ToyVictim(), seed=4)(case).exact)


@pytest.mark.parametrize("kind", [FGSM, PGD, APGD, NeRFool, Square])
def test_attacks_do_more_damage_than_noise_of_the_same_budget(kind: type[Attack]) -> None:
    case, victim = toy_case(), ToyVictim()
    options = {"alpha": 4 / 255} if kind is NeRFool else {"steps": 400} if kind is Square else {}
    noise = damage(RandomSign(victim)(case), victim, case)
    assert damage(short(kind, victim, **options)(case), victim, case) > noise


def test_damage_grows_with_epsilon() -> None:
    case, victim = toy_case(), ToyVictim()
    errors = [damage(short(PGD, victim, eps=e / 255)(case), victim, case) for e in (0, 1, 2, 4, 8, 16)]
    assert errors == sorted(errors)


def test_a_planted_weakness_is_found() -> None:
    """One photo counts a hundred times as much as the others: an attacker of one view must choose the view given to it and win by it."""
    case, victim = toy_case(), ToyVictim(trigger=1)
    result = short(PGD, victim)(case)
    direct = result.delta[1].abs().mean()
    assert direct > 0.8 * 8 / 255 * 0.8
    clean = damage(replace(result, images=case.photos), victim, case)
    assert damage(result, victim, case) > clean * 1.05


def test_apgd_is_at_least_as_strong_as_pgd_at_equal_steps() -> None:
    case, victim = toy_case(), ToyVictim()
    threat = ThreatModel(steps=40)
    judge = RayLoss(victim, case, case.targets[:1], threat, torch.Generator().manual_seed(9), rays=4096, fixed=True)
    one = replace(case, targets=case.targets[:1])
    fine = [float(judge(kind(victim, steps=40, rays=4096)(one).exact, 0)[0]) for kind in (APGD, PGD)]
    assert fine[0] >= fine[1] * 0.995


def test_only_as_many_views_change_as_the_threat_model_says() -> None:
    case = toy_case()
    changed = (short(PGD, ToyVictim(), views=1)(case).delta != 0).flatten(1).any(1)
    assert changed.sum() == 1
    assert bool(changed[case.order(case.targets[0])[0]])


def test_a_targeted_attack_brings_its_picture_nearer() -> None:
    case, victim = toy_case(), ToyVictim()
    picture = torch.rand(8, 8, 3, generator=torch.Generator().manual_seed(5))
    from attacks.objectives import fitted

    wanted = fitted(picture, 16, 16)

    def away(images: torch.Tensor) -> float:
        return float((victim.look(case, images).picture_.permute(1, 2, 0) - wanted).square().mean())

    result = Targeted(victim, steps=60, alpha=2 / 255, rays=128, picture=picture)(case)
    assert away(result.images) < away(case.photos)
    assert result.threat.targeted


def test_a_patch_changes_a_square_alone() -> None:
    case = toy_case()
    changed = (Patch(ToyVictim(), steps=20, rays=64, share=0.25)(case).delta != 0).any(1)
    for plane in changed:
        rows, columns = torch.nonzero(plane.any(1))[:, 0], torch.nonzero(plane.any(0))[:, 0]
        assert rows.max() - rows.min() < 4
        assert columns.max() - columns.min() < 4


def test_a_transplanted_change_keeps_its_budget_and_loses_its_aim() -> None:
    case, victim = toy_case(), ToyVictim()
    aimed = short(PGD, victim)(case)
    moved = Transplanted(victim, delta=aimed.delta)(case)
    assert float(moved.delta.abs().max()) <= 8 / 255 + 1e-6
    assert damage(moved, victim, case) < damage(aimed, victim, case)


def test_feature_only_leaves_the_clean_colours_to_be_blended() -> None:
    case, victim = toy_case(), ToyVictim()
    both, features = (short(PGD, victim, paths=p)(case) for p in ("both", "feature_only"))
    assert both.threat.paths == "both"
    assert features.threat.paths == "feature_only"
    assert not torch.equal(both.exact, features.exact)


def test_bad_input_is_refused_with_cause_and_remedy() -> None:
    case = toy_case()
    with pytest.raises(InputError, match="no gradients|has none that reach"):
        short(PGD, ToyVictim(gradients=False))(case)
    short(Square, ToyVictim(gradients=False))(case)
    with pytest.raises(InputError, match="needs the photo of the attacked view"):
        short(PGD, ToyVictim())(toy_case(truth=False))
    short(PGD, ToyVictim(), knowledge="render")(toy_case(truth=False))
    with pytest.raises(InputError, match="7 source views are to be changed"):
        short(PGD, ToyVictim(), views=7)(case)
    with pytest.raises(InputError, match="no photographed views to learn from"):
        short(UniversalNeRFool, ToyVictim())(replace(case, proxies=()))
    with pytest.raises(InputError, match="needs the picture"):
        Targeted(ToyVictim())(case)
    with pytest.raises(InputError, match="linf"):
        short(Square, ToyVictim(), norm="l2")(case)
    with pytest.raises(InputError, match="cannot be attacked"):
        PGD(42)(case)


def drained(work):
    """All steps of a generator, then its value."""
    out = []
    while True:
        try:
            out.append(next(work))
        except StopIteration as end:
            return [*out, end.value]
