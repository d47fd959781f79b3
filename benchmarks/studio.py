"""How fast the studio answers: start, upload, clicks while a job runs, cancelling, many visitors at once.

    python -m benchmarks.studio SCENE [--visitors 50] [--seconds 60]

SCENE is a folder of photos; they are shrunk to about 20 MB for 50 photos. Needs Chromium, and the extra `dev`.
"""

import argparse
import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from PIL import Image

_ARGUMENTS = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
_CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scene", type=Path)
    parser.add_argument("--visitors", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60.0)
    a = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="studio-bench-") as folder, sync_playwright() as driver:
        root = Path(folder)
        photos = _fifty(a.scene, root / "photos")
        browser = driver.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        browser.new_page().goto("about:blank")
        begun = time.perf_counter()
        server, address = _serve(root)
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(address)
        page.wait_for_selector("#photos input[type=file]", state="attached")
        page.wait_for_selector("#machine p")
        print(f"from the command to a usable page: {time.perf_counter() - begun:.1f} s", flush=True)
        for _ in range(200):  # the machine's own speed test runs once
            if (root / "projects" / "machine.json").exists():
                break
            time.sleep(0.1)
        try:
            _upload(page, photos)
            _clicks(page)
            _cancel(page, root, server)
            page.close()
            with ThreadPoolExecutor(1) as aside:  # the browser's driver has this thread's loop
                aside.submit(lambda: asyncio.run(_visitors(address, server, a.visitors, a.seconds))).result()
        finally:
            browser.close()
            server.terminate()
            server.wait(10)


def _serve(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    log = root / "log.txt"
    with log.open("wb") as errors:
        server = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "studio", "--projects", str(root / "projects"), "--port", "8950"], stderr=errors, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"}
        )
    while not (found := re.search(r"http://[\w.]+:\d+", log.read_text())):
        if server.poll() is not None:
            raise SystemExit(log.read_text())
        time.sleep(0.02)
    address = found[0].replace("localhost", "127.0.0.1")
    while True:
        try:
            httpx.get(f"{address}/healthz")
        except httpx.TransportError:
            time.sleep(0.02)
        else:
            return server, address


def _fifty(scene: Path, target: Path) -> list[str]:
    """Fifty photos of some 400 kB each."""
    target.mkdir()
    found = sorted(p for p in scene.rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    found = (found * (50 // max(len(found), 1) + 1))[:50]
    paths = []
    for i, path in enumerate(found):
        picture = Image.open(path).convert("RGB")
        side = 1400 / max(picture.size)
        picture = picture.resize((round(picture.width * side), round(picture.height * side)))
        for quality in (70, 80, 88, 92, 95, 97):
            picture.save(target / f"{i:03d}.jpg", quality=quality)
            if (target / f"{i:03d}.jpg").stat().st_size > 380_000:
                break
        paths.append(str(target / f"{i:03d}.jpg"))
    return paths


def _upload(page: Any, photos: list[str]) -> None:
    size = sum(Path(p).stat().st_size for p in photos) / 2**20
    begun = time.perf_counter()
    page.set_input_files("#photos input[type=file]", photos)
    page.wait_for_selector("#findings h2", timeout=120_000)
    page.wait_for_selector("#gallery li:nth-child(50)", timeout=120_000)
    print(f"{len(photos)} photos, {size:.0f} MB, to findings shown: {time.perf_counter() - begun:.1f} s", flush=True)


def _clicks(page: Any) -> None:
    """From a click to what it changes on the page, while a reconstruction has both cores."""
    page.click("#example")
    page.wait_for_selector("#heading h1:has-text('Example')")
    page.wait_for_selector("#gallery li:nth-child(24)")
    page.wait_for_timeout(1500)
    page.get_by_role("tab", name="3 Reconstruct").click()
    page.get_by_role("button", name="More").click()
    page.click("#engine label:has-text('Hash grid')")
    page.click("#start")
    page.wait_for_selector("#jobs progress", timeout=20_000)
    page.wait_for_timeout(12_000)
    taken = []
    qualities = ["Standard", "Draft", "High", "Glance"]
    for i in range(24):
        before = page.inner_text("#estimate")
        begun = time.perf_counter()
        page.click(f"#quality label:has-text('{qualities[i % 4]}')")
        page.wait_for_function("t => document.querySelector('#estimate').innerText !== t", arg=before, polling=10, timeout=10_000)
        taken.append(time.perf_counter() - begun)
    for name in ["1 Photos", "2 Cameras", "6 Export", "3 Reconstruct"] * 4:
        begun = time.perf_counter()
        page.get_by_role("tab", name=name).click()
        page.wait_for_function("n => [...document.querySelectorAll('[role=tab]')].some(t => t.innerText === n && t.ariaSelected === 'true')", arg=name, polling=10)
        taken.append(time.perf_counter() - begun)
    print(f"clicks while a job runs ({len(taken)}): median {1000 * median(taken):.0f} ms, worst {1000 * max(taken):.0f} ms", flush=True)


def _cancel(page: Any, root: Path, server: subprocess.Popen[bytes]) -> None:
    """At several moments: from the click to the worker's end."""
    taken = []
    for wait in (0, 4000, 9000):
        page.wait_for_timeout(wait)
        ticket = max((p for p in (root / "projects" / "local").glob("*/jobs/*/pid")), key=lambda p: p.stat().st_mtime)
        pid = int(ticket.read_text())
        memory = _memory(pid)
        begun = time.perf_counter()
        page.click("#jobs button.cancel")
        while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
            time.sleep(0.01)
        taken.append(time.perf_counter() - begun)
        page.wait_for_selector("#jobs button.resume", timeout=20_000)
        print(f"cancelled in {taken[-1]:.2f} s, {memory:.0f} MB given back", flush=True)
        page.click("#jobs button.resume")
        page.wait_for_selector("#jobs progress", timeout=20_000)
    page.click("#jobs button.cancel")
    page.wait_for_selector("#jobs button.resume", timeout=20_000)
    print(f"cancel: worst {max(taken):.2f} s; server {_memory(server.pid):.0f} MB", flush=True)


async def _visitors(address: str, server: subprocess.Popen[bytes], count: int, seconds: float) -> None:
    """So many load the page with its scripts and styles, and poll for a job as it does."""
    before = _memory(server.pid)
    wrong, times = 0, []
    end = time.perf_counter() + seconds

    async def visitor(number: int) -> None:
        nonlocal wrong
        async with httpx.AsyncClient(timeout=30) as client:
            await asyncio.sleep(number * seconds / 4 / count)
            text = (await client.get(address + "/")).text
            for part in re.findall(r'(?:src|href)="(\.?/?(?:assets|static|theme)[^"]+)"', text)[:40]:
                answer = await client.get(f"{address}/{part.lstrip('./')}")
                wrong += answer.status_code != 200
            session = f"visitor{number}"
            answer = await client.post(f"{address}/gradio_api/run/status", json={"data": [""], "session_hash": session})
            wrong += answer.status_code != 200
            while time.perf_counter() < end:
                begun = time.perf_counter()
                answer = await client.get(f"{address}/status")
                wrong += answer.status_code != 200
                times.append(time.perf_counter() - begun)
                await asyncio.sleep(1)

    await asyncio.gather(*(visitor(i) for i in range(count)))
    after = _memory(server.pid)
    times.sort()
    print(
        f"{count} visitors for {seconds:.0f} s: {len(times)} polls, {wrong} errors, median {1000 * median(times):.0f} ms, 99 % within {1000 * times[int(0.99 * len(times))]:.0f} ms; "
        f"memory {before:.0f} to {after:.0f} MB", flush=True,
    )  # fmt: skip


def _memory(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


if __name__ == "__main__":
    main()
