"""Procedural worlds: the same everywhere, and the truth they state is true."""

import numpy as np
import pytest
import torch

from data.worlds import layout as L
from data.worlds.bank import join, make_bank
from data.worlds.degrade import degrade, jpeg_like, recolor, shaken
from data.worlds.generate import make_world
from data.worlds.options import DegradeOptions
from data.worlds.renderer import distances, render

SEEDS = (3, 4, 5, 6)


@pytest.fixture(scope="module")
def bank():
    return make_bank(SEEDS, 48, 32, views=4, samples=1)


def test_a_seed_gives_the_same_world_and_pictures(bank) -> None:
    again = make_bank(SEEDS, 48, 32, views=4, samples=1)
    assert torch.equal(bank.rgb, again.rgb)
    assert torch.equal(bank.depth, again.depth)
    assert torch.equal(bank.cameras, again.cameras)


def test_a_world_does_not_depend_on_its_neighbours_in_the_bank(bank) -> None:
    single = make_bank([bank.seeds[-1]], 48, 32, views=4, samples=1)
    assert torch.equal(single.rgb[0], bank.rgb[-1])
    twice = join([single, single])
    assert torch.equal(twice.cameras[1, :, L.CAMERA_WORLD], torch.ones(4))


def surface_points(bank):
    """Points where the pixels' rays end, their worlds and normals."""
    cameras = bank.cameras.reshape(-1, L.CAMERA)
    pictures = render(bank.worlds, cameras, 48, 32, 1)
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(48) + 0.5, indexing="ij")
    k = cameras[:, None, None]
    local = torch.stack([(x - k[..., L.CAMERA_CX]) / k[..., L.CAMERA_FX], (y - k[..., L.CAMERA_CY]) / k[..., L.CAMERA_FY], torch.ones_like(x).expand(len(cameras), -1, -1)], -1)
    local = local / local.norm(dim=-1, keepdim=True)
    direction = torch.einsum("nij,nhwj->nhwi", cameras[:, :9].view(-1, 3, 3), local)
    points = cameras[:, None, None, 9:12] + direction * pictures.depth[..., None]
    hit = (pictures.depth > 0) & (pictures.depth < 10)
    world = cameras[:, None, None, L.CAMERA_WORLD].long().expand(hit.shape)
    return points[hit], world[hit], pictures.normal[hit], direction[hit], pictures.depth[hit]


def test_depth_normals_and_signed_distance_agree(bank) -> None:
    points, world, normal, direction, depth = surface_points(bank)
    assert len(points) > 2000
    at_surface = distances(bank.worlds, world, points)
    # The tracer stops within 0.0003 of the depth in front of a surface.
    assert (at_surface.abs() < 0.0006 * depth + 0.0006).float().mean() > 0.99
    step = 0.01
    outside = distances(bank.worlds, world, points + step * normal)
    inside = distances(bank.worlds, world, points - step * normal)
    assert ((outside - step).abs() < 0.3 * step).float().mean() > 0.85
    assert (inside < 0).float().mean() > 0.9
    assert torch.allclose(normal.norm(dim=-1), torch.ones(len(normal)), atol=1e-3)
    assert ((normal * direction).sum(-1) < 0.1).float().mean() > 0.99  # seen surfaces face the camera


def test_cameras_stand_free(bank) -> None:
    places = bank.cameras[:, :, 9:12].reshape(-1, 3)
    assert (distances(bank.worlds, bank.cameras[:, :, L.CAMERA_WORLD].reshape(-1).long(), places) > 0).float().mean() > 0.95


def test_objects_stay_inside_the_spheres_that_let_rays_skip_them() -> None:
    """The one assumption of the renderer's shortcut: outside an object's sphere none of its points is solid."""
    g = np.random.default_rng(0)
    for seed in range(12):
        draft = make_world(seed)
        header, objects, primitives, materials = draft.tables()
        header = header.copy()
        header[L.SURROUNDINGS] = L.NOTHING
        from data.worlds.renderer import Worlds

        wide = objects.copy()
        wide[:, L.SPHERE + 3] *= 3
        worlds = Worlds(*(torch.from_numpy(t)[None] for t in (header, wide, primitives, materials)))
        for i in range(len(draft.objects)):
            row = objects[i]
            directions = g.normal(size=(400, 3))
            directions /= np.linalg.norm(directions, axis=1, keepdims=True)
            points = row[L.SPHERE : L.SPHERE + 3] + directions * row[L.SPHERE + 3] * g.uniform(1.0, 1.4, (400, 1))
            alone = wide.copy()
            alone[0] = wide[i]
            alone_header = header.copy()
            alone_header[L.OBJECT_COUNT] = 1
            one = Worlds(torch.from_numpy(alone_header)[None], torch.from_numpy(alone)[None], worlds.primitives, worlds.materials)
            assert (distances(one, torch.zeros(400, dtype=torch.int32), torch.from_numpy(points).float()) > -1e-3).all(), (seed, i)


def test_flaws_keep_pictures_pictures_and_poses_rigid() -> None:
    g = torch.Generator().manual_seed(0)
    images = torch.rand(3, 4, 3, 32, 48, generator=g)
    for changed in (recolor(images, g), degrade(images, DegradeOptions(), g)):
        assert changed.shape == images.shape
        assert changed.min() >= 0
        assert changed.max() <= 1
        assert not torch.equal(changed, images)
    assert torch.allclose(jpeg_like(images, 1e-6), images, atol=1e-4)
    pose = torch.eye(4).repeat(3, 4, 1, 1)
    moved = shaken(pose, torch.ones(3), DegradeOptions(pose_rotation=0.01, pose_translation=0.01), g)
    rotation = moved[..., :3, :3]
    assert torch.allclose(rotation @ rotation.transpose(-1, -2), torch.eye(3).expand_as(rotation), atol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_gpu_makes_the_same_pictures(bank) -> None:
    other = make_bank(SEEDS, 48, 32, views=4, samples=1, device="cuda")
    assert other.seeds == bank.seeds
    assert ((other.rgb.cpu().int() - bank.rgb.int()).abs() > 8).float().mean() < 0.01


def test_plain_worlds_differ_in_their_paint_alone() -> None:
    painted, bare = make_world(7), make_world(7, plain=1.0)
    assert np.array_equal(np.stack(painted.primitives), np.stack(bare.primitives))
    assert np.array_equal(painted.header, bare.header)
    assert (bare.materials[:16, L.PATTERN] == L.PLAIN).mean() > (painted.materials[:16, L.PATTERN] == L.PLAIN).mean() + 0.3
    assert np.array_equal(make_world(7, plain=0.0).materials, painted.materials)
