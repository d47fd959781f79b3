"""The walk as a person takes it: real clicks in a browser without a network; pictures of every step are kept in `.artefacts/`."""

import os
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.app.studio.conftest import ARTEFACTS, Studio, serve, serving
from tests.conftest import SAMPLE, SHARED

pytestmark = [pytest.mark.slow, pytest.mark.alone]

STEPS = ("1 Photos", "2 Cameras", "3 Reconstruct", "4 Explore", "5 Understand", "6 Edit", "7 Robustness", "8 Export")


def photos_of_a_place() -> list[Path]:
    """Nine photos without cameras: of a real kitchen where the scenes are at hand, else the bundled ones."""
    kitchen = SHARED / "kitchen_unposed" / "images"
    if kitchen.is_dir():
        return sorted(kitchen.glob("*.[jJ]*"))[8:17]
    return sorted((SAMPLE / "images").glob("*.jpg"))[:9]


def posed_zip(path: Path) -> Path:
    """Eight neighbouring photos of the bundled still life with their cameras, as one zip."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(SAMPLE / "transforms.json", "transforms.json")
        for photo in sorted((SAMPLE / "images").glob("*.jpg"))[:8]:
            archive.write(photo, f"images/{photo.name}")
    return path


class Walker:
    """A person at the page."""

    def __init__(self, browser: Any, address: str, width: int = 1280, height: int = 900, dark: bool = False, login: tuple[str, str] | None = None) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        self.page = self.context.new_page()
        self.asked: list[str] = []
        self.faults: list[str] = []
        self.page.on("request", lambda r: self.asked.append(r.url))
        self.page.on("pageerror", lambda e: self.faults.append(str(e)))
        self.page.on("console", lambda m: self.faults.append(m.text) if m.type == "error" and "Failed to load resource" not in m.text else None)
        self.page.goto(address)
        if login:
            self.page.fill("input[name=username]", login[0])
            self.page.fill("input[name=password]", login[1])
            self.page.click("button")
        self.page.wait_for_selector("#example", timeout=30_000)
        self.page.wait_for_timeout(500)

    def step(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()
        self.page.wait_for_timeout(300)

    def see(self, selector: str, seconds: float = 60.0) -> Any:
        return self.page.wait_for_selector(selector, timeout=1000 * seconds)

    def picture(self, name: str) -> None:
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")

    def project(self) -> str:
        return str(self.page.evaluate("new URL(location).searchParams.get('project')"))

    def close(self) -> None:
        assert not self.faults, self.faults
        self.context.close()


def findings_of_axe(walker: Walker) -> list[str]:
    """What axe-core calls serious or critical."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(walker.page).response["violations"]
    return [f"{v['id']}: {v['help']} ({n['html'][:160]} {n.get('any', [{}])[:1]})" for v in found if v["impact"] in ("serious", "critical") for n in v["nodes"][:3]]


@pytest.fixture(scope="module")
def walked(studio: Studio, chromium) -> str:
    """The whole walk; the project that it made."""
    walker = Walker(chromium, studio.address)
    page = walker.page
    walker.picture("1-empty")
    page.set_input_files("#photos input[type=file]", [str(p) for p in photos_of_a_place()])
    walker.see("#gallery li:nth-child(9)")
    walker.picture("2-photos")
    page.click("#gallery li:nth-child(9) button")
    walker.see("#gallery li.out")
    page.wait_for_timeout(1500)
    page.click("#photos-next")
    walker.see("#cameras-view canvas", 180)
    page.wait_for_timeout(800)
    walker.picture("3-cameras")
    page.focus("#cameras-view canvas")
    page.keyboard.press("ArrowLeft")
    page.click("text=Mesh only what is in the box")
    page.wait_for_timeout(500)
    page.click("#cameras-next")
    page.click("label:has-text('Glance')")
    walker.see("#estimate strong")
    walker.picture("4-reconstruct")
    page.click("#start")
    walker.see("#jobs progress", 20)
    page.wait_for_timeout(4000)
    walker.picture("5-running")
    page.reload()  # in the middle
    walker.see("#jobs progress", 20)
    walker.see("#jobs .preview", 120)
    walker.picture("6-preview")
    walker.step(STEPS[2])
    walker.see("#outcome h2", 180)
    page.wait_for_timeout(1000)
    walker.picture("7-result")
    page.click("#reconstruct-next")
    walker.see("#viewer iframe")
    page.frame_locator("#viewer iframe").locator("#strip button").nth(2).click(timeout=30_000)
    page.wait_for_function("window.lumigraph.camera !== null", timeout=30_000)
    walker.picture("8-explore")
    page.click("#what label:has-text('Photos blended')")
    page.click("#draw-here")
    walker.see("#picture img", 90)
    page.click("#compare")
    walker.see("#picture .compare", 90)
    page.get_by_role("button", name="Film").first.click()
    page.click("#key-add")
    page.frame_locator("#viewer iframe").locator("#strip button").nth(6).click()
    page.wait_for_timeout(600)
    page.click("#key-add")
    walker.see("#keys [data-key='1']")
    page.click("#keys [data-play]")
    page.fill("#seconds input[type=number]", "1")
    page.click("#film-it")
    walker.see("#videos video", 180)
    walker.picture("9-film")
    walker.step(STEPS[4])
    page.click("#understand")
    walker.see("#understood table", 120)
    walker.see("#understood-photo .compare", 30)
    walker.see("#understood-3d iframe", 30)
    walker.picture("9-things")
    page.click("#understand-task label:has-text('click on')")
    photo = walker.see("#clicks .clicks img", 30)
    photo.scroll_into_view_if_needed()
    page.wait_for_timeout(500)
    photo.click(position={"x": 200, "y": 150})
    walker.see("#clicks .dot.in")
    # In 3D as well: the view says which place was meant, and marks it.
    in_3d = page.frame_locator("#understood-3d iframe")
    in_3d.locator("#wait").wait_for(state="detached", timeout=60_000)
    in_3d.locator("#view").click()
    walker.see("#clicks output:has-text('2 clicks')", 30)
    walker.picture("9-clicked-in-3d")
    page.click("#understand")
    walker.see("#understood a:has-text('part.glb')", 120)
    walker.picture("9-selected")
    page.click("#understand-export")
    walker.see("#part", 20)
    walker.step(STEPS[3])
    page.click("#explore-edit")
    page.click("#suggestions button:has-text('make it autumn')")
    page.click("#try-edit")
    walker.see("#tried .compare", 90)
    page.click("#edit")
    walker.see("#jobs .preview", 120)
    walker.picture("9-editing")
    walker.see("#before-after .compare", 240)
    page.click("#undo")
    walker.see("#redo").click()
    walker.see("#before-after .compare", 30)
    page.click("#where label:has-text('paint')")
    canvas = walker.see("#paint canvas")
    page.wait_for_timeout(500)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.4 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.5 * box["height"])
    page.mouse.up()
    assert page.evaluate("window.lumigraph.mask.png").startswith("data:image/png;base64,")
    walker.picture("9-edited")
    walker.step(STEPS[6])
    page.click("#inspect")
    walker.see("#inspected h2", 180)
    walker.picture("10-robustness")
    walker.step(STEPS[7])
    page.click("#target label:has-text('Blender')")
    page.click("#export")
    walker.see("#files a", 120)
    with page.expect_download() as download:
        page.click("#files a")
    assert Path(download.value.path()).read_bytes()[:4] == b"glTF"
    walker.picture("11-export")
    project = walker.project()
    outside = [u for u in walker.asked if not u.startswith((studio.address, "blob:", "data:"))]
    assert not outside, "the page needs nothing from elsewhere"
    walker.close()
    return project


def test_from_photos_to_blender_and_back_in_another_tab(walked: str, studio: Studio, chromium) -> None:
    walker = Walker(chromium, f"{studio.address}/?project={walked}")
    walker.see("#viewer iframe")
    assert walker.page.get_by_role("tab", name=STEPS[3]).get_attribute("aria-selected") == "true", "an opened result is shown"
    walker.close()


@pytest.mark.parametrize(("name", "size", "dark"), [("desktop", (1280, 900), False), ("dark", (1280, 900), True), ("phone", (390, 844), False)])
def test_nothing_bars_anybody(walked: str, studio: Studio, chromium, name: str, size: tuple[int, int], dark: bool) -> None:
    """axe-core finds nothing serious at any step, in light, in the dark and on a phone; nothing is wider than a phone."""
    walker = Walker(chromium, f"{studio.address}/?project={walked}", *size, dark=dark)
    walker.see("#jobs .job")
    found = {}
    for number, step in enumerate(STEPS):
        if name == "phone" and not walker.page.get_by_role("tab", name=step).is_visible():
            walker.page.locator("#walk .overflow-menu > button").click()
            walker.page.locator(f"#walk .overflow-dropdown button:has-text('{step}')").click()
        else:
            walker.step(step)
        walker.page.wait_for_timeout(300)
        walker.picture(f"{name}-{number + 1}")
        if serious := findings_of_axe(walker):
            found[step] = serious
        width = walker.page.evaluate("document.documentElement.scrollWidth")
        assert width <= size[0] + 1, f"{step} is {width} pixels wide"
    walker.context.close()
    assert not found


def test_the_keyboard_suffices(studio: Studio, chromium) -> None:
    """Every tab and the example's button can be reached and used without a mouse."""
    walker = Walker(chromium, studio.address)
    walker.page.focus("#example")
    walker.page.keyboard.press("Enter")
    walker.see("#gallery li")
    walker.page.get_by_role("tab", name=STEPS[0]).focus()
    for _ in range(12):
        walker.page.keyboard.press("Tab")
        if walker.page.evaluate("document.activeElement.getAttribute('role')") == "tab":
            break
    walker.page.get_by_role("tab", name=STEPS[2]).focus()
    walker.page.keyboard.press("Enter")
    assert walker.page.locator("#start").is_visible()
    walker.close()


def test_cancel_then_resume(studio: Studio, chromium) -> None:
    walker = Walker(chromium, studio.address)
    page = walker.page
    page.click("#example")
    walker.see("#photos-next")
    page.wait_for_timeout(1000)
    walker.step(STEPS[2])
    page.click("#start")
    button = walker.see("#jobs button.cancel", 20)
    page.wait_for_timeout(3000)
    folder = max((studio.projects / "local" / walker.project() / "jobs").iterdir())
    pid = int((folder / "pid").read_text())
    button.click()
    gone = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < gone, "the worker goes on"
        time.sleep(0.02)
    walker.see("#jobs button.resume", 10).click()
    walker.see("#jobs progress", 20)
    page.click("#jobs button.cancel")
    walker.see("#jobs button.resume", 10)
    walker.close()


def test_bad_uploads_say_why(studio: Studio, chromium, tmp_path: Path) -> None:
    walker = Walker(chromium, studio.address)
    (tmp_path / "a.jpg").write_text("no photo")
    walker.page.set_input_files("#photos input[type=file]", str(tmp_path / "a.jpg"))
    walker.see("#jobs .job.failed", 20)
    assert "holds no photo" in walker.page.inner_text("#jobs .words")
    walker.picture("bad-upload")
    walker.close()


def test_projects_are_renamed_and_deleted_with_a_second_thought(studio: Studio, chromium) -> None:
    walker = Walker(chromium, studio.address)
    page = walker.page
    page.click("#example")
    walker.see("#gallery li")
    page.wait_for_timeout(1000)
    page.get_by_role("button", name="Rename or delete").click()
    page.wait_for_function("document.querySelector('#name input, #name textarea')?.value.startsWith('Example')")  # else its arrival would undo what is typed
    page.fill("#name input, #name textarea", "A name of mine")
    page.click("#rename")
    walker.see("#heading h1:has-text('A name of mine')")
    project = walker.project()
    page.click("#delete")
    walker.see("text=Deleting cannot be undone")
    assert (studio.projects / "local" / project).exists()
    page.check("#sure input")
    page.click("#delete")
    walker.see("#heading h1:has-text('Photos to 3D')")
    assert not (studio.projects / "local" / project).exists()
    walker.close()


def test_two_people_at_once(guarded: Studio, chromium) -> None:
    ann = Walker(chromium, guarded.address, login=("ann", "correct horse battery"))
    bob = Walker(chromium, guarded.address, login=("bob", "staple of the other"))
    for walker in (ann, bob):
        walker.page.click("#example")
    for walker in (ann, bob):
        walker.see("#gallery li")
        walker.page.wait_for_timeout(800)
    for walker in (ann, bob):
        walker.step(STEPS[2])
        walker.page.click("#start")
    for walker in (ann, bob):
        walker.see("#jobs .job.running, #jobs .job.queued", 20)
    bob.see("#jobs p:has-text('other people')", 20)
    bob.picture("two-people")
    for walker in (ann, bob):
        walker.page.click("#jobs button.cancel")
        walker.see("#jobs button.resume", 20)
    assert ann.project() != bob.project()
    bob.page.goto(f"{guarded.address}/?project={ann.project()}")
    bob.see("#heading h1:has-text('Photos to 3D')")
    assert bob.page.locator("#gallery li").count() == 0
    ann.close()
    bob.close()


def test_a_killed_server_loses_nothing(tmp_path: Path, chromium) -> None:
    """SIGKILL in mid-job: the job goes on, the page says that nobody answers, and finds it all again when the studio is back."""
    with serving(tmp_path / "projects") as studio:
        port = int(studio.address.rsplit(":", 1)[1])
        walker = Walker(chromium, studio.address)
        page = walker.page
        page.set_input_files("#photos input[type=file]", [str(p) for p in sorted((SAMPLE / "images").glob("*.jpg"))[:3]])
        walker.see("#gallery li:nth-child(3)")
        page.click("#new")
        walker.see("#heading h1:has-text('Photos to 3D')")
        page.set_input_files("#photos input[type=file]", str(posed_zip(tmp_path / "eight.zip")))
        walker.see("#gallery li:nth-child(8)")
        page.wait_for_timeout(1000)
        walker.step(STEPS[2])
        page.click("label:has-text('Glance')")
        page.click("#start")
        walker.see("#jobs progress", 20)
        page.wait_for_timeout(2000)
        folder = max((studio.projects / "local" / walker.project() / "jobs").iterdir())
        pid = int((folder / "pid").read_text())
        studio.kill()
        assert Path(f"/proc/{pid}").exists()
        walker.see("#jobs .lost", 20)
        walker.picture("server-gone")
        again = serve(tmp_path / "projects", port=port)
        try:
            walker.see("#jobs progress", 30)
            walker.see("#outcome h2", 120)
            assert len(list((studio.projects / "local").glob("*/project.json"))) == 2
            walker.context.close()
        finally:
            again.process.terminate()
            again.process.wait(15)


def test_the_command_starts_fast_without_heavy_imports(studio: Studio) -> None:
    """The server holds neither PyTorch nor Open3D: they belong to the jobs."""
    maps = Path(f"/proc/{studio.process.pid}/maps")
    if not maps.exists() or os.name != "posix":
        pytest.skip("there is no /proc here")
    loaded = maps.read_text()
    assert "libtorch" not in loaded
    assert "open3d" not in loaded
