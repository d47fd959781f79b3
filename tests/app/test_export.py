"""Everything that `lumigraph export` writes from one small result, and what it says to what cannot be."""

import base64
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from app.cli import main
from app.export import ExportTask, export
from data.errors import InputError
from data.readers import read_scene
from data.readers.nerfstudio import read as read_transforms
from recon.metrics import psnr
from recon.surface.asset import Asset, load_asset
from recon.surface.formats.glb import linear
from recon.surface.options import RealtimeOptions
from recon.surface.realtime import software
from recon.surface.realtime.baked import Baked, bake_realtime
from recon.surface.realtime.stored import load_baked, save_baked
from recon.surface.texture import bake
from recon.surface.triangles import Triangles
from tests.conftest import drain, write_sphere_scene


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ball with its photos, as `reconstruct` would leave it."""
    out = tmp_path_factory.mktemp("result") / "ball"
    write_sphere_scene(out, views=8, size=96, masks=False)
    ball = trimesh.creation.icosphere(subdivisions=4)
    mesh = Triangles(np.asarray(ball.vertices, np.float64), np.asarray(ball.faces, np.int64))
    scene = read_transforms(out)
    drain(bake(mesh, scene, 256)).write(out / "mesh.glb")
    asset = load_asset(out / "mesh.glb")
    save_baked(bake_realtime(asset, scene, RealtimeOptions()), out)
    return out


def written(result: Path, folder: Path, **options: object) -> Path:
    name = {"points": "ply", "transforms": "set", "colmap": "set"}.get(str(options.get("format")), str(options.get("format", "glb")))
    return Path(drain(export(ExportTask(result, out=folder / f"out.{name}", **options)))["files"][0])  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "stl"])
def test_meshes_keep_their_size_and_place(result: Path, tmp_path: Path, kind: str) -> None:
    loaded = trimesh.load(written(result, tmp_path, format=kind), force="mesh")
    np.testing.assert_allclose(loaded.bounds, [[-1, -1, -1], [1, 1, 1]], atol=2e-3)
    assert len(loaded.faces) == 5120


def test_usd_is_z_up_and_whole(result: Path, tmp_path: Path) -> None:
    from pxr import Usd, UsdGeom, UsdValidation

    path = written(result, tmp_path, format="usdz")
    stage = Usd.Stage.Open(str(path))
    assert UsdGeom.GetStageUpAxis(stage) == "Z"
    mesh = UsdGeom.Mesh(stage.GetPrimAtPath("/lumigraph/mesh"))
    asset = load_asset(result / "mesh.glb")
    np.testing.assert_allclose(np.array(mesh.GetPointsAttr().Get()), asset.mesh.vertices, atol=1e-6)
    np.testing.assert_array_equal(np.array(mesh.GetFaceVertexIndicesAttr().Get()).reshape(-1, 3), asset.mesh.faces)
    errors = UsdValidation.ValidationContext(UsdValidation.ValidationRegistry().GetOrLoadAllValidators()).Validate(stage)
    assert [e.GetMessage() for e in errors if e.GetType() == UsdValidation.ValidationErrorType.Error] == []


def test_looks_and_colors_of_glb(result: Path, tmp_path: Path) -> None:
    def header(path: Path) -> dict:
        content = path.read_bytes()
        return json.loads(content[20 : 20 + int.from_bytes(content[12:16], "little")])

    assert "KHR_materials_unlit" in header(written(result, tmp_path, target="web"))["materials"][0]["extensions"]
    assert header(written(result, tmp_path, target="web"))["images"][0]["mimeType"] == "image/jpeg"
    assert "KHR_materials_unlit" not in header(written(result, tmp_path))["materials"][0]["extensions"]
    colored = header(written(result, tmp_path, colors="vertices"))
    color = colored["accessors"][colored["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    assert (color["componentType"], color["normalized"]) == (5123, True)
    np.testing.assert_allclose(linear(np.array([[0, 255, 188]], np.uint8)), [[0, 1, 0.5029]], atol=1e-3)


def test_fewer_faces_larger_texture_and_levels(result: Path, tmp_path: Path) -> None:
    files = drain(export(ExportTask(result, out=tmp_path / "m.glb", faces=2000, texture=512, levels=3)))["files"]
    assets = [load_asset(Path(f)) for f in files]
    assert [Path(f).name for f in files] == ["m.glb", "m_lod1.glb", "m_lod2.glb"]
    assert all(len(a.mesh.faces) <= 2000 >> level for level, a in enumerate(assets))
    assert all(len(a.mesh.faces) > 0.8 * (2000 >> level) for level, a in enumerate(assets))
    assert assets[0].texture.shape[0] == 512
    radius = np.linalg.norm(assets[2].mesh.vertices, axis=1)
    assert np.abs(radius - 1).max() < 0.03


def test_prints_are_closed(result: Path, tmp_path: Path) -> None:
    solid = trimesh.load(written(result, tmp_path, format="stl", target="print"))
    solid.merge_vertices()
    assert solid.is_volume
    assert solid.volume == pytest.approx(4 / 3 * np.pi, rel=0.05)


def test_points_lie_on_the_surface_in_its_colors(result: Path, tmp_path: Path) -> None:
    cloud = trimesh.load(written(result, tmp_path, format="points", faces=500))
    assert len(cloud.vertices) == 500
    assert np.abs(np.linalg.norm(cloud.vertices, axis=1) - 1).max() < 0.01
    assert np.ptp(np.asarray(cloud.colors)[:, :3], axis=0).min() > 50


@pytest.mark.parametrize("kind", ["transforms", "colmap"])
def test_data_sets_are_read_back(result: Path, tmp_path: Path, kind: str) -> None:
    drain(export(ExportTask(result, format=kind, out=tmp_path / "set")))  # type: ignore[arg-type]
    mine, again = read_transforms(result), read_scene(tmp_path / "set")
    order = [[Path(n).name for n in again.names].index(p.name) for p in mine.image_paths]
    np.testing.assert_allclose(again.posed().camera_to_world[order], mine.posed().camera_to_world, atol=1e-6)
    np.testing.assert_array_equal(again.image(order[3]), mine.image(3))


def test_the_page_shows_what_the_other_renderers_show(result: Path, tmp_path: Path) -> None:
    """In a browser without a network; the switches work."""
    api = pytest.importorskip("playwright.sync_api")
    chromium = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)
    if chromium is None:
        pytest.skip("there is no Chromium")
    page_file = written(result, tmp_path, format="html")
    assert "http://" not in page_file.read_text().split("<script>")[0]
    baked = load_baked(result)
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, headless=True, args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"])
        context = browser.new_context(offline=True, viewport={"width": 500, "height": 400})
        page, asked, wrong = context.new_page(), [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(page_file.as_uri())
        page.wait_for_function("window.lumigraph !== undefined", timeout=60_000)
        camera = baked.cameras
        projection = camera.projections[2].copy()
        projection[:, 3] += projection[:, :3] @ baked.origin
        text = page.evaluate(
            "([w, h, p, c, d]) => lumigraph.picture(w, h, p, c, d)",
            [96, 96, projection.reshape(-1).tolist(), (camera.centers[2] - baked.origin).tolist(), camera.forwards[2].tolist()],
        )  # fmt: skip
        seen = np.frombuffer(base64.b64decode(text), np.uint8).reshape(96, 96, 4)[..., :3]
        assert psnr(seen / 255, software.render(baked, camera, 2) / 255) > 35
        before = page.screenshot()
        page.click("#wire")
        page.wait_for_timeout(200)
        assert page.screenshot() != before
        page.click("#strip button >> nth=3")
        page.keyboard.press("ArrowRight")
        page.evaluate("lumigraph.turntable(300)")
        page.wait_for_timeout(600)
        # A finger or a mouse that goes sideways turns the scene around its own upright axis.
        up, eyes = np.array(page.evaluate("lumigraph.meta.up")), [np.array(page.evaluate("lumigraph.eye()"))]
        page.mouse.move(200, 250)
        page.mouse.down()
        page.mouse.move(260, 250, steps=6)
        page.mouse.up()
        page.wait_for_timeout(600)
        eyes.append(np.array(page.evaluate("lumigraph.eye()")))
        assert abs((eyes[1] - eyes[0]) @ up) < 0.02 * np.linalg.norm(eyes[1] - eyes[0])
        assert np.linalg.norm(eyes[1] - eyes[0]) > 0.3
        browser.close()
    assert wrong == []
    assert {url.split(":")[0] for url in asked} <= {"file", "data", "blob"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"texture": 0}, "between 256 and 8192"), ({"texture": 65536}, "between 256 and 8192"), ({"faces": 0}, "100 or more"),
        ({"levels": 0}, "1 to 8"), ({"format": "glb", "target": "print"}, "leave"),
        ({"quads": True}, "format obj"), ({"normal_map": True}, "give --faces"), ({"normal_map": True, "target": "web"}, "look lit"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said(result: Path, tmp_path: Path, options: dict, expected: str) -> None:
    with pytest.raises(InputError, match="(?i)" + expected):
        drain(export(ExportTask(result, out=tmp_path / "x.glb", **options)))
    assert not list(tmp_path.iterdir())


def test_unknown_formats_and_empty_folders_on_the_command_line(result: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["export", str(result), "--format", "fbx"])
    assert stopped.value.code == 2
    assert "usdz" in capsys.readouterr().err
    assert main(["export", str(tmp_path)]) == 2
    assert "holds no mesh.glb" in capsys.readouterr().err
    bare = tmp_path / "bare"
    shutil.copytree(result, bare, ignore=shutil.ignore_patterns("realtime"))
    assert main(["export", str(bare), "--format", "html"]) == 2
    assert "Run `lumigraph reconstruct` again" in capsys.readouterr().err


def test_broken_meshes_are_mended_or_refused(result: Path, tmp_path: Path) -> None:
    asset = load_asset(result / "mesh.glb")
    vertices = asset.mesh.vertices.copy()
    vertices[7] = np.nan
    broken = replace(asset, mesh=Triangles(vertices, np.concatenate([asset.mesh.faces, [[0, 0, 1]]])), uv_faces=np.concatenate([asset.uv_faces, [[0, 0, 0]]]))
    broken.write(tmp_path / "mesh.glb")
    mended = load_asset(tmp_path / "mesh.glb")
    assert np.isfinite(mended.mesh.vertices).all()
    assert 5100 <= len(mended.mesh.faces) < 5120
    with pytest.raises(InputError, match="no faces"):
        Asset(asset.mesh.kept(np.zeros(len(asset.mesh.faces), bool)), asset.uv, asset.uv_faces[:0], asset.texture).write(tmp_path / "none.glb")
    every = replace(asset, mesh=Triangles(np.full_like(vertices, np.nan), asset.mesh.faces))
    every.write(tmp_path / "nan.glb")
    with pytest.raises(InputError, match="finite"):
        load_asset(tmp_path / "nan.glb")


def test_zero_area_charts_do_no_harm(result: Path) -> None:
    from recon.surface.unwrapping import Atlas

    asset = load_asset(result / "mesh.glb")
    uv = asset.uv.copy()
    uv[asset.uv_faces[:200]] = 0.5
    painted = drain(bake(asset.mesh, read_transforms(result), 256, atlas=Atlas(uv, asset.uv_faces)))
    assert painted.texture.shape == (256, 256, 3)


def test_a_result_and_its_page_have_the_same_photos(result: Path) -> None:
    baked: Baked = load_baked(result)
    assert set(baked.names) <= {p.name for p in read_transforms(result).image_paths}


def test_quads_and_a_normal_map(result: Path, tmp_path: Path) -> None:
    lines = written(result, tmp_path, format="obj", quads=True, faces=1000).read_text().splitlines()
    faces = [len(line.split()) - 1 for line in lines if line.startswith("f ")]
    assert np.mean(np.array(faces) == 4) > 0.7
    path = written(result, tmp_path, format="glb", normal_map=True, faces=500)
    head = json.loads(path.read_bytes()[20 : 20 + int.from_bytes(path.read_bytes()[12:16], "little")])
    assert head["materials"][0]["normalTexture"] == {"index": 1}
    assert "TANGENT" in head["meshes"][0]["primitives"][0]["attributes"]
    assert len(load_asset(path).mesh.faces) <= 500
