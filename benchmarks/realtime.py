"""Real-time pictures of a mesh with its photos: how near to the volume renderer's, and how many a second.

    python -m benchmarks.realtime SCENE [SCENE ...] --quality standard      held-out PSNR: field, texture alone, real time
    python -m benchmarks.realtime --result OUT                              frames a second and agreement of the renderers
    python -m benchmarks.realtime --result OUT --chromium /usr/bin/chromium the page in a browser as well (needs playwright)
"""

import argparse
import base64
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import about_this_run, run_task
from data.cameras import Cameras
from recon.metrics import psnr
from recon.options import ReconstructOptions, Task
from recon.surface.realtime.baked import Baked, lighter
from recon.surface.realtime.choosing import SoftwareRenderer
from recon.surface.realtime.stored import load_baked


def quality(scenes: list[Path], arguments: argparse.Namespace) -> None:
    """Each scene reconstructed with views held out; the field and the baked mesh asked for the same pictures."""
    for scene in scenes:
        options = ReconstructOptions(engine=arguments.engine, quality=arguments.quality, turntable=False, device=arguments.device, tune=arguments.tune)
        report = run_task(Task(scene, arguments.out / scene.name, options, hold_out=8, overwrite=True))
        field = report["quality"]
        key = "psnr_subject" if field["psnr_subject"] is not None else "psnr"
        row = {
            "engine": report["engine"], "measure": key, "field": field[key], "realtime": field["realtime"][key],
            "loss": field[key] - field["realtime"][key], "faces": report["mesh"]["faces"], "seconds": report["seconds"], "peak_memory_mb": report["peak_memory_mb"],
        }  # fmt: skip
        if "before_tuning" in field["realtime"]:
            row["realtime_before_tuning"] = field["realtime"]["before_tuning"][key]
        print(scene.name, json.dumps(row), flush=True)


def way(baked: Baked, frames: int, size: tuple[int, int]) -> Cameras:
    """From photo to photo, in the order of the files."""
    poses = baked.cameras.camera_to_world
    steps = []
    for t in np.linspace(0, len(poses) - 1.001, frames):
        i = int(t)
        mixed = (1 - (t - i)) * poses[i] + (t - i) * poses[i + 1]
        u, _, v = np.linalg.svd(mixed[:3, :3])
        mixed[:3, :3] = u @ np.diag([1, 1, np.linalg.det(u @ v)]) @ v
        steps.append(mixed)
    lens = baked.cameras.resized(np.tile(np.array(size), (len(poses), 1))).intrinsics[0]
    return Cameras.pinhole(np.tile(lens, (frames, 1, 1)), np.stack(steps), np.tile(np.array(size), (frames, 1)))


def speed(result: Path, frames: int, chromium: str | None) -> dict[str, Any]:
    """Frames a second at 800 x 600 along a way between the photos, and PSNR of each renderer against the compiled one."""
    baked = load_baked(result)
    cameras = way(baked, frames, (800, 600))
    software = SoftwareRenderer(baked)
    truth = [software.render(cameras, i) for i in range(0, frames, max(frames // 5, 1))]
    rows: dict[str, Any] = {"photos": baked.how.photos, "faces": len(baked.around.faces), "software": {"fps": _rate(lambda i: software.render(cameras, i), frames)}}
    from recon.surface.realtime.opengl import OpenGLRenderer, Unavailable

    try:
        card = OpenGLRenderer(baked)
        rows["opengl"] = {"device": card.device, "fps": _rate(lambda i: card.render(cameras, i), frames), "psnr": _agreement(card, cameras, truth, frames)}
        card.close()
    except Unavailable as error:
        rows["opengl"] = str(error)
    if torch.cuda.is_available():
        from recon.surface.realtime.gpu import CudaRenderer

        gpu = CudaRenderer(baked)
        rows["cuda"] = {"fps": _rate(lambda i: gpu.render(cameras, i), frames), "psnr": _agreement(gpu, cameras, truth, frames)}

        def on_card(i: int) -> None:
            gpu.picture(cameras, i)
            torch.cuda.synchronize()

        rows["cuda"]["fps_left_on_the_card"] = _rate(on_card, frames)
    if chromium:
        rows["webgl"] = _browser(baked, chromium)
    return rows


def _rate(draw: Any, frames: int) -> float:
    draw(0)
    started = time.perf_counter()
    for i in range(frames):
        draw(i)
    return round(frames / (time.perf_counter() - started), 1)


def _agreement(renderer: Any, cameras: Cameras, truth: list[np.ndarray], frames: int) -> float:
    views = range(0, frames, max(frames // 5, 1))
    return round(float(np.mean([psnr(renderer.render(cameras, i) / 255, t / 255) for i, t in zip(views, truth, strict=True)])), 2)


def _browser(baked: Baked, chromium: str) -> dict[str, Any]:
    """The page in headless Chromium, WebGL in software; 400 x 300."""
    import tempfile

    from playwright.sync_api import sync_playwright

    from app.export import PAGE_FACES
    from app.viewer import write_page

    light = lighter(baked, PAGE_FACES)
    found: dict[str, Any] = {"faces": len(light.around.faces)}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        page_file = write_page(light, Path(folder) / "view.html", "benchmark")
        found["megabytes"] = round(page_file.stat().st_size / 1e6, 1)
        browser = driver.chromium.launch(executable_path=chromium, headless=True, args=["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"])
        page = browser.new_page(viewport={"width": 900, "height": 700})
        page.goto(page_file.as_uri())
        page.wait_for_function("window.lumigraph !== undefined", timeout=120_000)
        size = light.cameras.sizes[0]
        small = light.cameras.resized(np.tile(size * 400 // size.max(), (len(light.names), 1)))
        projection = small.projections[0].copy()
        projection[:, 3] += projection[:, :3] @ light.origin
        width, height = (int(v) for v in small.sizes[0])
        text = page.evaluate(
            "([w, h, p, c, d]) => lumigraph.picture(w, h, p, c, d)",
            [width, height, projection.reshape(-1).tolist(), (small.centers[0] - light.origin).tolist(), small.forwards[0].tolist()],
        )  # fmt: skip
        seen = np.frombuffer(base64.b64decode(text), np.uint8).reshape(height, width, 4)[..., :3]
        found["psnr"] = round(psnr(seen / 255, SoftwareRenderer(light).render(small, 0) / 255), 2)
        for photos in (light.how.photos, 3):
            page.evaluate(f"lumigraph.setPhotos({photos})")
            found[f"fps_{photos}_photos"] = round(1 / page.evaluate("lumigraph.measure(400, 300, 20)"), 1)
        browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenes", type=Path, nargs="*")
    parser.add_argument("--result", type=Path)
    parser.add_argument("--quality", default="standard")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tune", default="none")
    parser.add_argument("--frames", type=int, default=40)
    parser.add_argument("--chromium")
    parser.add_argument("--out", type=Path, default=Path("/tmp/lumigraph-realtime"))
    arguments = parser.parse_args()
    if arguments.result:
        print(json.dumps({**speed(arguments.result, arguments.frames, arguments.chromium), **about_this_run()}, indent=1))
    if arguments.scenes:
        quality(arguments.scenes, arguments)
        print(json.dumps(about_this_run(), indent=1))


if __name__ == "__main__":
    main()
