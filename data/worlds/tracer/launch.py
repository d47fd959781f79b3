"""The entry points: loops over pixels and points, on CPU threads and as CUDA kernels."""

from functools import cache
from typing import Any

import numpy as np
from numba import njit, prange

from data.errors import InputError
from data.worlds import layout as L
from data.worlds.tracer.rays import pixel_color
from data.worlds.tracer.shapes import signed_distance

f = np.float32


@njit(parallel=True, cache=True)
def render_cpu(headers, objects, primitives, materials, cameras, samples, rgb, depth, thing, material, normal):
    images, height, width = depth.shape
    for line in prange(images * height):
        i, row = line // height, line % height
        w = int(cameras[i, L.CAMERA_WORLD])
        for column in range(width):
            r, g, b, t, solid, nx, ny, nz, paint = pixel_color(headers[w], objects[w], primitives[w], materials[w], cameras[i], column, row, samples)
            rgb[i, row, column, 0] = np.uint8(r * f(255) + f(0.5))
            rgb[i, row, column, 1] = np.uint8(g * f(255) + f(0.5))
            rgb[i, row, column, 2] = np.uint8(b * f(255) + f(0.5))
            depth[i, row, column] = t
            thing[i, row, column] = solid
            material[i, row, column] = paint
            normal[i, row, column, 0], normal[i, row, column, 1], normal[i, row, column, 2] = nx, ny, nz


@njit(parallel=True, cache=True)
def distance_cpu(headers, objects, primitives, index, points, out):
    for i in prange(len(points)):
        w = index[i]
        out[i] = signed_distance(headers[w], objects[w], primitives[w], points[i, 0], points[i, 1], points[i, 2])


@cache
def cuda_kernels() -> Any:
    """The CUDA kernels, compiled when first asked for."""
    if not hasattr(np, "row_stack"):
        np.row_stack = np.vstack  # type: ignore[attr-defined]  # numba-cuda 0.2x still asks for the name that numpy 2.5 dropped
    try:
        from numba import cuda
    except ImportError:
        raise InputError("Rendering worlds on the GPU needs numba's CUDA support. Install it with: pip install 'numba-cuda[cu13]'.") from None

    @cuda.jit(fastmath=True)
    def render(headers, objects, primitives, materials, cameras, samples, rgb, depth, thing, material, normal):
        column, row, i = cuda.grid(3)
        if i >= depth.shape[0] or row >= depth.shape[1] or column >= depth.shape[2]:
            return
        w = int(cameras[i, L.CAMERA_WORLD])
        r, g, b, t, solid, nx, ny, nz, paint = pixel_color(headers[w], objects[w], primitives[w], materials[w], cameras[i], column, row, samples)
        rgb[i, row, column, 0] = np.uint8(r * f(255) + f(0.5))
        rgb[i, row, column, 1] = np.uint8(g * f(255) + f(0.5))
        rgb[i, row, column, 2] = np.uint8(b * f(255) + f(0.5))
        depth[i, row, column] = t
        thing[i, row, column] = solid
        material[i, row, column] = paint
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
