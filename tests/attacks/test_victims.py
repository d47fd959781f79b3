"""Victims behind the protocol: gradients are right, branches can be swapped, poses can be moved, files are read back as written."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks import PGD, PoseAttack
from attacks.camera import motions
from attacks.case import Case, prepared, read_case, read_cases, read_universal
from attacks.objectives import RayLoss
from attacks.sanity import promise_kept
from attacks.threat import ThreatModel
from attacks.victims.density import DensityVictim
from attacks.victims.files import written
from attacks.victims.general import GeneralVictim
from attacks.victims.hashgrid import FieldVictim, HashGridVictim
from attacks.victims.protocol import clean_look
from attacks.victims.sfm import pose_errors, poses_survive, umeyama
from data.errors import InputError
from data.readers import read_scene
from data.scene import Scene
from recon.metrics import psnr
from tests.conftest import SAMPLE, ring_of_cameras


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return prepared(read_scene(SAMPLE, SAMPLE), 96, tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def case(scene: Scene) -> Case:
    return read_cases(scene, 5, 8, 1)[0]


@pytest.fixture(scope="module")
def general() -> GeneralVictim:
    return GeneralVictim.load(side=96)


def loss_of(victim, case: Case, rays: int = 512) -> RayLoss:
    return RayLoss(victim, case, case.targets, ThreatModel(), torch.Generator().manual_seed(0), rays=rays, fixed=True)


@pytest.mark.parametrize("kind", ["general", "density"])
def test_gradients_say_what_the_loss_does(kind: str, case: Case, general: GeneralVictim) -> None:
    victim = general if kind == "general" else DensityVictim.load(side=96)
    objective = loss_of(victim, case)
    assert 0.2 < promise_kept(lambda x: objective(x, 0)[0], case.photos) < 5


def test_both_engines_of_the_bench_render_the_sample(case: Case, general: GeneralVictim) -> None:
    target = case.targets[0]
    for victim, least in ((general, 19.0), (DensityVictim.load(side=96), 17.0)):
        picture = clean_look(victim, case).picture(target)
        assert psnr(picture.rgb.numpy(), target.truth.numpy()) > least
        assert (picture.depth > 0).float().mean() > 0.6


def test_the_look_of_the_clean_photos_is_the_products_own_render(case: Case, general: GeneralVictim) -> None:
    from recon.general.photos import condition_scene
    from recon.pictures import render_picture

    target = case.targets[0]
    assert case.scene is not None
    field = condition_scene(general.model, case.scene)
    with torch.no_grad():
        product = render_picture(field, target.camera, 0)
    ours = clean_look(general, case).picture(target)
    assert torch.allclose(product.rgb, ours.rgb, atol=1e-4)
    assert torch.allclose(product.depth, ours.depth, rtol=1e-4)


def test_swapping_all_branches_gives_the_other_look(case: Case, general: GeneralVictim) -> None:
    changed = PGD(general, steps=2, rays=128)(case).images
    clean = clean_look(general, case)
    with torch.no_grad():
        look = general.look(case, changed, clean)
    target = case.targets[0]
    whole = look.swapped(clean, {"features", "volumes", "colors"}).picture(target).rgb
    assert torch.allclose(whole, clean.picture(target).rgb, atol=1e-5)
    assert torch.allclose(look.swapped(clean, set()).picture(target).rgb, look.picture(target).rgb, atol=1e-5)
    shape = look.shape_of(clean).picture(target)
    assert torch.allclose(shape.depth, clean.picture(target).depth, rtol=1e-5)


def test_feature_only_blends_the_clean_colours(case: Case, general: GeneralVictim) -> None:
    black = torch.zeros_like(case.photos)
    with torch.no_grad():
        look = general.look(case, case.photos, None, black)
    assert float(look.picture(case.targets[0]).rgb.max()) < 0.02


def test_refreshing_in_turns_ends_where_refreshing_all_does(case: Case, general: GeneralVictim) -> None:
    """After every view had its turn, features and surfaces are those of a whole look (but for neighbours that changed meanwhile: none here)."""
    changed = (case.photos + 0.02).clamp(0, 1)
    lazy = GeneralVictim(general.model, refreshed=1)
    like = clean_look(lazy, case)
    for _ in range(2 * len(case)):
        look = lazy.look(case, changed.clone().requires_grad_(), like)
    with torch.no_grad():
        whole = general.look(case, changed, clean_look(general, case))
    for name in ("images", "quarter", "half", "surface"):
        assert torch.allclose(getattr(look.field.sources, name).detach(), getattr(whole.field.sources, name), atol=2e-3), name


def test_motions_are_rigid_and_zero_is_none() -> None:
    turn, shift = torch.randn(4, 3) * 0.1, torch.randn(4, 3)
    m = motions(turn, shift)
    assert torch.allclose(m[:, :3, :3] @ m[:, :3, :3].transpose(1, 2), torch.eye(3).expand(4, 3, 3), atol=1e-5)
    assert torch.allclose(m[:, :3, 3], shift)
    assert torch.allclose(motions(torch.zeros(4, 3), torch.zeros(4, 3)), torch.eye(4).expand(4, 4, 4))


def test_a_pose_attack_beats_random_motions_of_its_size(case: Case, general: GeneralVictim) -> None:
    target = case.targets[0]

    def error(attack: PoseAttack) -> float:
        result = attack(case)
        assert torch.equal(result.images, case.photos)
        assert result.motion is not None
        turn = torch.linalg.norm(result.motion[:, :3, :3] - torch.eye(3), dim=(1, 2))
        assert float(turn.max()) < 2.5 * np.radians(2.0)
        with torch.no_grad():
            picture = general.look_from(case, case.photos, moved=result.motion).picture(target)
        return -psnr(picture.rgb.numpy(), target.truth.numpy())

    assert error(PoseAttack(general, steps=8, degrees=1.0, rays=256)) > error(PoseAttack(general, degrees=1.0, random=True))


def test_any_field_conditioned_on_images_can_be_attacked(case: Case, general: GeneralVictim) -> None:
    """The generic victim takes a function from photos and cameras to a field."""
    victim = FieldVictim(lambda images, cameras: general.model.condition(images, cameras, case.near_far, within=case.within), torch.device("cpu"))
    result = PGD(victim, steps=1, rays=64)(case)
    assert result.largest_gradients[0] > 0


def test_changed_photos_are_written_to_the_last_bit(case: Case, tmp_path: Path) -> None:
    changed = (torch.round(case.photos * 255 + 3).clamp(0, 255)) / 255
    scene = written(case, changed, tmp_path)
    again = torch.stack([torch.from_numpy(scene.image(i).copy()).permute(2, 0, 1).float() / 255 for i in range(len(scene))])
    assert torch.equal(again, changed)
    with pytest.raises(InputError, match="no scene on disk"):
        written(replace(case, scene=None), changed, tmp_path)


def test_pose_errors_are_blind_to_similarities_and_see_the_rest() -> None:
    from scipy.spatial.transform import Rotation

    truth = ring_of_cameras(8)
    similarity = np.eye(4)
    similarity[:3, :3] = 2.5 * Rotation.random(random_state=0).as_matrix()
    similarity[:3, 3] = [3, -1, 2]
    rotation, position = pose_errors(truth.moved(similarity), truth)
    assert rotation == pytest.approx(0, abs=1e-4)
    assert position == pytest.approx(0, abs=1e-9)
    wrong = truth.camera_to_world.copy()
    wrong[0, :3, 3] += 1.0
    assert pose_errors(replace(truth, camera_to_world=wrong), truth)[1] > 0.05
    scale, turn, shift = umeyama(truth.centers, 2 * truth.centers + 1)
    assert scale == pytest.approx(2)
    assert np.allclose(turn, np.eye(3), atol=1e-9)
    assert np.allclose(shift, 1)


def test_cases_keep_targets_out_of_the_sources(scene: Scene) -> None:
    for made in [*read_cases(scene, 6, 8), read_universal(scene, 6, 8)]:
        assert not set(made.names) & {t.name for t in made.targets}
        assert len(made) == 6
    with pytest.raises(InputError, match="no view 99"):
        read_case(scene, [99])
    with pytest.raises(InputError, match="Hold out fewer"):
        read_case(scene, [0], held_out=range(1, len(scene) - 1))


def test_photos_of_several_sizes_share_a_tensor(scene: Scene, general: GeneralVictim) -> None:
    made = read_cases(scene, 4, 8, 1)[0]
    small = made.photos.clone()
    small[1, :, :, 80:] = 0
    sizes = made.cameras.sizes.copy()
    sizes[1, 0] = 80
    mixed = replace(made, photos=small, cameras=replace(made.cameras, sizes=sizes), looks={})
    result = PGD(general, steps=1, rays=64)(mixed)
    assert float(result.delta[1, :, :, 80:].abs().max()) == 0
    assert float(result.delta[1, :, :, :80].abs().max()) > 0


@pytest.mark.slow
def test_the_hash_grid_engine_is_trained_on_the_changed_photos(case: Case) -> None:
    """A black box: it has no gradients to follow, and its render turns dark where the photos are."""
    victim, target = HashGridVictim(torch.device("cpu"), steps=60), case.targets[0]
    with pytest.raises(InputError, match="black-box"):
        PGD(victim)(case)
    clean = clean_look(victim, case).picture(target)  # as the bench looks: without gradients
    assert psnr(clean.rgb.numpy(), target.truth.numpy()) > 13
    dark = victim.look(case, torch.round(case.photos * 0.5 * 255) / 255).picture(target)
    assert float(dark.rgb.mean()) < 0.75 * float(clean.rgb.mean())


@pytest.mark.slow
def test_poses_are_estimated_from_the_changed_photos(shared_scenes: Path, tmp_path: Path) -> None:
    root = shared_scenes / "llff_fern"
    fern = prepared(read_scene(root, root), 320, tmp_path)
    case = read_case(fern, [10], 8)
    good = poses_survive(case, case.photos)
    assert good.registered >= 6
    assert good.rotation is not None
    assert good.rotation < 5
    noise = torch.rand(case.photos.shape, generator=torch.Generator().manual_seed(0))
    assert poses_survive(case, torch.round(noise * 255) / 255).registered < good.registered
