"""Renders tables of worlds: one source, compiled by numba for CPU threads and for CUDA."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from numba import njit, prange
from torch import Tensor

from data.errors import InputError
from data.worlds import layout as L
from data.worlds.rays import pixel_color
from data.worlds.shapes import signed_distance

f = np.float32


@dataclass(frozen=True)
class Worlds:
    """Worlds as tables; see `layout` for the columns."""

    headers: Float[Tensor, "worlds header"]
    objects: Float[Tensor, "worlds objects 8"]
    primitives: Float[Tensor, "worlds primitives 32"]
    materials: Float[Tensor, "worlds materials 32"]

    def __len__(self) -> int:
        return len(self.headers)

    def to(self, device: torch.device | str) -> "Worlds":
        return Worlds(*(t.to(device).contiguous() for t in (self.headers, self.objects, self.primitives, self.materials)))


@dataclass(frozen=True)
class Renderings:
    """Pictures of worlds."""

    rgb: UInt8[Tensor, "images height width 3"]
    depth: Float[Tensor, "images height width"]
    """Distance along the ray, scene units; 0 in the sky."""
    mask: Bool[Tensor, "images height width"]
    """True on objects, false on ground, room and sky."""
    normal: Float[Tensor, "images height width 3"]
    """Unit normals, world axes; 0 in the sky."""


@njit(parallel=True, cache=True)
def _render_cpu(headers, objects, primitives, materials, cameras, samples, rgb, depth, mask, normal):
    images, height, width = depth.shape
    for line in prange(images * height):
        i, row = line // height, line % height
        w = int(cameras[i, L.CAMERA_WORLD])
        for column in range(width):
            r, g, b, t, solid, nx, ny, nz = pixel_color(headers[w], objects[w], primitives[w], materials[w], cameras[i], column, row, samples)
            rgb[i, row, column, 0] = np.uint8(r * f(255) + f(0.5))
            rgb[i, row, column, 1] = np.uint8(g * f(255) + f(0.5))
            rgb[i, row, column, 2] = np.uint8(b * f(255) + f(0.5))
            depth[i, row, column] = t
            mask[i, row, column] = solid
            normal[i, row, column, 0], normal[i, row, column, 1], normal[i, row, column, 2] = nx, ny, nz


@njit(parallel=True, cache=True)
def _distance_cpu(headers, objects, primitives, index, points, out):
    for i in prange(len(points)):
        w = index[i]
        out[i] = signed_distance(headers[w], objects[w], primitives[w], points[i, 0], points[i, 1], points[i, 2])


@cache
def _cuda() -> Any:
    """The CUDA kernels, compiled when first asked for."""
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # type: ignore[attr-defined]  # numba-cuda 0.2x still asks for the name that numpy 2.5 dropped
    try:
        from numba import cuda
    except ImportError:
        raise InputError("Rendering worlds on the GPU needs numba's CUDA support. Install it with: pip install 'numba-cuda[cu13]'.") from None

    @cuda.jit(fastmath=True)
    def render(headers, objects, primitives, materials, cameras, samples, rgb, depth, mask, normal):
        column, row, i = cuda.grid(3)
        if i >= depth.shape[0] or row >= depth.shape[1] or column >= depth.shape[2]:
            return
        w = int(cameras[i, L.CAMERA_WORLD])
        r, g, b, t, solid, nx, ny, nz = pixel_color(headers[w], objects[w], primitives[w], materials[w], cameras[i], column, row, samples)
        rgb[i, row, column, 0] = np.uint8(r * f(255) + f(0.5))
        rgb[i, row, column, 1] = np.uint8(g * f(255) + f(0.5))
        rgb[i, row, column, 2] = np.uint8(b * f(255) + f(0.5))
        depth[i, row, column] = t
        mask[i, row, column] = solid
        normal[i, row, column, 0] = nx
        normal[i, row, column, 1] = ny
        normal[i, row, column, 2] = nz

    @cuda.jit(fastmath=True)
    def measure(headers, objects, primitives, index, points, out):
        i = cuda.grid(1)
        if i < points.shape[0]:
            w = index[i]
            out[i] = signed_distance(headers[w], objects[w], primitives[w], points[i, 0], points[i, 1], points[i, 2])

    return cuda, render, measure


def render(worlds: Worlds, cameras: Float[Tensor, "images 17"], width: int, height: int, samples: int = 2) -> Renderings:
    """Pictures of worlds, on the device where the worlds are.

    Args:
        cameras: rows as `layout` has them; the last column says which world.
        samples: the colour of a pixel is the mean of ``samples`` x ``samples`` rays.
    """
    device, n = worlds.headers.device, len(cameras)
    cameras = cameras.to(device).contiguous()
    rgb = torch.empty(n, height, width, 3, dtype=torch.uint8, device=device)
    depth = torch.empty(n, height, width, device=device)
    mask = torch.empty(n, height, width, dtype=torch.uint8, device=device)
    normal = torch.empty(n, height, width, 3, device=device)
    tensors = (worlds.headers, worlds.objects, worlds.primitives, worlds.materials, cameras)
    out = (rgb, depth, mask, normal)
    if device.type == "cuda":
        cuda, kernel, _ = _cuda()
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        for start in range(0, n, 8192):
            part = slice(start, min(start + 8192, n))
            blocks = ((width + 15) // 16, (height + 7) // 8, part.stop - start)
            arrays = [cuda.as_cuda_array(t) for t in (*tensors[:4], cameras[part])]
            pictures = [cuda.as_cuda_array(t[part]) for t in out]
            kernel[blocks, (16, 8, 1), stream](*arrays, samples, *pictures)
    else:
        _render_cpu(*(t.numpy() for t in tensors), samples, *(t.numpy() for t in out))
    return Renderings(rgb, depth, mask.bool(), normal)


def distances(worlds: Worlds, index: Int[Tensor, "points"], points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
    """Signed distance at points of the worlds ``index``, scene units; negative inside."""
    device = worlds.headers.device
    index, points = index.to(torch.int32).contiguous(), points.float().contiguous()
    out = torch.empty(len(points), device=device)
    tensors = (worlds.headers, worlds.objects, worlds.primitives, index, points, out)
    if device.type == "cuda":
        cuda, _, kernel = _cuda()
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        kernel[(len(points) + 127) // 128, 128, stream](*(cuda.as_cuda_array(t) for t in tensors))
    else:
        _distance_cpu(*(t.numpy() for t in tensors))
    return out
