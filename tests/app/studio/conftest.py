"""A studio on a port of its own, and a browser to walk through it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[3]
ARTEFACTS = ROOT / ".artefacts"
CHROMIUM = next((p for p in ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome") if Path(p).exists()), None)


@dataclass
class Studio:
    """A running server."""

    process: subprocess.Popen[bytes]
    address: str
    projects: Path

    def kill(self) -> None:
        """As if the power went, for the server alone."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def serve(projects: Path, *options: str, port: int = 0) -> Studio:
    """Start a studio; with a port, there or nowhere."""
    port = port or 8300 + os.getpid() % 400
    log = projects.with_name(f"{projects.name}.log")  # not a pipe: a full one would stop the server
    with log.open("ab") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "studio", "--projects", str(projects), "--port", str(port), *options],
            cwd=ROOT, stderr=errors, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
        )  # fmt: skip
    start = time.monotonic()
    while not (found := re.findall(r"http://[\w.]+:\d+", log.read_text())) or len(found) < log.read_text().count("Lumigraph studio"):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() - start < 60
        time.sleep(0.05)
    studio = Studio(process, found[-1].replace("localhost", "127.0.0.1"), projects)
    for _ in range(400):
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{studio.address}/healthz", timeout=5).status_code == 200:
                return studio
        assert process.poll() is None, log.read_text()
        time.sleep(0.05)
    raise AssertionError("the studio does not answer")


@contextlib.contextmanager
def serving(projects: Path, *options: str) -> Iterator[Studio]:
    studio = serve(projects, *options)
    try:
        yield studio
    finally:
        studio.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            studio.process.wait(15)
        studio.process.kill()


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One that whoever sits here may use."""
    pytest.importorskip("gradio")
    with serving(tmp_path_factory.mktemp("studio")) as running:
        yield running


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """One with two users."""
    pytest.importorskip("gradio")
    from app.studio.accounts import add_user

    folder = tmp_path_factory.mktemp("guarded")
    add_user(folder / "users.json", "ann", "correct horse battery")
    add_user(folder / "users.json", "bob", "staple of the other")
    with serving(folder / "projects", "--users", str(folder / "users.json"), "--log", str(folder / "log.jsonl")) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser without a network but this machine's."""
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, headless=True,
            args=["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--use-gl=angle",
                  "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1"],
        )  # fmt: skip
        yield browser
        browser.close()


def wait_for_jobs(client: Any, project: str, seconds: float = 180.0) -> list[dict[str, Any]]:
    """Until nothing runs or waits in a project; its jobs."""
    end = time.monotonic() + seconds
    while True:
        jobs = client.predict(project, api_name="/status")["jobs"]
        if all(j["status"] in ("done", "failed", "cancelled") for j in jobs):
            return list(jobs)
        assert time.monotonic() < end, jobs
        time.sleep(0.2)


def noise(path: Path, seed: int = 0, size: tuple[int, int] = (96, 72)) -> Path:
    """A picture of nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3)).astype(np.uint8)).save(path)
    return path
