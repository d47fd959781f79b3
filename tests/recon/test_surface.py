"""From exact depths of a sphere to a textured mesh: the sphere comes back, with its pattern, in every format."""

from pathlib import Path

import numpy as np
import pytest
import trimesh

from data.prepare import prepare
from data.readers import read_scene
from data.scene import Scene
from recon.depthmaps import DepthMaps
from recon.metrics import psnr, ssim, surface_scores
from recon.surface.asset import Asset, load_asset
from recon.surface.cleaning import clean, decimated, face_components, without_small_pieces
from recon.surface.depth import consistent, elected, eroded, votes
from recon.surface.fusion import fuse, voxel_size
from recon.surface.options import SurfaceOptions
from recon.surface.raycast import Raycaster, render_mesh
from recon.surface.repair import boundary_loops, holes_closed, sound
from recon.surface.stereo import sweep_depths, sweep_ranges
from recon.surface.texture import bake
from recon.surface.triangles import Triangles, paired
from recon.surface.unwrapping import Unwrapper
from tests.conftest import drain, ring_of_cameras, sphere_picture, write_sphere_scene

OPTIONS = SurfaceOptions(resolution=64, depth_side=128, faces=4000, texture=256)


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Scene:
    folder = tmp_path_factory.mktemp("sphere")
    write_sphere_scene(folder / "in", views=12, size=128)
    return drain(prepare(read_scene(folder / "in"), folder / "work", 128))


@pytest.fixture(scope="module")
def maps(scene: Scene) -> DepthMaps:
    return DepthMaps(scene.posed(), [sphere_picture(scene.posed(), i)[2] for i in range(len(scene))])


@pytest.fixture(scope="module")
def mesh(maps: DepthMaps) -> Triangles:
    box = np.array([[-1.2] * 3, [1.2] * 3])
    return clean(fuse(maps, voxel_size(maps, box, OPTIONS)), maps, OPTIONS)


@pytest.fixture(scope="module")
def asset(mesh: Triangles, scene: Scene) -> Asset:
    return drain(bake(mesh, scene, OPTIONS.texture))


def test_fusion_returns_the_sphere(mesh: Triangles) -> None:
    radius = np.linalg.norm(mesh.vertices, axis=1)
    assert np.median(np.abs(radius - 1)) < 0.01
    assert len(mesh.faces) <= OPTIONS.faces
    outward = (mesh.vertex_normals * mesh.vertices).sum(1)
    assert (outward > 0).mean() > 0.98


def test_a_distant_world_keeps_its_coordinates(maps: DepthMaps) -> None:
    shift = np.array([400_000.0, 5_000_000.0, 300.0])
    move = np.eye(4)
    move[:3, 3] = shift
    far = DepthMaps(maps.cameras.moved(move), maps.depth)
    moved = fuse(far, 0.04)
    assert np.median(np.abs(np.linalg.norm(moved.vertices - shift, axis=1) - 1)) < 0.01


def test_inconsistent_depths_are_dropped_and_consistent_ones_kept(maps: DepthMaps) -> None:
    kept = consistent(maps, tolerance=0.02)
    assert sum((d > 0).sum() for d in kept.depth) > 0.8 * sum((d > 0).sum() for d in maps.depth)
    wrong = DepthMaps(maps.cameras, [np.where(d > 0, d * 0.7, 0) if i == 3 else d for i, d in enumerate(maps.depth)])
    assert (consistent(wrong).depth[3] > 0).mean() < 0.05


def test_of_two_estimates_the_confirmed_one_is_elected(maps: DepthMaps) -> None:
    """The first has holes and, in one view, a wrong patch; the second is wrong everywhere in one other view."""
    patch = np.zeros(maps.depth[3].shape, bool)
    patch[50:70, 50:70] = True
    first = [np.where(np.arange(d.shape[1]) < 90, d, 0) for d in maps.depth]
    first[3] = np.where(patch, first[3] * 1.2, first[3])
    second = [d * (0.8 if i == 5 else 1.0) for i, d in enumerate(maps.depth)]
    out = elected(DepthMaps(maps.cameras, first), DepthMaps(maps.cameras, second), tolerance=0.02)
    np.testing.assert_array_equal(out.depth[3][patch], maps.depth[3][patch])
    kept = (first[5] > 0) & (maps.depth[5] > 0)
    assert np.isclose(out.depth[5][kept], maps.depth[5][kept]).mean() > 0.95
    np.testing.assert_array_equal(out.depth[0], maps.depth[0])  # holes are filled


def test_only_what_is_seen_through_for_certain_counts_against_a_point(maps: DepthMaps) -> None:
    """Points on the sphere's outline fall on pixels that show the far background; eroded, they do not count."""
    behind = DepthMaps(maps.cameras, [np.where(d > 0, d, 50.0).astype(np.float32) for d in maps.depth])
    ball = np.asarray(trimesh.creation.icosphere(subdivisions=4).vertices) * 1.001
    views = np.arange(len(maps))
    plain, certain = (votes(m, views, ball, 0.02)[1].sum() for m in (behind, eroded(behind)))
    assert certain < 0.2 * plain
    off = np.array([[0.0, 0.0, 3.0]])  # far from everything: seen through, eroded or not
    assert votes(eroded(behind), views, off, 0.02)[1].sum() == votes(behind, views, off, 0.02)[1].sum()


def test_stereo_finds_the_spheres_depth(scene: Scene, maps: DepthMaps) -> None:
    found = consistent(drain(sweep_depths(scene, 128, sweep_ranges(scene))), tolerance=0.02)
    errors = np.concatenate([
        np.abs(d - t)[(d > 0) & (t > 0)] / t[(d > 0) & (t > 0)] for d, t in zip(found.depth, maps.depth, strict=True)
    ])  # fmt: skip
    assert np.median(errors) < 0.02
    assert len(errors) > 0.3 * sum((t > 0).sum() for t in maps.depth)


def test_small_pieces_go_and_large_ones_stay() -> None:
    big, small = trimesh.creation.icosphere(radius=1.0), trimesh.creation.icosphere(subdivisions=1, radius=0.05)
    small.apply_translation([3, 0, 0])
    both = trimesh.util.concatenate([big, small])
    mesh = Triangles(np.asarray(both.vertices), np.asarray(both.faces))
    assert face_components(mesh).max() == 1
    kept = without_small_pieces(mesh, 0.03)
    assert len(kept.faces) == len(big.faces)
    assert len(decimated(kept, 100).faces) <= 100


def with_holes(mesh: trimesh.Trimesh, centres: list[list[float]], radius: float) -> Triangles:
    away = np.min([np.linalg.norm(mesh.triangles_center - np.array(c), axis=1) for c in centres], axis=0)
    return Triangles(np.asarray(mesh.vertices), np.asarray(mesh.faces)).kept(away > radius)


def test_small_holes_are_closed_and_large_ones_left() -> None:
    ball = trimesh.creation.icosphere(subdivisions=4)
    small = with_holes(ball, [[0.0, 0, 1], [1.0, 0, 0]], 0.08)
    assert len(boundary_loops(small)) == 2
    closed = trimesh.Trimesh(*_arrays(holes_closed(small, 0.3 * np.sqrt(12))), process=False)
    assert closed.is_watertight
    assert closed.is_winding_consistent
    assert closed.volume == pytest.approx(ball.volume, rel=1e-3)
    large = with_holes(ball, [[0.0, 0, 1]], 0.9)
    assert len(holes_closed(large, 0.3).faces) == len(large.faces)


def test_the_outline_of_a_scrap_is_no_hole() -> None:
    square = Triangles(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    assert len(holes_closed(square, 100.0).faces) == 2


def test_broken_faces_go() -> None:
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0.5, 0.5, 0.1], [0.5, 0.5, 0]])
    faces = np.array([[0, 1, 2], [0, 2, 3], [2, 1, 0], [0, 5, 2], [0, 2, 4], [1, 1, 2]])  # twice, no area, third, no face
    kept = sound(Triangles(vertices, faces))
    assert {frozenset(map(tuple, kept.vertices[f])) for f in kept.faces} == {
        frozenset(map(tuple, vertices[f])) for f in ([0, 1, 2], [0, 2, 3])
    }


def test_a_mesh_that_xatlas_cannot_unwrap_in_time_is_textured_all_the_same(mesh: Triangles, scene: Scene) -> None:
    with Unwrapper() as child:
        atlas = drain(child.unwrap(mesh, 256, patience=0.0))
    flat = atlas.uv[atlas.faces]
    assert flat.min() >= 0
    assert flat.max() <= 1
    area = 0.5 * np.abs(np.cross(flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]))
    assert area.min() > 0
    first, second = flat[0::2], flat[1::2]  # the two of a cell do not overlap
    n = min(len(first), len(second))
    assert (first[:n, 1, 0] <= second[:n, 0, 0]).all()


def test_an_unwrapper_that_has_died_does_no_harm(mesh: Triangles) -> None:
    with Unwrapper() as child:
        child._child.kill()
        child._child.wait()
        assert drain(child.unwrap(mesh, 256)).faces.shape == mesh.faces.shape


def test_numbers_of_pairs_are_as_many_as_the_pairs() -> None:
    first, second = np.array([0, 0, 2**40, 2**40, 5]), np.array([1, 1, 2**30, 0, 2**30])
    numbers = paired(first, second)
    assert np.unique(numbers).size == 4
    assert numbers[0] == numbers[1]
    assert (np.argsort(numbers) == np.lexsort([second, first])).all()


def _arrays(mesh: Triangles) -> tuple[np.ndarray, np.ndarray]:
    return mesh.vertices, mesh.faces


def test_the_texture_shows_the_photos(asset: Asset, scene: Scene) -> None:
    """Rendered from a photo's camera, the mesh looks like that photo."""
    for view in (0, 5):
        picture = render_mesh(asset, scene.posed(), view) / 255
        truth, mask, _ = sphere_picture(scene.posed(), view)
        inner = np.zeros_like(mask)
        shown = (picture < 1).any(-1)
        assert shown[mask].mean() > 0.85
        inner[3:-3, 3:-3] = mask[6:, 3:-3] & mask[:-6, 3:-3] & mask[3:-3, 6:] & mask[3:-3, :-6]
        assert psnr(picture, truth / 255, inner & shown) > 24


def test_no_texel_is_black_and_exposure_leaves_no_seam(mesh: Triangles, scene: Scene, tmp_path: Path) -> None:
    from dataclasses import replace

    from data.images import save_image

    paths = []
    for i in range(len(scene)):
        paths.append(tmp_path / f"{i}.png")
        save_image(paths[-1], np.full((128, 128, 3), 120 + 30 * (i % 2), np.uint8))  # two exposures of a grey ball
    baked = drain(bake(mesh, replace(scene, image_paths=tuple(paths)), 256))
    assert baked.texture.min() >= 119
    for view in range(3):
        picture = render_mesh(baked, ring_of_cameras(3, 128), view)[..., 0].astype(int)
        inside = picture < 255
        step = np.abs(np.diff(picture, axis=1))[inside[:, 1:] & inside[:, :-1]]
        assert np.percentile(step, 99) <= 6  # hard seams would be steps of 30


@pytest.mark.parametrize("suffix", [".glb", ".obj", ".ply"])
def test_files_open_elsewhere_with_axes_as_promised(asset: Asset, tmp_path: Path, suffix: str) -> None:
    path = asset.write(tmp_path / f"mesh{suffix}")
    loaded = trimesh.load(path, process=False)
    vertices = np.concatenate([g.vertices for g in loaded.geometry.values()]) if hasattr(loaded, "geometry") else loaded.vertices
    expected = asset.mesh.vertices
    if suffix != ".ply":
        expected = np.stack([expected[:, 0], expected[:, 2], -expected[:, 1]], 1)
    np.testing.assert_allclose(np.ptp(vertices, axis=0), np.ptp(expected, axis=0), atol=1e-4)
    np.testing.assert_allclose(vertices.min(0), expected.min(0), atol=1e-4)
    assert not list(tmp_path.glob("*.part"))


def test_glb_round_trip_keeps_surface_and_picture(asset: Asset, tmp_path: Path) -> None:
    again = load_asset(asset.write(tmp_path / "mesh.glb"))
    assert again.statistics["faces"] == asset.statistics["faces"]
    assert again.statistics["components"] == asset.statistics["components"]
    view = ring_of_cameras(3, 96)
    difference = np.abs(render_mesh(again, view, 1).astype(int) - render_mesh(asset, view, 1).astype(int))
    assert np.percentile(difference, 99) <= 3


def test_glb_material_is_matte_and_double_sided(asset: Asset, tmp_path: Path) -> None:
    import json

    content = asset.write(tmp_path / "mesh.glb").read_bytes()
    header = json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])
    material = header["materials"][0]
    assert material["doubleSided"] is True
    assert material["pbrMetallicRoughness"]["metallicFactor"] == 0
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == 1
    assert "NORMAL" in header["meshes"][0]["primitives"][0]["attributes"]


def test_rays_meet_a_sphere_where_they_should() -> None:
    ball = trimesh.creation.icosphere(subdivisions=5)
    caster = Raycaster(Triangles(np.asarray(ball.vertices) + 1000.0, np.asarray(ball.faces)))
    hits = caster.cast(np.array([[1000.0, 1000, 1003], [1000, 1000, 1003]]), np.array([[0.0, 0, -1], [0, 0, 1]]))
    assert hits.distance[0] == pytest.approx(2, abs=2e-3)
    assert hits.face[1] == -1
    eye = np.array([1000.0, 1000.0, 1005.0])
    assert caster.visible(np.array([[1000.0, 1000, 1001], [1000, 1000, 999]]), eye, 1e-3).tolist() == [True, False]


def test_scores_of_a_surface_against_itself_and_a_shifted_one() -> None:
    points = np.random.default_rng(0).normal(size=(3000, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    assert surface_scores(points, points, None, 0.01)["f_score"] == 1
    assert surface_scores(points + [0.5, 0, 0], points, None, 0.01)["f_score"] < 0.2
    assert surface_scores(points[:0], points, None, 0.01)["f_score"] == 0


def test_picture_metrics() -> None:
    image = np.random.default_rng(0).random((40, 40, 3))
    assert psnr(image, image) == 100
    assert ssim(image, image) == pytest.approx(1)
    assert psnr(np.zeros((4, 4, 3)), np.full((4, 4, 3), 0.1)) == pytest.approx(20)
    assert ssim(image, 1 - image) < 0.2
