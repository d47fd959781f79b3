"""Pictures and a video of a finished mesh."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from data.cameras import Cameras, mean_up
from data.images import save_image
from data.parallel import mapped
from data.progress import Progress
from recon.paths import orbit, surrounds, swing
from recon.surface.asset import Asset
from recon.surface.raycast import Raycaster, render_mesh

_FIELD_OF_VIEW = 42.0


def four_sides(asset: Asset, cameras: Cameras, folder: Path, size: int = 480) -> Generator[Progress, None, list[str]]:
    """`previews/side_{0..3}.png`: the mesh from four sides, the first the photographer's."""
    views = turntable_cameras(asset, cameras, 4, (size, size))
    caster = Raycaster(asset.mesh)
    names = [f"previews/side_{i}.png" for i in range(4)]
    (folder / "previews").mkdir(parents=True, exist_ok=True)
    for i, _ in enumerate(mapped(lambda i: save_image(folder / names[i], render_mesh(asset, views, i, caster=caster)), range(4))):
        yield Progress("previews", i / 4)
    return names


def turntable(asset: Asset, cameras: Cameras, path: Path, frames: int = 60, size: tuple[int, int] = (480, 480)) -> Generator[Progress, None, Path]:
    """A looping video around the mesh; for scenes seen from one side, a swing before it."""
    views = turntable_cameras(asset, cameras, frames, size) if surrounds(cameras) else swing(cameras, frames, size)
    caster = Raycaster(asset.mesh)

    def pictures() -> Generator[np.ndarray, None, None]:
        for i in range(frames):
            yield render_mesh(asset, views, i, caster=caster)

    yield from write_video(path, pictures(), frames, "turntable")
    return path


def write_video(path: Path, pictures: Iterator[np.ndarray], frames: int, stage: str, fps: int = 20) -> Generator[Progress, None, None]:
    """H.264 in MP4, to a temporary name first."""
    import imageio.v2 as imageio

    partial = path.with_name(f".{path.stem}.part.mp4")
    writer: Any = imageio.get_writer(partial, fps=fps, codec="libx264", quality=7, macro_block_size=2, ffmpeg_log_level="error")
    with writer:
        for i, picture in enumerate(pictures):
            writer.append_data(picture)
            yield Progress(stage, (i + 1) / frames, f"frame {i + 1} of {frames}")
    partial.replace(path)


def turntable_cameras(asset: Asset, cameras: Cameras, frames: int, size: tuple[int, int]) -> Cameras:
    """A circle around the mesh, at the photographer's height, just far enough to show all of it in every frame."""
    low, high = np.percentile(asset.mesh.vertices, [0.5, 99.5], axis=0)
    center, up = (low + high) / 2, mean_up(cameras)
    towards = cameras.centers.mean(0) - center if not surrounds(cameras) else cameras.centers[0] - center
    level = float(np.clip((towards / max(np.linalg.norm(towards), 1e-9)) @ up, -0.5, 0.6))
    flat = towards - (towards @ up) * up
    flat = flat / max(float(np.linalg.norm(flat)), 1e-9)
    arm = np.sqrt(1 - level**2) * flat + level * up
    circle = orbit(center, up, center + arm, frames, size, _FIELD_OF_VIEW)
    shown = np.clip(asset.mesh.vertices[:: max(len(asset.mesh.vertices) // 2000, 1)], low, high) - center
    along = shown @ circle.camera_to_world[:, :3, :3]
    reach = np.abs(along[..., :2]) / (0.94 * np.array(size) / 2 / circle.intrinsics[0, 1, 1])
    distance = float((reach.max(-1) - along[..., 2]).max())
    return orbit(center, up, center + max(distance, 1e-9) * arm, frames, size, _FIELD_OF_VIEW)
