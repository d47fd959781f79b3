"""The compiled rasterizer and blending against their plain twins; then the same picture by every renderer that this machine has."""

from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

from data.cameras import Cameras
from data.readers import read_scene
from kernels.realtime import Raster, blend, blend_reference, rasterize, rasterize_reference
from recon.metrics import psnr
from recon.surface.asset import Asset
from recon.surface.options import RealtimeOptions
from recon.surface.realtime import software
from recon.surface.realtime.baked import Baked, bake_realtime, covering, lighter
from recon.surface.triangles import Triangles
from tests.conftest import ring_of_cameras, sphere_picture, write_sphere_scene


def ball(radius: float = 1.0, subdivisions: int = 3, faces: slice = slice(None)) -> Triangles:
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return Triangles(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64)[faces])


@pytest.fixture(scope="module")
def baked(tmp_path_factory: pytest.TempPathFactory) -> Baked:
    """A ball with a hole, a smaller one behind it, and eight photos."""
    folder = tmp_path_factory.mktemp("ball")
    write_sphere_scene(folder / "in", views=8, size=96, masks=False)
    mesh = ball(faces=slice(60, None))
    asset = Asset(mesh, np.full((1, 2), 0.5), np.zeros_like(mesh.faces), np.full((8, 8, 3), 90, np.uint8))
    return bake_realtime(asset, read_scene(folder / "in"), RealtimeOptions(photos=6), [ball(0.97)])


def corners_of(cameras: Cameras, view: int, vertices: np.ndarray) -> np.ndarray:
    return vertices @ cameras.projections[view][:, :3].T + cameras.projections[view][:, 3]


def same(a: Raster, b: Raster) -> None:
    """Equal but for pixels on an edge, which rounding may give to either side."""
    assert (a.face == b.face).mean() > 0.999
    both = (a.face >= 0) & (b.face >= 0)
    np.testing.assert_allclose(a.depth[both], b.depth[both], rtol=1e-3)


def test_rasterizing_is_as_its_twin(baked: Baked) -> None:
    cameras = ring_of_cameras(3, 60)
    for view in range(3):
        corners = baked.corners(cameras, view)
        same(*(f(corners, baked.around.faces, (60, 50), baked.around.layers) for f in (rasterize, rasterize_reference)))


def test_depth_is_the_spheres(baked: Baked) -> None:
    cameras = ring_of_cameras(4, 80)
    mesh = ball(subdivisions=5)
    raster = rasterize(corners_of(cameras, 1, mesh.vertices), mesh.faces, (80, 80))
    _, mask, depth = sphere_picture(cameras, 1)
    both = mask & (raster.face >= 0)
    assert both.sum() > 0.97 * mask.sum()
    np.testing.assert_allclose(raster.depth[both], depth[both], atol=0.02)


def test_triangles_through_the_cameras_plane_need_no_clipping() -> None:
    """A floor that reaches behind the camera is seen up to the horizon and no farther."""
    vertices = np.array([[-50.0, 1, -50], [50, 1, -50], [0, 1, 400]])
    matrix = np.array([[50.0, 0, 32], [0, 50, 32], [0, 0, 1]])
    for faces in (np.array([[0, 1, 2]]), np.array([[0, 2, 1]])):
        a, b = (f(vertices @ matrix.T, faces, (64, 64)) for f in (rasterize, rasterize_reference))
        np.testing.assert_array_equal(a.face, b.face)
        if (a.face >= 0).any():
            rows = np.nonzero((a.face >= 0).any(1))[0]
            assert rows.min() == 32
            assert rows.max() == 63
            assert a.depth[63, 32] == pytest.approx(50 / 31.5, rel=1e-4)


def test_a_backdrop_shows_through_holes_alone() -> None:
    near, far = ball(1.0), ball(2.0)
    mesh = Triangles(np.concatenate([near.vertices, far.vertices]), np.concatenate([near.faces[100:], far.faces + len(near.vertices)]))
    cameras = ring_of_cameras(2, 64, distance=5.0)
    corners = corners_of(cameras, 0, mesh.vertices)
    front = len(near.faces) - 100
    layered, alone = rasterize(corners, mesh.faces, (64, 64), (front,)), rasterize(corners, mesh.faces[:front], (64, 64))
    shown = alone.face >= 0
    np.testing.assert_array_equal(layered.face[shown], alone.face[shown])  # though the larger ball is nearer
    assert (layered.face[~shown] >= front).sum() > 100


def test_blending_is_as_its_twin(baked: Baked) -> None:
    cameras = ring_of_cameras(5, 64)
    for view in (0, 3):
        corners = baked.corners(cameras, view)
        raster = rasterize(corners, baked.around.faces, (64, 64), baked.around.layers)
        chosen, importance = baked.chosen(cameras, view)
        eye = cameras.centers[view] - baked.origin
        a, b = (f(baked.around, raster, corners, eye, chosen, importance, baked.how, (1, 2, 3)) for f in (blend, blend_reference))
        assert (np.abs(a.astype(int) - b).max(-1) <= 1).mean() > 0.999


def test_from_a_photos_own_camera_the_photo_is_seen(baked: Baked) -> None:
    for view in range(3):
        picture = software.render(baked, baked.cameras, view)
        truth, mask, _ = sphere_picture(baked.cameras, view)
        inner = mask & (np.hypot(*np.meshgrid(np.arange(96) - 47.5, np.arange(96) - 47.5)) < 25)
        assert psnr(picture / 255, baked.around.photos[view, :, :, :3] / 255, inner) > 27
        assert truth.shape == picture.shape


def test_a_left_out_photo_has_no_say(baked: Baked) -> None:
    from dataclasses import replace

    photos = baked.around.photos.copy()
    photos[2, :, :, :3] = 0
    spoiled = replace(baked, around=replace(baked.around, photos=photos))
    a, b = (software.render(b, baked.cameras, 2, without=[2]) for b in (baked, spoiled))
    np.testing.assert_array_equal(a, b)


def test_importance_fades_before_another_photo_takes_over(baked: Baked) -> None:
    """Along a way between two cameras the picture never jumps."""
    start, end = baked.cameras.camera_to_world[0], baked.cameras.camera_to_world[1]
    steps = np.stack([(1 - t) * start + t * end for t in np.linspace(0, 1, 60)])
    way = Cameras.pinhole(np.tile(baked.cameras.intrinsics[0], (60, 1, 1)), steps, np.tile(baked.cameras.sizes[0], (60, 1)))
    weights = np.zeros((60, len(baked.names)))
    for view in range(60):
        chosen, importance = baked.chosen(way, view)
        weights[view, chosen] = importance
    moved = np.abs(np.diff(weights**2, axis=0))  # importance is a root: even that of a newcomer starts at nothing
    assert moved.max() < 0.2
    assert (weights.max(1) == 1).all()


def test_chosen_photos_cover_everything() -> None:
    quality = np.eye(12)[:, :6].repeat(2, axis=1) + 0.001  # pairs of photos that show the same
    chosen = covering(quality, 6)
    assert {k // 2 for k in chosen} == set(range(6))
    assert len(covering(quality, 50)) == 12


def test_a_lighter_one_looks_alike(baked: Baked) -> None:
    light = lighter(baked, 700)
    assert len(light.around.faces) <= 720
    assert len(light.around.layers) == len(baked.around.layers)
    a, b = (software.render(x, baked.cameras, 0) / 255 for x in (baked, light))
    assert psnr(a, b) > 20


def test_opengl_draws_the_same(baked: Baked) -> None:
    from recon.surface.realtime.opengl import OpenGLRenderer, Unavailable

    try:
        renderer = OpenGLRenderer(baked)
    except Unavailable as error:
        pytest.skip(str(error))
    for view in (0, 4):
        assert psnr(renderer.render(baked.cameras, view) / 255, software.render(baked, baked.cameras, view) / 255) > 45
    renderer.close()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_cuda_draws_the_same(baked: Baked) -> None:
    from recon.surface.realtime.gpu import CudaRenderer

    renderer = CudaRenderer(baked)
    for view in (0, 4):
        assert psnr(renderer.render(baked.cameras, view) / 255, software.render(baked, baked.cameras, view) / 255) > 45


def test_what_is_stored_is_read_back(baked: Baked, tmp_path: Path) -> None:
    from dataclasses import replace

    from data.errors import InputError
    from data.readers.nerfstudio import read
    from recon.surface.asset import load_asset
    from recon.surface.realtime.stored import load_baked, save_baked

    write_sphere_scene(tmp_path / "out", views=8, size=96, masks=False)
    scene = read(tmp_path / "out")
    baked.asset.write(tmp_path / "out" / "mesh.glb")
    asset = load_asset(tmp_path / "out" / "mesh.glb")
    mine = bake_realtime(asset, scene, RealtimeOptions(photos=6), [ball(0.97)])
    save_baked(mine, tmp_path / "out")
    again = load_baked(tmp_path / "out")
    np.testing.assert_array_equal(software.render(mine, mine.cameras, 3), software.render(again, mine.cameras, 3))
    other = replace(asset, mesh=asset.mesh.kept(np.arange(50)), uv_faces=asset.uv_faces[:50])
    with pytest.raises(InputError, match="another mesh"):
        load_baked(tmp_path / "out", other)
    (tmp_path / "out" / "realtime" / "vertices.safetensors").write_bytes(b"broken")
    with pytest.raises(InputError, match="cannot be read"):
        load_baked(tmp_path / "out")
