"""A dented sphere is pulled back to where the photos agree."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import trimesh

from data.readers import read_scene
from kernels.realtime import rasterize
from recon.surface.asset import Asset
from recon.surface.options import RealtimeOptions
from recon.surface.realtime.baked import bake_realtime
from recon.surface.realtime.refining import RefineOptions, _Refinement, refine
from recon.surface.triangles import Triangles
from tests.conftest import drain, write_sphere_scene


def dented(folder: Path, seed: int = 0):  # type: ignore[no-untyped-def]
    write_sphere_scene(folder / "in", views=14, size=200, masks=False)
    ball = trimesh.creation.icosphere(subdivisions=4)
    vertices, faces = np.asarray(ball.vertices, np.float64), np.asarray(ball.faces, np.int64)
    bumps = 1 + 0.02 * np.sin(7 * vertices[:, :1] + 1) * np.sin(6 * vertices[:, 1:2]) * np.sin(8 * vertices[:, 2:])
    mesh = Triangles(vertices * bumps, faces)
    asset = Asset(mesh, np.full((1, 2), 0.5), np.zeros_like(faces), np.full((8, 8, 3), 90, np.uint8))
    return bake_realtime(asset, read_scene(folder / "in"), RealtimeOptions())


def test_dents_go(tmp_path: Path) -> None:
    baked = dented(tmp_path)
    after = drain(refine(baked, RefineOptions(seconds=12.0, stiffness=1.0)))
    seen = np.abs(baked.asset.mesh.vertices[:, 2]) < 0.6  # the poles are seen at flat angles
    errors = [np.abs(np.linalg.norm(b.asset.mesh.vertices[seen], axis=1) - 1).mean() for b in (baked, after)]
    assert errors[1] < 0.75 * errors[0]
    np.testing.assert_array_equal(after.around.faces, baked.around.faces)
    assert drain(refine(baked, RefineOptions(seconds=0.0))).around.vertices.shape == baked.around.vertices.shape


def test_the_gradient_is_the_slope(tmp_path: Path) -> None:
    """Of colours by offsets, against differences; what is hidden and how far photos are apart is taken as it is, as in training."""
    torch.manual_seed(0)
    work = _Refinement(dented(tmp_path), RefineOptions(), ())
    work.refresh()
    number = torch.from_numpy(work.face[2][90:110, 90:110].reshape(-1).astype(np.int64))
    pixels = torch.stack(torch.meshgrid(torch.arange(90, 110) + 0.5, torch.arange(90, 110) + 0.5, indexing="xy"), dim=-1).reshape(-1, 2)
    corners = torch.from_numpy(work.baked.around.faces)[number].long()

    def points() -> torch.Tensor:
        vertices = work.moved()
        return (vertices[corners] * work._barycentric(vertices, corners, pixels, 2)[..., None]).sum(1)

    direction = torch.randn(400, 3)
    (points() * direction).sum().backward()
    vertex = int(corners[200, 0])
    slope = float(work.offset.grad[vertex])
    with torch.no_grad():
        values = []
        for step in (-0.02, 0.02):
            work.offset[vertex] += step
            values.append(float((points().double() * direction).sum()))
            work.offset[vertex] -= step
    assert abs((values[1] - values[0]) / 0.04 - slope) < 0.03 * abs(slope) + 1e-3


def test_masks_say_which_pixels_count(tmp_path: Path) -> None:
    baked = dented(tmp_path)
    nothing = [np.zeros((200, 200), bool)] * len(baked.names)
    same = drain(refine(baked, RefineOptions(seconds=1.0), nothing))
    np.testing.assert_allclose(same.around.vertices, baked.around.vertices, atol=1e-6)


def test_a_plain_side_stays_where_it_is(tmp_path: Path) -> None:
    """Noise of photos must not move what has no texture, however small its gradients are."""
    baked = dented(tmp_path)
    around, random = baked.around, np.random.default_rng(0)
    photos = around.photos.copy()
    for k, p in enumerate(around.projections):
        corners = around.vertices @ p[:, :3].T.astype(np.float32) + p[:, 3].astype(np.float32)
        face = rasterize(corners, around.faces, (200, 200)).face
        plain = (face >= 0) & (around.vertices[around.faces].mean(1)[face, 0] > 0)
        photos[k][plain, :3] = 128 + random.integers(-2, 3, (int(plain.sum()), 1))
    baked = replace(baked, around=replace(around, photos=photos))
    moved = drain(refine(baked, RefineOptions(seconds=6.0, stiffness=1.0))).around.vertices - around.vertices
    way, seen = np.linalg.norm(moved, axis=1), np.abs(around.vertices[:, 2]) < 0.6
    assert way[seen & (around.vertices[:, 0] > 0.3)].mean() < 0.4 * way[seen & (around.vertices[:, 0] < -0.3)].mean()


def test_a_spoiled_texture_is_mended_where_photos_see_it(tmp_path: Path) -> None:
    from recon.metrics import psnr
    from recon.surface.fitting import FitOptions, fit_texture
    from recon.surface.raycast import render_mesh
    from recon.surface.texture import bake

    write_sphere_scene(tmp_path / "in", views=10, size=120, masks=True)
    scene = read_scene(tmp_path / "in")
    ball = trimesh.creation.icosphere(subdivisions=4)
    painted = drain(bake(Triangles(np.asarray(ball.vertices, np.float64), np.asarray(ball.faces, np.int64)), scene, 128))
    noise = np.random.default_rng(0).normal(0, 25, painted.texture.shape)
    spoiled = replace(painted, texture=np.clip(painted.texture + noise, 0, 255).astype(np.uint8))
    mended = drain(fit_texture(spoiled, scene, FitOptions(seconds=60.0, prior=0.2)))
    scores = []
    for asset in (spoiled, mended):
        inner = scene.mask(0) & (render_mesh(asset, scene.posed(), 0, (0, 0, 0)) > 0).all(-1)
        scores.append(psnr(render_mesh(asset, scene.posed(), 0) / 255, scene.image(0) / 255, inner))
    assert scores[1] > scores[0] + 3
    np.testing.assert_array_equal(mended.uv, spoiled.uv)
