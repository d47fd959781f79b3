"""Photos of different brightness, something that passed by, light that goes with the surface's direction."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from data.images import save_image
from data.readers import read_scene
from data.scene import Scene
from recon.surface.agreement import gains, shown, trust
from recon.surface.flattening import flattened
from recon.surface.raycast import render_mesh
from recon.surface.texture import bake
from recon.surface.triangles import Triangles
from tests.conftest import drain, sphere_picture, write_sphere_scene


@pytest.fixture(scope="module")
def ball() -> Triangles:
    mesh = trimesh.creation.icosphere(subdivisions=4)
    return Triangles(np.asarray(mesh.vertices, np.float64), np.asarray(mesh.faces, np.int64))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("ball")
    write_sphere_scene(folder / "in", views=12, size=160, masks=False)
    return read_scene(folder / "in")


def changed(scene: Scene, folder: Path, change) -> Scene:  # type: ignore[no-untyped-def]
    paths = []
    for i in range(len(scene)):
        paths.append(folder / f"{i}.png")
        save_image(paths[-1], np.clip(np.round(change(i, scene.image(i).astype(np.float64))), 0, 255).astype(np.uint8))
    return replace(scene, image_paths=tuple(paths))


def test_gains_undo_exposures(ball: Triangles, scene: Scene, tmp_path: Path) -> None:
    exposure = np.linspace(0.8, 1.15, len(scene))
    dimmed = changed(scene, tmp_path, lambda i, picture: picture * exposure[i])
    found = gains(shown(ball, dimmed, np.arange(len(ball.vertices))))
    product = found.mean(1) * exposure
    assert product.std() / product.mean() < 0.02
    same = gains(shown(ball, scene, np.arange(len(ball.vertices))))
    np.testing.assert_allclose(same, 1, atol=0.03)


def test_who_disagrees_is_not_trusted(ball: Triangles, scene: Scene, tmp_path: Path) -> None:
    """A magenta patch in one photo leaves no trace in the texture."""

    def patched(i: int, picture: np.ndarray) -> np.ndarray:
        if i == 3:
            picture[60:95, 60:95] = [255, 0, 255]
        return picture

    spoiled = changed(scene, tmp_path, patched)
    what = shown(ball, spoiled, np.arange(len(ball.vertices)))
    pixels, _ = scene.posed().project(3, ball.vertices)
    hit = what.seen[:, 3] & ((pixels > 66) & (pixels < 89)).all(1) & (what.seen.sum(1) >= 3)
    value = trust(what, gains(what))
    assert hit.sum() > 20
    assert np.median(value[hit, 3]) < 0.1
    others = what.seen.copy()
    others[:, 3] = False
    assert np.median(value[others]) > 0.95
    asset = drain(bake(ball, spoiled, 256))
    picture = render_mesh(asset, scene.posed(), 3).astype(int)[66:89, 66:89]
    truth = sphere_picture(scene.posed(), 3)[0].astype(int)[66:89, 66:89]
    assert np.abs(picture - truth).mean() < 12
    magenta = (picture[..., 0] > 200) & (picture[..., 1] < 60) & (picture[..., 2] > 200)
    assert magenta.mean() < 0.02


def test_two_photos_cannot_outvote_each_other(ball: Triangles, scene: Scene) -> None:
    what = shown(ball, scene.select([0, 1]), np.arange(len(ball.vertices)))
    np.testing.assert_array_equal(trust(what, gains(what)), 1)


def test_light_from_one_side_is_taken_out() -> None:
    random = np.random.default_rng(0)
    normals = random.normal(size=(20_000, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    albedo = np.where(random.random((20_000, 1)) < 0.5, 0.2, 0.5) * np.array([1.0, 0.8, 0.6])
    light = 0.5 + 0.45 * normals @ np.array([0.0, 0.6, 0.8])
    lit = 255 * (albedo * light[:, None]) ** (1 / 2.2)
    flat = (flattened(lit, normals) / 255) ** 2.2
    dark = albedo[:, 0] < 0.3
    for part in (dark, ~dark):
        before, after = ((x[part, 0].std() / x[part, 0].mean()) for x in ((lit / 255) ** 2.2, flat))
        assert after < 0.45 * before
    hue = flat[:, 1] / flat[:, 0]
    assert np.abs(hue - 0.8).max() < 0.05
