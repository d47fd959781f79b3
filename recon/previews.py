"""Pictures and a video of a finished mesh."""

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.cameras import Cameras, mean_up
from data.images import save_image
from data.parallel import mapped
from data.progress import Progress
from recon.depthmaps import DepthMaps
from recon.paths import orbit, surrounds, swing
from recon.surface.asset import Asset
from recon.surface.raycast import Raycaster, render_mesh
from recon.surface.triangles import Triangles

_FIELD_OF_VIEW = 42.0


def depth_picture(depth: Float[ndarray, "h w"]) -> UInt8[ndarray, "h w 3"]:
    """Near is yellow, far is blue, unknown is grey; the 2nd to the 98th percentile of the known depths are told apart."""
    import cv2

    known = np.isfinite(depth) & (depth > 0)
    near, far = np.percentile(depth[known], [2, 98]) if known.any() else (0.0, 1.0)
    share = np.clip((far - np.where(known, depth, far)) / max(far - near, 1e-9), 0, 1)
    colors = cv2.cvtColor(cv2.applyColorMap((share * 255).astype(np.uint8), cv2.COLORMAP_CIVIDIS), cv2.COLOR_BGR2RGB)
    return np.where(known[..., None], colors, np.uint8(128))


def normal_picture(normals: Float[ndarray, "h w 3"], view: Float[ndarray, "3 3"]) -> UInt8[ndarray, "h w 3"]:
    """World normals in the camera's frame: red to the right, green up, blue towards the viewer; grey where there is none.

    Args:
        view: rotation from the camera to the world, OpenCV axes.
    """
    facing = (normals @ view) * np.array([1.0, -1.0, -1.0])
    met = np.linalg.norm(normals, axis=-1, keepdims=True) > 0
    return np.where(met, np.clip(127.5 * (facing + 1), 0, 255), 128).astype(np.uint8)


def depth(maps: DepthMaps, view: int, folder: Path) -> str:
    """`previews/depth.png`: what has been found of one view while the rest is still under way."""
    (folder / "previews").mkdir(parents=True, exist_ok=True)
    save_image(folder / "previews" / "depth.png", depth_picture(maps.depth[view]))
    return "previews/depth.png"


def shape(mesh: Triangles, cameras: Cameras, view: int, folder: Path, side: int = 320) -> str:
    """`previews/shape.png`: the mesh's normals from one photo's camera, before there is a texture."""
    (folder / "previews").mkdir(parents=True, exist_ok=True)
    small = cameras.select([view]).resized(np.maximum(cameras.sizes[[view]] * side // cameras.sizes[view].max(), 1))
    save_image(folder / "previews" / "shape.png", normal_picture(mesh_normals(Raycaster(mesh), small, 0), small.camera_to_world[0, :3, :3]))
    return "previews/shape.png"


def mesh_normals(caster: Raycaster, cameras: Cameras, view: int) -> Float[ndarray, "h w 3"]:
    """Unit normals of what each pixel sees, towards the camera, world axes; 0 where nothing is met."""
    width, height = (int(v) for v in cameras.sizes[view])
    hits, rays = caster.look(cameras, view)
    met = hits.face >= 0
    normal = caster.mesh.face_normals[hits.face[met]]
    normal = normal * -np.sign((normal * rays[met]).sum(1, keepdims=True))
    out = np.zeros((height * width, 3))
    out[met] = normal
    return out.reshape(height, width, 3)


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
