"""One page that holds a scene: mesh, photos, and a program that blends them (WebGL 2, three.js). Needs no network and no server."""

import base64
import html
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from data.cameras import Cameras, focus_point, mean_up
from data.files import atomic_write
from kernels.realtime.blending import BORDER, LEAST_COSINE, TOLERANCE
from recon.general.views import mean_distance
from recon.surface.realtime import opengl
from recon.surface.realtime.baked import Baked

_HERE = Path(__file__).parent


def write_page(baked: Baked, path: Path, title: str, quality: int = 85) -> Path:
    """Write the page, everything inlined.

    Args:
        quality: of the photos' JPEG, 1 to 95.
    """
    around, cameras = baked.around, baked.cameras
    photos = [_jpeg(photo[..., :3], quality) for photo in around.photos]
    parts: list[Any] = [
        around.vertices.astype("<f4"), np.round(around.normals * 127).astype(np.int8), around.colors, baked.vertex_layers().astype(np.uint8),
        around.faces.astype("<u4"), np.ascontiguousarray(around.trust.T), *photos,
    ]  # fmt: skip
    data = b"".join(_padded(part if isinstance(part, bytes) else part.tobytes()) for part in parts)
    meta = _meta(baked, cameras, title) | {
        "vertices": len(around.vertices), "faces": len(around.faces), "photo_bytes": [len(p) for p in photos],
    }  # fmt: skip
    shaders = Path(opengl.__file__).parent
    page = (_HERE / "page.html").read_text()
    for key, value in (
        ("TITLE", html.escape(title)), ("SURFACE_VERT", (shaders / "surface.vert").read_text()), ("SURFACE_FRAG", (shaders / "surface.frag").read_text()),
        ("SCREEN_VERT", (shaders / "screen.vert").read_text()), ("BLENDING_FRAG", (shaders / "blending.frag").read_text()),
        ("META", json.dumps(meta).replace("<", "\\u003c")), ("DATA", base64.b64encode(data).decode()),
        ("BUNDLE", (_HERE / "bundle.js").read_text().replace("</script", "<\\/script")),
    ):  # fmt: skip
        page = page.replace(f">{key}<", f">{value}<").replace(f'"{key} in 3D', f'"{value} in 3D')
    atomic_write(path, page.encode())
    return path


def _meta(baked: Baked, cameras: Cameras, title: str) -> dict[str, object]:
    k, size = cameras.intrinsics, cameras.sizes[0]
    mesh = baked.asset.mesh
    focus = focus_point(cameras)
    low, high = np.percentile(mesh.vertices, [1, 99], axis=0)
    if not ((focus > low) & (focus < high)).all():
        focus = (low + high) / 2
    middle = int(np.argmin(np.linalg.norm(cameras.centers - cameras.centers.mean(0), axis=1)))
    return {
        "title": title, "photos": list(baked.names), "photo_size": [int(v) for v in size],
        "projections": baked.around.projections.reshape(len(cameras), 12).tolist(), "centers": baked.around.centers.tolist(),
        "forwards": cameras.forwards.tolist(), "ups": (-cameras.camera_to_world[:, :3, 1]).tolist(), "up": mean_up(cameras).tolist(),
        "fov": np.degrees(2 * np.arctan(0.5 * size[1] / k[:, 1, 1])).tolist(),
        "lenses": [{"fx": m[0, 0], "fy": m[1, 1], "cx": m[0, 2], "cy": m[1, 2]} for m in k], "spread": mean_distance(cameras), "home": middle,
        "focus": (focus - baked.origin).tolist(), "origin": np.asarray(baked.origin, dtype=float).tolist(), "size": float(np.linalg.norm(high - low)), "layers": len(baked.around.layers) + 1,
        "how": {"sharpness": baked.how.sharpness, "floor": baked.how.floor, "photos": baked.how.photos}, "tolerance": TOLERANCE, "border": BORDER,
        "least_cosine": LEAST_COSINE,
    }  # fmt: skip


def _jpeg(picture: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
