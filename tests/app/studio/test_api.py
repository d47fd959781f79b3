"""Every action for programs, through `gradio_client`, on the bundled example."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.app.studio.conftest import Studio, noise, wait_for_jobs
from tests.conftest import SAMPLE

pytestmark = [pytest.mark.slow, pytest.mark.alone]

DOCUMENTED = {
    "/projects", "/create", "/example", "/rename", "/delete", "/photos", "/leave_out", "/masks", "/find_cameras", "/cameras", "/crop", "/estimate", "/reconstruct", "/status",
    "/cancel", "/resume", "/view", "/video", "/suggestions", "/try_edit", "/edit", "/edits", "/undo_edit", "/redo_edit", "/understand", "/understood", "/inspect", "/inspection", "/attack", "/export", "/pack",
}  # fmt: skip


@pytest.fixture(scope="module")
def client(studio: Studio):
    gradio_client = pytest.importorskip("gradio_client")
    return gradio_client.Client(studio.address, verbose=False)


@pytest.fixture(scope="module")
def finished(client) -> str:
    """The example, reconstructed at a glance from a third of its photos."""
    project = client.predict(api_name="/example")["project"]
    wait_for_jobs(client, project)
    names = [p["name"] for p in client.predict(project, api_name="/photos")["photos"]["photos"]]
    client.predict(project, names[8:], True, api_name="/leave_out")
    wait_for_jobs(client, project)
    assert len(client.predict(project, api_name="/photos")["photos"]["photos"]) == 8
    client.predict(project, "glance", api_name="/reconstruct")
    jobs = wait_for_jobs(client, project)
    assert jobs[-1]["status"] == "done", jobs
    return str(project)


def test_all_actions_and_only_they_are_documented(client) -> None:
    info = client.view_api(return_format="dict")["named_endpoints"]
    assert set(info) == DOCUMENTED
    assert all(endpoint["description"] for endpoint in info.values())


def test_photos_become_a_project_with_findings(client, tmp_path: Path) -> None:
    from gradio_client import handle_file

    files = [SAMPLE / "images" / f"{i:02d}.jpg" for i in range(4)]
    twin = tmp_path / "twin.jpg"
    twin.write_bytes(files[3].read_bytes())
    text = tmp_path / "notes.jpg"
    text.write_text("this is no photo")
    made = client.predict([handle_file(f) for f in [*files, twin, text]], "Mine", api_name="/create")
    jobs = wait_for_jobs(client, made["project"])
    assert jobs[-1]["status"] == "done", jobs
    found = client.predict(made["project"], api_name="/photos")["photos"]
    assert len(found["photos"]) == 5
    assert any(f["kind"] == "duplicate" for f in found["findings"])
    assert any(f["kind"] == "few" for f in found["findings"])
    assert found["dropped"] == [{"file": "notes.jpg", "why": "it is neither a photo nor a video nor a zip, whatever its name says"}]
    client.predict(made["project"], api_name="/delete")
    assert made["project"] not in [p["id"] for p in client.predict(api_name="/projects")]


def test_a_project_is_renamed(client, finished: str) -> None:
    client.predict(finished, "  Still\nlife ", api_name="/rename")
    assert next(p for p in client.predict(api_name="/projects") if p["id"] == finished)["name"] == "Still life"


def test_the_result_is_served_and_its_page_is_shut_in(client, studio: Studio, finished: str) -> None:
    result = next(p for p in client.predict(api_name="/projects") if p["id"] == finished)["results"][-1]
    page = httpx.get(f"{studio.address}/files/{finished}/results/{result}/view.html")
    assert page.status_code == 200
    assert page.headers["content-security-policy"].startswith("sandbox allow-scripts")
    assert httpx.get(f"{studio.address}/files/{finished}/results/{result}/mesh.glb").content[:4] == b"glTF"


def test_cameras_are_found_and_a_box_crops_the_mesh(client, studio: Studio, finished: str) -> None:
    client.predict(finished, api_name="/find_cameras")
    wait_for_jobs(client, finished)
    cameras = client.predict(finished, api_name="/cameras")
    assert len(cameras["cameras"]) == 8
    assert len(cameras["points"]) > 100
    box = cameras["box"]
    half = [*box[:3], (box[0] + box[3]) / 2, *box[4:]]
    client.predict(finished, half, api_name="/crop")
    client.predict(finished, "glance", api_name="/reconstruct")
    assert wait_for_jobs(client, finished)[-1]["status"] == "done"
    import trimesh

    folders = sorted((studio.projects / "local" / finished / "results").iterdir())
    whole, cropped = (trimesh.load(f / "mesh.glb", force="mesh").bounds for f in folders[-2:])
    step = 0.05 * (box[3] - box[0])
    assert whole[1][0] > half[3] + step
    assert cropped[1][0] < half[3] + step
    client.predict(finished, None, api_name="/crop")


def test_masks_are_made_and_forgotten(client, studio: Studio, finished: str) -> None:
    client.predict(finished, "auto", api_name="/masks")
    assert wait_for_jobs(client, finished)[-1]["status"] == "done"
    folder = studio.projects / "local" / finished / "scene" / "masks"
    assert len(list(folder.glob("*.png"))) == 8
    transforms = folder.parent / "transforms.json"
    assert all(f["mask_path"].startswith("masks/") for f in json.loads(transforms.read_text())["frames"] if f["file_path"].removeprefix("images/")[:2] in ("00", "01"))
    client.predict(finished, "none", api_name="/masks")
    assert not folder.exists()
    assert "mask_path" not in transforms.read_text()


def test_estimates_say_what_they_rest_on(client, finished: str) -> None:
    glance = client.predict(finished, "glance", api_name="/estimate")
    high = client.predict(finished, "high", "hashgrid", api_name="/estimate")
    assert 0 < glance["seconds"][0] < glance["seconds"][1] < high["seconds"][1]
    assert "earlier run" in glance["basis"]


def test_pictures_are_drawn_from_cameras_and_photos(client, studio: Studio, finished: str) -> None:
    camera = client.predict(finished, api_name="/cameras")["cameras"][2]
    view = {"camera_to_world": [*camera["camera_to_world"], [0, 0, 0, 1]], "fov": 40, "aspect": 1.5}
    for arguments in ({"camera": view, "what": "realtime"}, {"photo": "00.jpg", "what": "mesh", "show": "depth"}):
        client.predict(finished, api_name="/view", **arguments)
        job = wait_for_jobs(client, finished)[-1]
        assert job["status"] == "done", job
        assert len(job["files"]) == (2 if "photo" in arguments else 1)
        for file in job["files"]:
            assert httpx.get(studio.address + file["url"]).content[:4] == b"\x89PNG"


def test_a_film_through_views(client, studio: Studio, finished: str) -> None:
    cameras = client.predict(finished, api_name="/cameras")["cameras"]
    views = [{"camera_to_world": [*c["camera_to_world"], [0, 0, 0, 1]], "fov": 40} for c in cameras[:3]]
    client.predict(finished, "orbit", views, 0.5, "mesh", 160, 120, api_name="/video")
    job = wait_for_jobs(client, finished)[-1]
    assert job["status"] == "done", job
    assert httpx.get(studio.address + job["files"][0]["url"]).content[4:8] == b"ftyp"


def test_photos_are_inspected(client, finished: str) -> None:
    client.predict(finished, api_name="/inspect")
    assert wait_for_jobs(client, finished)[-1]["status"] == "done"
    found = client.predict(finished, api_name="/inspection")
    assert len(found["photos"]) == 8
    assert "tampered" in found["verdict"]


def test_an_attack_is_shown(client, studio: Studio, finished: str) -> None:
    client.predict(finished, "fgsm", 8.0, 1, api_name="/attack")
    job = wait_for_jobs(client, finished)[-1]
    assert job["status"] == "done", job
    assert any(f["name"] == "leaderboard.html" for f in job["files"])


def test_a_sentence_is_tried_on_a_photo(client, studio: Studio, finished: str) -> None:
    assert "make it autumn" in client.predict(api_name="/suggestions")
    client.predict(finished, "make it autumn", "02.jpg", api_name="/try_edit")
    job = wait_for_jobs(client, finished)[-1]
    assert job["status"] == "done", job
    assert [httpx.get(studio.address + f["url"]).content[:4] for f in job["files"]] == [b"\x89PNG"] * 2


def test_a_painted_thing_is_recolored_undone_and_brought_back(client, studio: Studio, finished: str) -> None:
    import base64
    import io

    from PIL import Image

    before = client.predict(finished, api_name="/edits")
    assert not before["can_undo"]
    picture = Image.new("L", (120, 90))
    picture.paste(255, (40, 30, 80, 60))
    png = io.BytesIO()
    picture.save(png, "PNG")
    mask = {"photo": "02.jpg", "png": "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()}
    client.predict(finished, do="recolor", mask=mask, color="#2040c0", api_name="/edit")
    job = wait_for_jobs(client, finished)[-1]
    assert job["status"] == "done", job
    after = client.predict(finished, api_name="/edits")
    assert after["can_undo"]
    assert after["edits"][0]["do"] == "recolor"
    assert after["edits"][0]["unchanged_outside"]
    assert after["edits"][0]["region"] == "02.png"
    assert client.predict(finished, api_name="/undo_edit") == {"result": before["result"]}
    assert client.predict(finished, api_name="/edits")["can_redo"]
    assert client.predict(finished, api_name="/redo_edit") == {"result": after["result"]}
    assert httpx.get(f"{studio.address}/files/{finished}/results/{after['result']}/originals/02.jpg").content[:2] == b"\xff\xd8"


@pytest.mark.parametrize("wanted", [{"format": "glb", "faces": 2000}, {"target": "blender"}, {"format": "usdz"}, {"format": "html"}, {"format": "points"}])
def test_exports_are_made(client, studio: Studio, finished: str, wanted: dict) -> None:
    client.predict(finished, api_name="/export", **wanted)
    job = wait_for_jobs(client, finished)[-1]
    assert job["status"] == "done", job
    assert len(httpx.get(studio.address + job["files"][0]["url"]).content) > 1000


def test_everything_in_one_zip(client, studio: Studio, finished: str) -> None:
    import io
    import zipfile

    client.predict(finished, api_name="/pack")
    job = wait_for_jobs(client, finished)[-1]
    names = zipfile.ZipFile(io.BytesIO(httpx.get(studio.address + job["files"][0]["url"]).content)).namelist()
    assert {"mesh.glb", "transforms.json", "report.html", "run.toml"} <= {Path(n).name for n in names}
    assert not [n for n in names if "/." in n]


def test_a_job_is_cancelled_and_goes_on(client, studio: Studio, finished: str) -> None:
    client.predict(finished, "glance", api_name="/reconstruct")

    def running() -> dict:
        end = time.monotonic() + 60
        while not (jobs := [j for j in client.predict(finished, api_name="/status")["jobs"] if j["status"] == "running" and j["stage"] != "start"]):
            assert time.monotonic() < end
            time.sleep(0.05)
        return dict(jobs[0])

    job = running()
    pid = int((studio.projects / "local" / finished / "jobs" / job["id"] / "pid").read_text())
    assert Path(f"/proc/{pid}").exists()
    assert client.predict(finished, job["id"], api_name="/cancel")["status"] == "cancelled"
    assert not Path(f"/proc/{pid}").exists(), "the call returns when the worker is gone"
    client.predict(finished, job["id"], api_name="/resume")
    again = running()
    assert again["kind"] == "reconstruct"
    assert again["id"] != job["id"]
    client.predict(finished, again["id"], api_name="/cancel")


def test_errors_are_sentences(client, finished: str, tmp_path: Path) -> None:
    from gradio_client import handle_file
    from gradio_client.exceptions import AppError

    for call, words in (
        (lambda: client.predict("20260101-000000-00000000", api_name="/photos"), "no such project"),
        (lambda: client.predict(finished, "perfect", api_name="/reconstruct"), "cannot be 'perfect'"),
        (lambda: client.predict(finished, "orbit", [], 1000.0, api_name="/video"), "0.1 to 60 seconds"),
        (lambda: client.predict(finished, "glb", "none", 5, api_name="/export"), "leaves no shape"),
        (lambda: client.predict(finished, [1, 0, 0, 0, 1, 1], api_name="/crop"), "no box"),
        (lambda: client.predict(finished, "none of these", api_name="/cancel"), "no such job"),
        (lambda: client.predict(finished, "", api_name="/edit"), "prompt is empty"),
        (lambda: client.predict(finished, "make it a zebra", api_name="/edit"), "does not know 'zebra'"),
        (lambda: client.predict(finished, "make it autumn", region="/etc/passwd.png", api_name="/edit"), "region is"),
        (lambda: client.predict(finished, do="recolor", color="/etc/passwd.png", region="subject", api_name="/edit"), "colour is a name"),
        (lambda: client.predict(finished, do="remove", api_name="/edit"), "Say where"),
        (lambda: client.predict(finished, do="recolor", color="red", mask={"photo": "02.jpg", "png": "bm90aGluZw=="}, api_name="/edit"), "no PNG"),
        (lambda: client.predict(finished, do="recolor", color="red", mask={"photo": "../../x.jpg", "png": ""}, api_name="/edit"), "no photo of this project"),
        (lambda: client.predict(finished, "make it autumn", strength=7.0, api_name="/edit"), "from 0 to 1"),
        (lambda: client.predict(finished, api_name="/redo_edit"), "no edit to bring back"),
    ):
        with pytest.raises(AppError, match=words):
            call()
    lone = client.predict([handle_file(noise(tmp_path / "a.png"))], "Lone", api_name="/create")
    job = wait_for_jobs(client, lone["project"])[-1]
    assert job["status"] == "failed"
    assert "1 usable photo" in job["message"]
