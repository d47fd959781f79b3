"""Pictures of a `Baked` by OpenGL without a window (moderngl over EGL): fast even where Mesa computes it on the CPU."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from data.cameras import Cameras
from kernels.realtime.blending import BORDER, LEAST_COSINE, TOLERANCE
from recon.surface.realtime.baked import Baked

HERE = Path(__file__).parent
MOST = 8
"""Photos that the program can blend."""


class Unavailable(RuntimeError):
    """There is no OpenGL without a window on this machine."""


class OpenGLRenderer:
    """A `Baked` on the graphics card, or in what stands for one."""

    def __init__(self, baked: Baked) -> None:
        """Raises:
        Unavailable: no EGL, no driver, or no moderngl.
        """
        try:
            import moderngl

            create: Any = moderngl.create_context
            self._gl: Any = create(standalone=True, backend="egl", require=330)
        except Exception as error:  # glcontext raises bare Exceptions; a missing package is as good a reason
            raise Unavailable(f"OpenGL without a window cannot be had here ({error})") from None
        self.baked = baked
        self.device = str(self._gl.info["GL_RENDERER"])
        gl, around = self._gl, baked.around
        self._photos = min(baked.how.photos, MOST)
        head = f"#version 330\n#define PHOTOS {max(self._photos, 1)}\n"
        self._surface: Any = gl.program(*((head + (HERE / name).read_text()) for name in ("surface.vert", "surface.frag")))
        self._blending: Any = gl.program(*((head + (HERE / name).read_text()) for name in ("screen.vert", "blending.frag")))
        fixed = np.concatenate([around.vertices, around.normals, around.colors / 255, baked.vertex_layers()[:, None]], axis=1).astype("f4")
        self._trust = gl.buffer(reserve=8 * len(fixed), dynamic=True)
        buffers = [(gl.buffer(fixed.tobytes()), "3f 3f 3f 1f", "position", "normal", "tint", "layer"), (self._trust, "4f1 4f1", "trust0", "trust1")]
        self._mesh = gl.vertex_array(self._surface, buffers, gl.buffer(around.faces.astype("i4").tobytes()), skip_errors=True)
        corners = gl.buffer(np.array([-1, -1, 3, -1, -1, 3], "f4").tobytes())
        self._screen = gl.vertex_array(self._blending, [(corners, "2f", "corner")])
        m, height, width = around.photos.shape[:3]
        self._textures = [
            gl.texture_array((width, height, m), 4, around.photos.tobytes()),
            gl.texture_array((width, height, m), 1, np.minimum(around.depths, 3e38).astype("f4").tobytes(), dtype="f4"),
        ]
        for texture in self._textures:
            texture.repeat_x = texture.repeat_y = False
        self._textures[1].filter = (moderngl.NEAREST, moderngl.NEAREST)
        self._textures[0].filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._set({
            "photos": 0, "depths": 1, "places": 2, "shades": 3, "trustsA": 4, "trustsB": 5, "photoSize": (float(width), float(height)), "sharpness": baked.how.sharpness,
            "least": baked.how.floor, "tolerance": TOLERANCE, "border": BORDER, "leastCosine": LEAST_COSINE, "layers": float(len(around.layers) + 1),
        })  # fmt: skip
        self._target: Any = None  # the picture
        self._pass: Any = None  # what each pixel shows
        self._chosen: tuple[int, ...] = ()
        self._tests = moderngl.DEPTH_TEST | moderngl.CULL_FACE
        gl.enable(self._tests)
        gl.front_face = "cw"  # rows of a picture run downwards

    def __enter__(self) -> "OpenGLRenderer":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back."""
        self._gl.release()

    def render(
        self, cameras: Cameras, view: int, background: tuple[int, int, int] = (255, 255, 255), without: Sequence[int] = ()
    ) -> UInt8[ndarray, "h w 3"]:
        """The picture of a pinhole camera; see `software.render`."""
        gl = self._gl
        size = (int(cameras.sizes[view, 0]), int(cameras.sizes[view, 1]))
        if self._target is None or self._target.size != size:
            self._resize(size)
        chosen, importance = self.baked.chosen(cameras, view, without)
        chosen, importance = chosen[:MOST], importance[:MOST]
        if tuple(chosen) != self._chosen:
            self._chosen = tuple(int(k) for k in chosen)
            trust = np.zeros((len(self.baked.around.trust), 8), np.uint8)
            trust[:, : len(chosen)] = self.baked.around.trust[:, chosen]
            self._trust.write(trust.tobytes())
        count = self._photos
        pad = [0] * (count - len(chosen))
        around = self.baked.around
        rows = np.concatenate([around.projections[chosen], np.zeros((len(pad), 3, 4))])
        self._set({
            "picture": tuple(clip_matrix(cameras, view, self.baked.origin, self._range(cameras, view)).T.reshape(-1)),
            "eye": tuple(cameras.centers[view] - self.baked.origin), "layerOf": [float(k) for k in (*chosen, *pad)],
            "importance": [float(v) for v in (*importance, *pad)], "projections": rows.astype("f4").tobytes(),
            "centers": np.concatenate([around.centers[chosen], np.zeros((len(pad), 3))]).astype("f4").tobytes(),
        })  # fmt: skip
        self._set({"background": tuple(v / 255 for v in background)})
        self._pass.use()
        self._pass.clear(0.0, 0.0, 0.0, 0.0, depth=1.0)
        self._mesh.render()
        self._target.use()
        for unit, texture in enumerate((*self._textures, *self._pass.color_attachments)):
            texture.use(unit)
        gl.disable(self._tests)
        self._screen.render(vertices=3)
        gl.enable(self._tests)
        return np.frombuffer(self._target.read(components=4, alignment=1), np.uint8).reshape(size[1], size[0], 4)[..., :3]

    def _resize(self, size: tuple[int, int]) -> None:
        """Targets of another size."""
        gl = self._gl
        for old in (self._target, self._pass):
            if old is not None:
                for texture in (*old.color_attachments, *([old.depth_attachment] if old.depth_attachment else [])):
                    texture.release()
                old.release()
        shown = [gl.texture(size, 4, dtype="f4"), *(gl.texture(size, 4) for _ in range(3))]
        self._pass = gl.framebuffer(shown, gl.depth_texture(size))
        self._target = gl.framebuffer([gl.texture(size, 4)])

    def _range(self, cameras: Cameras, view: int) -> tuple[float, float]:
        """Nearest and farthest depth of the vertices."""
        z = self.baked.around.vertices @ cameras.forwards[view] - (cameras.centers[view] - self.baked.origin) @ cameras.forwards[view]
        far = max(float(z.max()) * 1.01, 1e-6)
        return max(float(z.min()) * 0.99, far * 1e-4), far

    def _set(self, values: dict[str, Any]) -> None:
        for program in (self._surface, self._blending):
            for name, value in values.items():
                if name not in program:
                    continue
                uniform = program[name]
                if isinstance(value, bytes):
                    uniform.write(value)
                elif isinstance(value, list):
                    uniform.value = value if uniform.array_length > 1 else value[0]
                else:
                    uniform.value = value


def clip_matrix(cameras: Cameras, view: int, origin: Float[ndarray, "3"], near_far: tuple[float, float]) -> Float[ndarray, "4 4"]:
    """World (counted from ``origin``) to OpenGL's clip coordinates, so that row 0 of the frame buffer is the picture's first row."""
    near, far = near_far
    width, height = cameras.sizes[view]
    k = cameras.intrinsics[view]
    lens = np.array([
        [2 * k[0, 0] / width, 2 * k[0, 1] / width, 2 * k[0, 2] / width - 1, 0], [0, 2 * k[1, 1] / height, 2 * k[1, 2] / height - 1, 0],
        [0, 0, (far + near) / (far - near), -2 * far * near / (far - near)], [0, 0, 1, 0],
    ])  # fmt: skip
    pose = cameras.world_to_camera[view].copy()
    pose[:3, 3] += pose[:3, :3] @ origin
    return lens @ pose
