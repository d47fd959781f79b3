"""What we write, opened in Blender itself, where Blender's Python module is at hand.

`bpy` needs an older NumPy than ours, so it lives in an environment of its own: `make test-blender` makes it and sets
LUMIGRAPH_BLENDER_PYTHON to its interpreter.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from app.blender.build import build
from data.cameras import Cameras, intrinsic_matrix
from data.images import save_image
from data.scene import Scene
from data.writers import write_transforms
from recon.surface.asset import Asset
from recon.surface.triangles import Triangles
from tests.conftest import ring_of_cameras

LOOK = Path(__file__).with_name("look.py")
COLOR = np.array([188, 64, 32], np.uint8)
LOW, HIGH = np.array([10.0, 20.0, 30.0]), np.array([11.0, 22.0, 33.0])


def box(low: np.ndarray = LOW, high: np.ndarray = HIGH) -> Asset:
    """A box whose sides differ, of one colour, far from the origin."""
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high - low) + low
    faces = np.array([[0, 1, 3], [0, 3, 2], [4, 6, 7], [4, 7, 5], [0, 4, 5], [0, 5, 1], [2, 3, 7], [2, 7, 6], [0, 2, 6], [0, 6, 4], [1, 5, 7], [1, 7, 3]])
    return Asset(Triangles(corners, faces), np.full((8, 2), 0.5), faces, np.tile(COLOR, (16, 16, 1)))


def blender(home: Path, *arguments: str) -> dict:
    """What the script saw; Blender's own settings go to a folder of the test."""
    interpreter = os.environ.get("LUMIGRAPH_BLENDER_PYTHON")
    if not interpreter:
        pytest.skip("LUMIGRAPH_BLENDER_PYTHON names no Python with bpy; make test-blender sets it")
    environment = {**os.environ, "BLENDER_USER_RESOURCES": str(home / "blender")}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run([interpreter, str(LOOK), *arguments], capture_output=True, text=True, check=False, timeout=300, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    assert lines, done.stdout[-2000:] + done.stderr[-3000:]
    return json.loads(lines[0][6:])


@pytest.mark.slow
def test_every_format_arrives_where_it_was_in_its_colors(tmp_path: Path) -> None:
    asset, folder = box(), tmp_path / "out"
    folder.mkdir()
    for name in ("lit.glb", "mesh.obj", "mesh.ply", "mesh.stl", "mesh.usdz"):
        asset.write(folder / name)
    asset.write(folder / "unlit.glb", look="unlit")
    asset.write(folder / "vertices.glb", colors="vertices")
    found = blender(tmp_path, "formats", str(folder))
    assert len(found) == 7
    for name, seen in found.items():
        np.testing.assert_allclose(seen["bounds"], [LOW, HIGH], atol=1e-3 * (HIGH - LOW).min(), err_msg=name)
    for name in ("lit.glb", "unlit.glb", "mesh.obj", "mesh.usdz"):
        picture = found[name]["picture"]
        assert (picture["size"], picture["colorspace"]) == ([16, 16], "sRGB"), name
        np.testing.assert_allclose(picture["pixel"], COLOR, atol=2, err_msg=name)
    for name in ("lit.glb", "unlit.glb"):
        np.testing.assert_allclose(found[name]["render"], COLOR, atol=2, err_msg=name)
        assert not found[name]["culled"]
    for name in ("mesh.ply", "vertices.glb"):
        np.testing.assert_allclose(found[name]["color"], COLOR, atol=2, err_msg=name)


@pytest.mark.slow
def test_the_extension_installs_and_opens_a_result(tmp_path: Path) -> None:
    """Known points fall, through Blender's cameras, on the pixels that ours say; lenses off centre and pixels that are no squares included."""
    out = tmp_path / "a result"
    (out / "images").mkdir(parents=True)
    box(np.array([-0.5, -0.4, -0.3]), np.array([0.5, 0.4, 0.3])).write(out / "mesh.glb")
    ring = ring_of_cameras(3, 64)
    matrices = np.stack([intrinsic_matrix(*map(float, k)) for k in ((80, 80, 32, 24), (70, 75, 25, 30), (90, 82, 36, 20))])
    cameras = Cameras.pinhole(matrices, ring.camera_to_world, np.tile(np.array([64, 48]), (3, 1)))
    paths = tuple(out / "images" / f"{i:03d}.png" for i in range(3))
    for path in paths:
        save_image(path, np.full((48, 64, 3), 90, np.uint8))
    write_transforms(out, Scene("a result", out, paths, cameras))
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (20, 3))
    np.savetxt(out / "points.txt", points)
    seen = blender(tmp_path, "extension", str(out), str(build(tmp_path / "lumigraph_import.zip")))
    for i in range(3):
        np.testing.assert_allclose(seen["projected"][f"{i:03d}"], cameras.project(i, points)[0], atol=0.1)
    np.testing.assert_allclose(seen["bounds"], [[-0.5, -0.4, -0.3], [0.5, 0.4, 0.3]], atol=1e-3)
    np.testing.assert_allclose(seen["scaled"], [[-1.0, -0.8, -0.6], [1.0, 0.8, 0.6]], atol=2e-3)
    np.testing.assert_allclose(seen["cropped"], [[1.0, -0.8, -0.6], [1.0, 0.8, 0.6]], atol=2e-3)
    assert seen["backgrounds"] == [p.name for p in paths]
    assert seen["parents"] == [seen["root"]]
    assert seen["turntable"] == "turntable camera"
    assert "holds no transforms.json" in seen["refused"]


def test_the_package_is_the_same_every_time(tmp_path: Path) -> None:
    first, second = build(tmp_path / "a.zip"), build(tmp_path / "b.zip")
    assert first.read_bytes() == second.read_bytes()
