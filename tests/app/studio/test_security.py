"""What strangers may try: addresses, uploads, names, passwords, other people's projects. None reads outside, none brings the server down."""

import io
import json
import os
import struct
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.cli import main
from app.studio.accounts import Accounts, Brake, add_user, secret_of
from data.errors import InputError
from tests.app.studio.conftest import Studio, noise, wait_for_jobs

pytestmark = pytest.mark.alone
SECRET = b"root:x:0:0"


def raw(studio: Studio, target: str, method: str = "GET", body: bytes = b"", headers: dict[str, str] | None = None) -> tuple[int, bytes]:
    """A request with the path exactly as given; clients tidy dots away."""
    import http.client
    from urllib.parse import urlsplit

    place = urlsplit(studio.address)
    connection = http.client.HTTPConnection(place.hostname, place.port, timeout=20)  # type: ignore[arg-type]
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": place.netloc, "Content-Length": str(len(body)), **(headers or {})}.items():
        connection.putheader(name, value)
    connection.endheaders(body)
    answer = connection.getresponse()
    return answer.status, answer.read()


def alive(studio: Studio) -> bool:
    return studio.process.poll() is None and httpx.get(f"{studio.address}/healthz").text == "ok"


@pytest.fixture(scope="module")
def project(studio: Studio) -> str:
    from gradio_client import Client

    client = Client(studio.address, verbose=False)
    made = str(client.predict(api_name="/example")["project"])
    wait_for_jobs(client, made)
    return made


ADDRESSES = [
    "/gradio_api/file=/etc/passwd", "/gradio_api/file=../../../../etc/passwd", "/gradio_api/file/etc/passwd", "/gradio_api/file=http://127.0.0.1/x", "/gradio_api/file=C:/x",
    "/file=/etc/passwd", "/gradio_api/proxy=http://169.254.169.254/latest", "/gradio_api/proxy=file:///etc/passwd", "/gradio_api/deep_link", "/monitoring", "/monitoring/summary",
    "/gradio_api/vibe-code", "/gradio_api/runs", "/gradio_api/dev/reload", "/gradio_api/stream/x", "/gradio_api/component_server", "/gradio_api/custom_component/x/y/z/w",
    "/static/../../../../etc/passwd", "/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd", "/assets/../../../../../etc/passwd", "/assets/..%2f..%2f..%2fetc/passwd", "/svelte/../../../etc/passwd",
    "//etc/passwd", "/..", "/%00", "/\\..\\..\\etc\\passwd", "/.env", "/.secret", "/docs", "/redoc", "/files", "/files/", "/files/x/y", "/gradio_api/mcp/sse",
]  # fmt: skip


@pytest.mark.parametrize("address", ADDRESSES)
def test_addresses_that_lead_elsewhere(studio: Studio, address: str) -> None:
    status, body = raw(studio, address)
    assert status in (400, 403, 404, 405), (status, body[:200])
    assert SECRET not in body
    assert str(studio.projects).encode() not in body
    assert alive(studio)


INNER = [
    "../../../../etc/passwd", "..%2f..%2f..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/project.json", "project.json", "photos.json", "cameras.json", "jobs", "scene/../project.json",
    "scene/../../../.secret", "results/%00", "thumbs/../project.json", "/etc/passwd", "//etc/passwd", "scene/images/../../project.json", "results/./../project.json", "thumbs",
    ".poses/x.jpg", "thumbs/.hidden.jpg", "scene/transforms.json%00.jpg", "exports/" + "a" * 5000, "thumbs\\..\\project.json", "incoming/00000/x.jpg",
]  # fmt: skip


@pytest.mark.parametrize("inner", INNER)
def test_paths_within_a_project(studio: Studio, project: str, inner: str) -> None:
    status, body = raw(studio, f"/files/{project}/{inner}")
    assert status in (400, 404, 414), (status, body[:200])
    assert SECRET not in body
    assert b"created" not in body


def test_links_inside_a_project_lead_nowhere(studio: Studio, project: str) -> None:
    folder = studio.projects / "local" / project / "exports"
    folder.mkdir(exist_ok=True)
    (folder / "x.txt.json").symlink_to("/etc/passwd")
    (folder / "there.json").symlink_to(studio.projects / "local" / project / "project.json")
    for name in ("x.txt.json", "there.json"):
        assert raw(studio, f"/files/{project}/exports/{name}")[0] == 404


def test_thumbnails_are_served(studio: Studio, project: str) -> None:
    status, body = raw(studio, f"/files/{project}/thumbs/0000.jpg")
    assert (status, body[:2]) == (200, b"\xff\xd8")


def test_headers_shut_the_page_in(studio: Studio) -> None:
    answer = httpx.get(studio.address + "/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"  # with none, browsers send the login form from nowhere
    assert "server" not in answer.headers
    assert "access-control-allow-origin" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "127.0.0.1.evil.example"}, {"Host": ""}, {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
     {"Origin": "http://localhost:1"}],
)  # fmt: skip
def test_other_pages_may_not_act_here(studio: Studio, headers: dict[str, str]) -> None:
    status, _ = raw(studio, "/gradio_api/call/example", "POST", b'{"data":[]}', {"Content-Type": "application/json", **headers})
    assert status in (400, 403)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
def test_methods_that_nobody_needs(studio: Studio, method: str) -> None:
    assert raw(studio, "/status", method)[0] in (400, 404, 405)


def test_bodies_that_are_too_large(studio: Studio) -> None:
    assert raw(studio, "/gradio_api/call/example", "POST", b"x" * (3 * 2**20))[0] == 413
    assert raw(studio, "/gradio_api/upload", "POST", b"", {"Content-Length": str(10**12)})[0] == 413

    def endless():
        for _ in range(60):
            yield b"x" * 65536

    answer = httpx.post(f"{studio.address}/gradio_api/call/example", content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code in (400, 413)
    assert alive(studio)


CALLS = [
    ("photos", ["../../../etc"]), ("photos", [None]), ("photos", [{"path": "/etc/passwd"}]), ("photos", [["x"] * 1000]), ("delete", [".."]), ("rename", ["..", "x"]),
    ("leave_out", ["PROJECT", ["../../project.json"]]), ("leave_out", ["PROJECT", ["/etc/passwd"]]), ("leave_out", ["PROJECT", "no list"]), ("view", ["PROJECT", {"camera_to_world": "x"}]),
    ("view", ["PROJECT", {"camera_to_world": [[1e400] * 4] * 4}]), ("view", ["PROJECT", None, "../../../etc/passwd"]), ("export", ["PROJECT", "../../x"]),
    ("export", ["PROJECT", "glb", "none", None, None, False, False, "../../../etc"]), ("pack", ["PROJECT", "../.."]), ("video", ["PROJECT", "/etc/passwd"]),
    ("video", ["PROJECT", "orbit", [{"camera_to_world": [[0] * 4] * 4}] * 1000]), ("attack", ["PROJECT", "nerfool; rm -rf /"]), ("attack", ["PROJECT", "pgd", -1e9]),
    ("crop", ["PROJECT", [float("1e308")] * 6]), ("crop", ["PROJECT", ["a"] * 6]), ("reconstruct", ["PROJECT", "../draft"]), ("reconstruct", ["PROJECT", "draft", "__import__('os')"]),
    ("cancel", ["PROJECT", "../../x"]), ("resume", ["PROJECT", None]), ("masks", ["PROJECT", "$(id)"]), ("status", ["PROJECT/../.."]), ("create", [[{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}], "x"]),
    ("create", [[{"path": "/etc/passwd", "url": "http://127.0.0.1:1/x", "meta": {"_type": "gradio.FileData"}}], "x"]), ("create", [[{"path": "http://169.254.169.254/", "meta": {"_type": "gradio.FileData"}}], "x"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data"), CALLS)
def test_calls_that_make_no_sense(studio: Studio, project: str, name: str, data: list) -> None:
    before = sorted(p.name for p in (studio.projects / "local").iterdir())
    text = json.dumps({"data": data}).replace("PROJECT", project)
    answer = httpx.post(f"{studio.address}/gradio_api/run/{name}", content=text, headers={"content-type": "application/json"}, timeout=30)
    body = answer.text
    assert answer.status_code >= 400, body[:300]
    assert SECRET.decode() not in body
    assert alive(studio)
    after = sorted(p.name for p in (studio.projects / "local").iterdir())
    assert before == after, "nothing was deleted, nothing made"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["photos", "view", "video", "export", "crop", "leave_out", "estimate", "status", "cancel", "rename"]),
    data=st.lists(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=30) | st.integers(), lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8), max_size=9),
)  # fmt: skip
def test_calls_at_random(studio: Studio, name: str, data: list) -> None:
    try:
        text = json.dumps({"data": data}).encode()
    except ValueError:
        return
    status, body = raw(studio, f"/gradio_api/run/{name}", "POST", text, {"Content-Type": "application/json"})
    assert status < 600
    assert SECRET not in body
    assert studio.process.poll() is None


def test_the_described_addresses_hold_against_schemathesis(studio: Studio) -> None:
    """Our own addresses answer whatever their description allows, and what it does not, without an error of ours."""
    pytest.importorskip("schemathesis")
    import subprocess
    import sys

    program = Path(sys.executable).with_name("schemathesis")
    done = subprocess.run(
        [str(program), "run", f"{studio.address}/openapi.json", "--checks", "not_a_server_error", "--max-examples", "12", "--seed", "1", "--generation-database", "none"],
        capture_output=True, text=True, timeout=240, check=False, cwd=studio.projects,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:]
    assert alive(studio)


# --- uploads -----------------------------------------------------------------------------------------------------------


def _zip(entries: dict[str, bytes], link: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
        if link:
            entry = zipfile.ZipInfo("a.jpg")
            entry.external_attr = 0o120777 << 16
            archive.writestr(entry, link)
    return buffer.getvalue()


def _png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def _jpeg() -> bytes:
    buffer = io.BytesIO()
    from PIL import Image

    Image.new("RGB", (64, 48), (90, 120, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def _transforms(path: str) -> bytes:
    frame = {"file_path": path, "transform_matrix": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]}
    return json.dumps({"fl_x": 50, "frames": [frame, frame]}).encode()


UPLOADS: dict[str, tuple[Callable[[], dict[str, bytes]], str]] = {
    "a text named photo": (lambda: {"a.jpg": b"hello"}, "holds no photo"),
    "a program": (lambda: {"a.exe": b"MZ" + b"\0" * 100}, "holds no photo"),
    "a page": (lambda: {"a.html": b"<script>alert(1)</script>"}, "holds no photo"),
    "a drawing with a script": (lambda: {"a.svg": b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"}, "holds no photo"),
    "nothing in it": (lambda: {"a.jpg": b""}, "holds no photo"),
    "one photo": (lambda: {"a.jpg": _jpeg()}, "1 usable photo"),
    "a broken photo": (lambda: {"a.jpg": _jpeg()[:200], "b.jpg": _jpeg()[:150]}, "usable photo"),
    "a picture bomb": (lambda: {"a.png": _png(40000, 40000), "b.png": _png(40000, 40000)}, "megapixels"),
    "a zip that leads out": (lambda: {"a.zip": _zip({"../../evil.jpg": b"x"})}, "leads outside"),
    "a zip with an absolute path": (lambda: {"a.zip": _zip({"/etc/evil.jpg": b"x"})}, "leads outside"),
    "a zip bomb": (lambda: {"a.zip": _zip({"bomb.jpg": b"\0" * 30_000_000})}, "times its size"),
    "a zip with a link": (lambda: {"a.zip": _zip({}, "/etc/passwd")}, "link"),
    "a zip in a zip": (lambda: {"a.zip": _zip({"b.zip": _zip({"a.jpg": _jpeg()})})}, "no photos"),
    "half a zip": (lambda: {"a.zip": _zip({"a.jpg": os.urandom(5000)})[:2000]}, "not a zip"),
    "a zip and a photo": (lambda: {"a.zip": _zip({"a.jpg": _jpeg()}), "b.jpg": _jpeg()}, "either photos, or one zip"),
    "two zips": (lambda: {"a.zip": _zip({"a.jpg": _jpeg()}), "b.zip": _zip({"b.jpg": _jpeg()})}, "either photos, or one zip"),
    "a video that is none": (lambda: {"a.mp4": b"\0\0\0\x18ftypmp42" + os.urandom(500)}, "not a video"),
    "cameras that point out": (lambda: {"a.zip": _zip({"transforms.json": _transforms("../../../etc/passwd")})}, "outside"),
    "cameras that are no JSON": (lambda: {"a.zip": _zip({"transforms.json": b'{"frames": ['})}, "not valid JSON"),
    "a pickled array": (lambda: {"a.zip": _zip({"a.jpg": _jpeg(), "b.jpg": _jpeg(), "poses_bounds.npy": b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,), }" + b" " * 57 + b"\n" + b"\x80\x04K\x01."})}, "plain NumPy"),
}  # fmt: skip


@pytest.mark.parametrize("what", UPLOADS)
def test_bad_uploads_each_get_their_sentence(studio: Studio, tmp_path: Path, what: str) -> None:
    from gradio_client import Client, handle_file

    make, words = UPLOADS[what]
    files = []
    for name, content in make().items():
        (tmp_path / name).write_bytes(content)
        files.append(handle_file(tmp_path / name))
    client = Client(studio.address, verbose=False)
    made = client.predict(files, what, api_name="/create")["project"]
    job = wait_for_jobs(client, made)[-1]
    assert job["status"] == "failed", job
    assert words in job["message"], job["message"]
    assert not list(studio.projects.rglob("evil*"))
    assert not (studio.projects / "local" / made / "incoming").exists()
    client.predict(made, api_name="/delete")


def test_names_cannot_become_markup_or_paths(studio: Studio, tmp_path: Path) -> None:
    from gradio_client import Client

    client = Client(studio.address, verbose=False)
    names = ["<img src=x onerror=alert(1)>.jpg", "../../x.jpg", "${alert(1)}{{7*7}}.jpg", "a'\"b.jpg", "con\u202egpj.jpg"]
    files = [("files", (n, noise(tmp_path / f"{i}.png", i).read_bytes(), "image/png")) for i, n in enumerate(names)]
    uploaded = httpx.post(f"{studio.address}/gradio_api/upload", files=files).json()
    payload = [{"path": p, "orig_name": n, "meta": {"_type": "gradio.FileData"}} for p, n in zip(uploaded, names, strict=True)]
    made = httpx.post(f"{studio.address}/gradio_api/run/create", json={"data": [payload, "<b>${1+1}</b>"]}).json()["data"][0]["project"]
    wait_for_jobs(client, made)
    stored = [p.name for p in (studio.projects / "local" / made / "scene" / "images").iterdir()]
    assert len(stored) == len(names)
    for name in stored:
        assert not set(name) & set("<>&\"'`${}/\\\u202e"), name


# --- users -------------------------------------------------------------------------------------------------------------


def _client(studio: Studio, name: str, password: str):
    from gradio_client import Client

    return Client(studio.address, auth=(name, password), verbose=False)


def test_nobody_comes_in_without_a_login(guarded: Studio) -> None:
    assert httpx.get(guarded.address + "/").headers["location"] == "/login"
    for path in ("/status", "/config", "/gradio_api/info", "/openapi.json", "/files/20260101-000000-00000000/thumbs/0.jpg", "/assets/x.js"):
        assert httpx.get(guarded.address + path).status_code == 401
    assert httpx.post(guarded.address + "/gradio_api/upload", files={"files": b"x"}).status_code == 401
    assert httpx.post(guarded.address + "/gradio_api/call/example", json={"data": []}).status_code == 401
    for cookie in ("ann", "ann.99999999999.abc.def", "local.99999999999.00000000." + "0" * 64, "x" * 5000, "ann.-1.x.y"):
        assert httpx.get(guarded.address + "/status", cookies={"lumigraph": cookie}).status_code == 401


def test_two_users_do_not_see_each_other(guarded: Studio) -> None:
    ann, bob = _client(guarded, "ann", "correct horse battery"), _client(guarded, "bob", "staple of the other")
    project = ann.predict(api_name="/example")["project"]
    other = bob.predict(api_name="/example")["project"]
    jobs = wait_for_jobs(ann, project)
    wait_for_jobs(bob, other)
    assert [p["id"] for p in ann.predict(api_name="/projects")] == [project]
    assert [p["id"] for p in bob.predict(api_name="/projects")] == [other]
    from gradio_client.exceptions import AppError

    for name, arguments in (("photos", ()), ("delete", ()), ("rename", ("mine now",)), ("status", ()), ("cancel", (jobs[0]["id"],)), ("reconstruct", ()), ("pack", ())):
        with pytest.raises(AppError, match="no such project"):
            bob.predict(project, *arguments, api_name=f"/{name}")
    page = f"{guarded.address}/files/{project}/thumbs/0000.jpg"
    assert httpx.get(page, cookies=ann.cookies).status_code == 200
    assert httpx.get(page, cookies=bob.cookies).status_code == 404
    assert httpx.get(f"{guarded.address}/status?project={project}", cookies=bob.cookies).status_code == 404


def test_a_log_without_people(guarded: Studio) -> None:
    time.sleep(0.2)
    log = (guarded.projects.parent / "log.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"request", "job"} <= {line["event"] for line in lines}
    assert not [word for word in ("ann", "bob", "127.0.0.1", "still", "thumbs", "battery") if word in log]


def test_guessing_passwords_takes_ever_longer(guarded: Studio) -> None:
    answers = [httpx.post(guarded.address + "/login", data={"username": "nobody", "password": str(i)}) for i in range(8)]
    assert [a.status_code for a in answers][:5] == [401] * 5
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_the_brake_doubles_and_forgives() -> None:
    brake = Brake(free=2)
    brake.wrong("a")
    assert brake.wait("a") == 0
    for _ in range(4):
        brake.wrong("a")
    assert brake.wait("a", "b") > 5
    assert brake.wait("b") == 0
    brake.right("a")
    assert brake.wait("a") == 0


def test_a_changed_password_ends_old_logins(tmp_path: Path) -> None:
    add_user(tmp_path / "users.json", "ann", "correct horse battery")
    assert oct((tmp_path / "users.json").stat().st_mode)[-3:] == "600"
    accounts = Accounts(tmp_path / "users.json", secret_of(tmp_path))
    token = accounts.token("ann")
    assert accounts.who(token) == "ann"
    assert Accounts(tmp_path / "users.json", secret_of(tmp_path)).who(token) == "ann", "a restart logs nobody out"
    assert not accounts.right("ann", "wrong")
    assert not accounts.right("eve", "correct horse battery")
    os.utime(tmp_path / "users.json", (1, 1))
    add_user(tmp_path / "users.json", "ann", "another long password")
    assert accounts.who(token) is None


@pytest.mark.parametrize(("name", "password", "words"), [("Ann", "long enough indeed", "user's name"), ("local", "long enough indeed", "not 'local'"), ("ann", "short", "10 or more")])
def test_users_that_cannot_be_added(tmp_path: Path, name: str, password: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        add_user(tmp_path / "users.json", name, password)


def test_one_folder_has_one_studio(studio: Studio, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["studio", "--projects", str(studio.projects), "--port", "8777"]) == 2
    assert "Another studio serves" in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--host", "0.0.0.0"], ["--share"], ["--host", "::"], ["--users", "nowhere.json"]])
def test_nobody_is_let_in_by_accident(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["studio", "--projects", str(tmp_path / "p"), *options]) == 2
    assert "--add-user" in capsys.readouterr().err
