"""The general engine: symmetries that must hold for any weights, the truth injected, the shipped weights, bad input."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from data.cameras import Cameras, look_at
from data.errors import InputError
from data.progress import Progress
from data.readers import read_scene
from data.readers.nerfstudio import read as read_transforms
from recon.engines import load_field
from recon.fields import Rays, image_rays
from recon.general.detail import Detail
from recon.general.engine import ConditionOptions, GeneralModel
from recon.general.marching import crossings, resample, surface_weights, to_coordinate, to_distance
from recon.general.overlap import Overlap
from recon.general.photos import known_ranges, photo_tensor, stated_ranges
from recon.general.sources import Sources
from recon.general.tuning import TuneOptions, Tuner
from recon.general.validation import sample_psnr
from recon.general.views import corner_cosine, quarter_turns, turned
from recon.general.weights import SHIPPED, load_network, read_card
from recon.metrics import psnr
from recon.options import ReconstructOptions, Task
from recon.pictures import render_picture
from recon.pipeline import overall, reconstruct
from recon.surface.asset import load_asset
from recon.surface.options import SurfaceOptions
from tests.conftest import SAMPLE, drain, ring_of_cameras, sphere_picture, write_sphere_scene

OPTIONS = ConditionOptions(neighbours=3, sources=4, side=96)


@pytest.fixture(scope="module")
def model() -> GeneralModel:
    return GeneralModel.from_pretrained(options=OPTIONS)


def small_scene(count: int = 5, size: tuple[int, int] = (96, 72)) -> tuple[list[torch.Tensor], Cameras, np.ndarray]:
    """Neighbouring photos of the bundled sample, shrunk."""
    scene = read_scene(SAMPLE, Path("unused")).select(range(count))
    images = [torch.nn.functional.interpolate(photo_tensor(scene, i)[None], size[::-1], mode="bilinear", antialias=True)[0] for i in range(count)]
    cameras = scene.posed().resized(np.tile(size, (count, 1)))
    distance = np.linalg.norm(cameras.centers, axis=1)
    return images, cameras, np.stack([0.4 * distance, 2.5 * distance], axis=1)


@pytest.fixture(scope="module")
def scene() -> tuple[list[torch.Tensor], Cameras, np.ndarray]:
    return small_scene()


def some_rays(cameras: Cameras, view: int, step: int = 37) -> Rays:
    rays = image_rays(cameras, view)
    return rays[torch.arange(0, len(rays), step)]


@torch.no_grad()
@pytest.mark.parametrize("count", [2, 4, 16])
def test_the_order_of_the_views_changes_nothing(model, count: int) -> None:
    """However many there are."""
    images, cameras, ranges = small_scene(1 + count)
    rays = some_rays(cameras, 0)
    looking = GeneralModel(model.network, replace(OPTIONS, sources=count))
    order = [1 + int(i) for i in torch.randperm(count, generator=torch.Generator().manual_seed(1))]
    assert order != sorted(order)
    one = looking.condition(images[1:], cameras.select(range(1, 1 + count)), ranges[1:]).render(rays)
    two = looking.condition([images[i] for i in order], cameras.select(order), ranges[order]).render(rays)
    assert torch.allclose(one.rgb, two.rgb, atol=2e-3)
    assert torch.allclose(one.depth, two.depth, rtol=5e-3)


@torch.no_grad()
def test_moving_and_scaling_the_world_changes_nothing_but_scale(model, scene) -> None:
    images, cameras, ranges = scene
    scale, shift = 37.0, np.array([400.0, -90.0, 12.0])
    rotation = look_at(np.array([1.0, 2.0, 0.5]), np.zeros(3), np.array([0.3, 0.1, 1.0]))[:3, :3]
    similarity = np.eye(4)
    similarity[:3, :3], similarity[:3, 3] = scale * rotation, shift
    moved = cameras.moved(similarity)
    one = model.condition(images[1:], cameras.select([1, 2, 3, 4]), ranges[1:]).render(some_rays(cameras, 0))
    two = model.condition(images[1:], moved.select([1, 2, 3, 4]), scale * ranges[1:]).render(some_rays(moved, 0))
    close = (one.depth * scale - two.depth).abs() <= 5e-3 * two.depth
    assert close.float().mean() > 0.99
    assert torch.allclose(one.rgb, two.rgb, atol=1e-2)


@torch.no_grad()
def test_turning_the_photos_changes_nothing(model, scene) -> None:
    """Photos held upright, on their side and upside down are turned back before the model looks."""
    images, cameras, ranges = scene
    turns = np.array([0, 0, 1, 2, 0])
    rotated = turned(cameras, turns)
    pictures = [torch.rot90(image, int(t), (1, 2)) for image, t in zip(images, turns, strict=True)]
    assert ((quarter_turns(rotated) + turns) % 4 == 0).all()
    one, two = model.condition(images, cameras, ranges), model.condition(pictures, rotated, ranges)
    for i, turn in enumerate(turns):
        assert np.allclose(one.depth(i)[0], np.rot90(two.depth(i)[0], -int(turn)), rtol=1e-3)


def test_turned_cameras_send_the_same_rays() -> None:
    cameras = ring_of_cameras(4, 48)
    cameras = replace(cameras, intrinsics=cameras.intrinsics + np.array([[0, 0, 3.0], [0, 5.0, -2.0], [0, 0, 0]]), sizes=np.tile([48, 40], (4, 1)))
    point = np.array([[0.3, -0.2, 0.1]])
    for count in range(4):
        other = turned(cameras, np.full(4, count))
        for i in range(4):
            (x, y), _ = cameras.project(i, point)[0][0], None
            width, height = cameras.sizes[i]
            for _ in range(count):
                x, y, width, height = y, width - x, height, width
            assert np.allclose(other.project(i, point)[0][0], [x, y])


def test_weights_sum_to_one_and_gradients_reach_the_photos(model, scene) -> None:
    images, cameras, ranges = scene
    inputs = [image.clone().requires_grad_() for image in images[1:]]
    field = model.condition(inputs, cameras.select([1, 2, 3, 4]), ranges[1:])
    rays = some_rays(cameras, 0, 97)
    views = field.nearest_views(cameras.centers[0], cameras.forwards[0], 0.8)
    near, far = field._range(rays)
    traced = field.trace(rays, views, near, far)
    assert torch.allclose(traced.blend.sum(-1), torch.ones(traced.blend.shape[:2]), atol=1e-5)
    assert torch.allclose(traced.weights.sum(-1), torch.ones(len(rays)), atol=1e-3)
    assert (traced.blend >= 0).all()
    field.render(rays).rgb.sum().backward()
    assert all(i.grad is not None and i.grad.abs().sum() > 0 for i in inputs)


@torch.no_grad()
def test_overlap_counts_what_views_see() -> None:
    """Three views from one place: at the points, at a wall before them, and the other way."""
    pose = torch.eye(4).repeat(3, 1, 1)
    pose[2, :3, :3] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    k = torch.tensor([[8.0, 0, 8], [0, 8, 8], [0, 0, 1]]).repeat(3, 1, 1)
    surface = torch.zeros(1, 3, 8, 8, 6)
    surface[0, :, :, :, 0] = torch.tensor([1 / 2, 1 / 0.5, 1 / 2])[:, None, None]
    empty = torch.zeros(1, 3, 8, 8, 4)
    sources = Sources(
        torch.zeros(1, 3, 3, 16, 16), empty, empty, surface, k[None], pose[None], torch.full((1, 3, 2), 16.0), torch.ones(1, 3, dtype=torch.bool)
    )
    around = torch.rand(400, 2, generator=torch.Generator().manual_seed(0)) * 6 - 3
    points = torch.cat([around, torch.full((400, 1), 2.0)], dim=1)
    overlap = Overlap.of(sources, points)
    ahead = np.array([0.0, 0.0, 1.0])
    assert overlap.shares(np.zeros(3), ahead, 0.9).tolist() == [1, 0, 0]
    aside = float(overlap.shares(np.zeros(3), ahead, 0.0)[0])
    assert aside == pytest.approx(float((around.abs() < 2).all(1).float().mean()))
    assert overlap.shares(np.zeros(3), -ahead, 0.9).tolist() == [1, 1, 1]  # nothing there: no share is taken


@torch.no_grad()
def test_views_that_see_the_target_come_first(model, scene) -> None:
    """Of the two neighbours on either side, the one that sees the target."""
    images, cameras, ranges = scene
    field = GeneralModel(model.network, replace(OPTIONS, sources=2)).condition(images, cameras, ranges)
    place = (cameras.centers[2], cameras.forwards[2], corner_cosine(cameras, 2))
    itself, second = (int(v) for v in field.nearest_views(*place))
    assert itself == 2
    overlap = field._overlap()
    assert overlap.shares((place[0] - field.origin) / field.scale, *place[1:])[2] > 0.7  # the cone reaches beyond the picture
    field._seen = replace(overlap, seen=np.tile(np.arange(5) != second, (len(overlap.points), 1)))
    assert second not in field.nearest_views(*place)
    assert 2 not in field.nearest_views(*place, leave_out=2)


@torch.no_grad()
def test_colours_are_blends_of_the_photos(model, scene) -> None:
    """Uniform photos can only give their own colour."""
    _, cameras, ranges = scene
    color = torch.tensor([0.2, 0.5, 0.8])
    images = [color[:, None, None].expand(3, 72, 96).contiguous() for _ in range(4)]
    rgb = model.condition(images, cameras.select([1, 2, 3, 4]), ranges[1:]).render(some_rays(cameras, 0)).rgb
    assert torch.allclose(rgb, color.expand_as(rgb), atol=1e-3)


def test_the_true_distance_gives_the_exact_depth() -> None:
    """Marching with the signed distance of a sphere injected finds its surface."""
    angle = torch.linspace(0, 0.3, 40)
    origin, direction = torch.tensor([0.0, 0.0, -3.0]), torch.stack([angle.sin(), torch.zeros(40), angle.cos()], dim=-1)
    near, far = torch.full((40, 1), 1.0), torch.full((40, 1), 8.0)

    def signed(s: torch.Tensor) -> torch.Tensor:
        return (origin + direction[:, None] * to_distance(s, near, far)[..., None]).norm(dim=-1) - 1

    coarse = ((torch.arange(48) + 0.5) / 48).expand(40, 48)
    weights = surface_weights(signed(coarse), torch.tensor(60.0))
    fine = resample(weights, coarse, 24, jitter=False)
    fine = torch.cat([fine, torch.ones(40, 1)], dim=1)
    weights = surface_weights(signed(fine), torch.tensor(2000.0))
    where, _ = crossings(signed(fine), fine)
    depth = to_distance((weights * where).sum(1, keepdim=True), near, far)[:, 0]
    b = direction @ -origin
    exact = b - torch.sqrt(b * b - 8)
    assert torch.allclose(depth, exact, rtol=2e-3)
    assert torch.allclose(to_coordinate(to_distance(fine, near, far), near, far), fine, atol=1e-5)


@torch.no_grad()
@pytest.mark.slow
def test_shipped_weights_find_the_sphere() -> None:
    """Depth of a patterned sphere, and the sign and size of the distance around it."""
    cameras = ring_of_cameras(10, 160, 3.0)
    views = [0, 1, 2, 9, 8]
    images = [torch.from_numpy(sphere_picture(cameras, i)[0]).permute(2, 0, 1).float() / 255 for i in views]
    chosen = cameras.select(views)
    field = GeneralModel.from_pretrained(options=ConditionOptions(side=320)).condition(images, chosen, np.tile([1.2, 5.0], (5, 1)))
    truth = sphere_picture(cameras, 0)[2]
    depth, _ = field.depth(0)
    middle = truth > 0
    middle[:40] = middle[-40:] = middle[:, :40] = middle[:, -40:] = False
    error = np.abs(depth[middle] - truth[middle]) / truth[middle]
    assert np.median(error) < 0.03
    toward = cameras.centers[0] / np.linalg.norm(cameras.centers[0])
    radii = torch.tensor([0.9, 0.97, 1.03, 1.1])
    signed = field.sdf(radii[:, None] * torch.from_numpy(toward).float())
    # Behind a surface nothing is seen: only that it is behind.
    assert (signed[1:].diff() > 0).all()
    assert signed[0] < signed[2]
    assert field.density((1.3 * torch.from_numpy(toward).float())[None]) < field.density((0.97 * torch.from_numpy(toward).float())[None])


@torch.no_grad()
@pytest.mark.slow
def test_the_shipped_weights_reach_the_figure_of_their_card() -> None:
    card = read_card(SHIPPED)
    assert SHIPPED.stat().st_size < 8_000_000
    assert sum(p.numel() for p in load_network().parameters()) < 4_000_000
    assert card["licence"] == "Apache-2.0"
    assert sample_psnr(load_network()) > card["sample_psnr"] - 0.2


def test_bad_views_are_named(model, scene) -> None:
    images, cameras, ranges = scene
    with pytest.raises(InputError, match="at least 2"):
        model.condition(images[:1], cameras.select([0]), ranges[:1])
    with pytest.raises(InputError, match="same place"):
        model.condition(images[:2], cameras.select([0, 0]), ranges[:2])
    with pytest.raises(InputError, match=r"Image 1 has 48 x 72 pixels, its camera 96 x 72"):
        model.condition([images[0], images[1][:, :, :48]], cameras.select([0, 1]), ranges[:2])
    with pytest.raises(InputError, match="one camera for each image"):
        model.condition(images[:3], cameras.select([0, 1]), ranges[:2])
    bent = replace(cameras, lenses=("opencv",) * 5, distortion=np.full((5, 8), 0.1))
    with pytest.raises(InputError, match="Undistort"):
        model.condition(images, bent, ranges)


@torch.no_grad()
def test_a_camera_that_looks_away_from_everything_is_refused(model, scene) -> None:
    images, cameras, ranges = scene
    field = model.condition(images[1:], cameras.select([1, 2, 3, 4]), ranges[1:])
    away = cameras.select([0])
    away.camera_to_world[0, :3, [0, 2]] *= -1
    with pytest.raises(InputError, match="see nothing of what this camera looks at"):
        field.render(some_rays(away, 0))


def test_weights_of_another_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="card"):
        load_network(tmp_path / "none.safetensors")
    (tmp_path / "old.safetensors").write_bytes(SHIPPED.read_bytes())
    card = json.loads(SHIPPED.with_suffix(".json").read_text())
    (tmp_path / "old.json").write_text(json.dumps(card | {"version": 0}))
    with pytest.raises(InputError, match="version 0"):
        load_network(tmp_path / "old.safetensors")
    (tmp_path / "old.json").write_text(json.dumps(card | {"model": card["model"] | {"token": 64}}))
    with pytest.raises(InputError, match="do not fit"):
        load_network(tmp_path / "old.safetensors")
    (tmp_path / "old.json").write_text(json.dumps(card))
    (tmp_path / "old.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        load_network(tmp_path / "old.safetensors")


@pytest.fixture(scope="module")
def reconstructed(tmp_path_factory) -> tuple[Path, dict]:
    """The whole job with the general engine, tuned for a moment."""
    folder = tmp_path_factory.mktemp("general")
    write_sphere_scene(folder / "sphere", views=10, size=112, masks=False)
    options = ReconstructOptions(
        engine="general", quality="draft", device="cpu", turntable=False, tune="10s",
        surface=SurfaceOptions(resolution=48, depth_side=96, faces=2000, texture=128),
    )  # fmt: skip
    report = drain(reconstruct(Task(folder / "sphere", folder / "out", options, hold_out=6)))
    return folder / "out", report


@pytest.mark.slow
def test_photos_to_mesh_with_nothing_trained_before(reconstructed) -> None:
    out, report = reconstructed
    assert report["engine"] == "general"
    assert "train" not in report["seconds"]
    assert report["quality"]["psnr"] > 17
    vertices = load_asset(out / "mesh.glb").mesh.vertices
    radius = np.linalg.norm(vertices, axis=1)
    assert abs(np.median(radius) - 1) < 0.05
    shares = [overall(Progress(stage, 1.0), "general") for stage in ("read", "look", "tune", "evaluate", "texture", "turntable")]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


@pytest.mark.slow
def test_tuning_helps_and_comes_back_from_disk(reconstructed) -> None:
    out, report = reconstructed
    tuning = report["tuning"]
    assert tuning["held_out"]
    assert tuning["steps"] > 3
    assert tuning["psnr_after"] > tuning["psnr_before"] - 0.3
    field = load_field(out)
    scene = read_transforms(out)
    with torch.no_grad():
        image = render_picture(field, scene.posed(), 0, field.near).rgb.numpy()
    truth = scene.image(0).astype(np.float32) / 255
    assert psnr(image, truth) == pytest.approx(report["quality"]["held_out"][0]["psnr"], abs=0.15)


def test_a_box_without_silhouettes_leaves_room_for_what_stands_behind() -> None:
    """Rays that pass a subject must not end at the back of its box: photos from the side show the subject there."""
    plain = replace(read_scene(SAMPLE, SAMPLE).select(range(3)), points=None, near_far=None, box=None)
    assert known_ranges(plain) is None
    cameras = plain.posed()
    distance = float(np.linalg.norm(cameras.centers, axis=1).mean())
    boxed = replace(plain, box=0.08 * distance * np.array([[-1.0, -1, -1], [1, 1, 1]]))
    tight, known = stated_ranges(boxed), known_ranges(boxed)
    assert tight is not None
    assert known is not None
    assert (known[:, 0] < 0.85 * tight[:, 0]).all()
    assert (known[:, 1] > 1.9 * tight[:, 1]).all()
    wide = replace(plain, box=0.7 * distance * np.array([[-1.0, -1, -1], [1, 1, 1]]))
    assert known_ranges(wide) is None  # searched instead


@torch.no_grad()
def test_untrained_details_change_nothing_and_trained_ones_survive_storage(model, scene) -> None:
    """The hash grid of tuning starts as nothing; once it says something, colours and distances follow, from a copy too."""
    images, cameras, ranges = scene
    field = model.condition(images[1:], cameras.select([1, 2, 3, 4]), ranges[1:])
    rays = some_rays(cameras, 0)
    before, points = field.render(rays), torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 0.3
    signed = field.sdf(points)
    field.make_own()
    detail = field.model.network.detail = Detail.around(field._points(), 0.01)
    assert torch.equal(field.render(rays).rgb, before.rgb)
    assert torch.equal(field.sdf(points), signed)
    detail.shape[-1].bias[0] += 0.5
    detail.color[-1].bias += 0.1
    moved = field.render(rays)
    assert (moved.rgb - before.rgb).mean() > 0.05
    assert (field.sdf(points) > signed).all()
    field.model.network.detail = Detail.stored(detail.state_dict())
    assert torch.equal(field.render(rays).rgb, moved.rgb)


@pytest.mark.parametrize("helps", [True, False])
def test_photos_kept_aside_are_trained_on_once_tuning_has_helped_them(model, scene, monkeypatch, helps: bool) -> None:
    """Else they go on deciding, a few times in all, and what was best for them comes back."""
    images, cameras, ranges = scene
    tuner = Tuner(model.condition(images, cameras, ranges), read_scene(SAMPLE, SAMPLE).select(range(5)), TuneOptions(seconds=0.5))
    asked: list[int] = []
    clock = [0.0]

    def checked(_: Tuner) -> float:
        asked.append(1)
        return 20.0 + (len(asked) if helps else -len(asked))

    def step(this: Tuner) -> float:
        with torch.no_grad():
            this.change += 0.001
        clock[0] += 0.005
        return 0.0

    monkeypatch.setattr("recon.general.tuning.time", SimpleNamespace(perf_counter=lambda: clock[0]))
    monkeypatch.setattr(Tuner, "_checked", checked)
    monkeypatch.setattr(Tuner, "_step", step)
    drain(tuner.tune())
    assert tuner.trained == ([0, 1, 2, 3, 4] if helps else [0, 1, 3, 4])
    assert bool((tuner.change > 0).all()) == helps
    assert len(asked) == (4 if helps else 7)


def test_tuning_needs_a_third_photo(model, scene) -> None:
    images, cameras, ranges = scene
    field = model.condition(images[:2], cameras.select([0, 1]), ranges[:2])
    with pytest.raises(InputError, match="at least 3"):
        Tuner(field, read_scene(SAMPLE, SAMPLE).select([0, 1]), TuneOptions(seconds=1.0))


@pytest.mark.parametrize(("channels", "out", "shape"), [(5, 8, (4, 12, 16)), (8, 1, (3, 5, 7))])
def test_volume_convolutions_have_pytorchs_gradients(channels: int, out: int, shape: tuple[int, int, int]) -> None:
    from recon.general.layers import Conv3d

    torch.manual_seed(0)
    layer = Conv3d(channels, out, 3, padding=1)
    one = torch.randn(2, channels, *shape).requires_grad_()
    two = one.detach().clone().requires_grad_()
    fast, slow = layer(one), torch.nn.functional.conv3d(two, layer.weight, layer.bias, padding=1)
    assert torch.allclose(fast, slow, atol=1e-5)
    push = torch.randn_like(fast)
    mine = torch.autograd.grad((fast * push).sum(), [one, layer.weight, layer.bias])
    theirs = torch.autograd.grad((slow * push).sum(), [two, layer.weight, layer.bias])
    for a, b in zip(mine, theirs, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("follow", [0.0, 1.0])
def test_gradients_pass_through_the_cascade_if_asked(model: GeneralModel, scene, follow: float) -> None:
    """With `follow`, the finest depth answers to the coarsest volume's features; the depths themselves are the same."""
    images, cameras, ranges = scene
    network = model.network
    features = [f.detach() for f in network.encode(torch.stack(images)[..., :64, :64])]
    k, pose = torch.from_numpy(cameras.intrinsics), torch.from_numpy(cameras.camera_to_world)
    near, far = (torch.tensor([v], dtype=torch.float32) for v in ranges[0])
    leaf = features[0].clone().requires_grad_()
    views = torch.tensor([0]), torch.tensor([[1, 2, 3]])
    levels = network.volumes((leaf, features[1], features[2]), k, pose, *views, near, far, follow)
    again = network.volumes((leaf, features[1], features[2]), k, pose, *views, near, far, 1 - follow)
    assert torch.equal(levels[-1].inverse_depth, again[-1].inverse_depth)
    assert levels[-1].inverse_depth.requires_grad == bool(follow)
    if follow:
        assert bool((torch.autograd.grad(levels[-1].inverse_depth.sum(), leaf)[0] != 0).any())


def test_visibility_has_the_gradient_of_the_best_bin(model: GeneralModel) -> None:
    """What is looked at without a gradient would have had none: the same as the largest score of all bins, values and gradients."""
    cascade = model.network.cascade
    values = torch.randn(1, 2, 6, 5, 4, cascade.options.groups[0]).requires_grad_()
    seen = (torch.rand(1, 2, 6, 5, 4) < 0.8).float()
    ours = cascade._visible(values, seen)
    plain = torch.sigmoid((cascade.visibility(values)[..., 0] - 20 * (1 - seen)).amax(2)).clamp(min=0.01)
    assert torch.allclose(ours, plain, atol=1e-6)
    weight = torch.randn_like(plain)
    a, b = (torch.autograd.grad((x * weight).sum(), values)[0] for x in (ours, plain))
    assert torch.allclose(a, b, atol=1e-6)


def test_visibility_learns_in_half_precision() -> None:
    """Looking without a gradient first must not cost the weights theirs (autocast remembers what it cast)."""
    cascade = GeneralModel.from_pretrained(options=OPTIONS).network.cascade
    cascade.visibility.requires_grad_(True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cascade._visible(torch.randn(1, 2, 6, 5, 4, cascade.options.groups[0]), torch.ones(1, 2, 6, 5, 4)).sum().backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in cascade.visibility.parameters())


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))])
def test_rays_come_back_to_the_cpu_unless_a_gradient_is_wanted(scene, device: str) -> None:
    """Depth maps and held-out views are made where gradients are allowed, but nobody wants any."""
    images, cameras, ranges = scene
    model = GeneralModel.from_pretrained(device=device)
    assert model.condition(images[1:], cameras.select([1, 2, 3, 4]), ranges[1:]).render(some_rays(cameras, 0)).depth.device.type == "cpu"
    leaves = [image.clone().to(device).requires_grad_() for image in images[1:]]
    assert model.condition(leaves, cameras.select([1, 2, 3, 4]), ranges[1:]).render(some_rays(cameras, 0)).rgb.device.type == device
