"""Renders tables of worlds: one source, compiled by numba for CPU threads and for CUDA."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor

from data.worlds.tracer.launch import cuda_kernels, distance_cpu, render_cpu


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
    thing: UInt8[Tensor, "images height width"]
    """Number of the object, from 1; 0 on ground, room and sky."""
    material: UInt8[Tensor, "images height width"]
    """Row of the materials; 255 in the sky."""
    normal: Float[Tensor, "images height width 3"]
    """Unit normals, world axes; 0 in the sky."""

    @property
    def mask(self) -> Bool[Tensor, "images height width"]:
        """True on objects, false on ground, room and sky."""
        return self.thing > 0


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
    thing, material = torch.empty(2, n, height, width, dtype=torch.uint8, device=device)
    normal = torch.empty(n, height, width, 3, device=device)
    tensors = (worlds.headers, worlds.objects, worlds.primitives, worlds.materials, cameras)
    out = (rgb, depth, thing, material, normal)
    if device.type == "cuda":
        cuda, kernel, _ = cuda_kernels()
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        for start in range(0, n, 8192):
            part = slice(start, min(start + 8192, n))
            blocks = ((width + 15) // 16, (height + 7) // 8, part.stop - start)
            arrays = [cuda.as_cuda_array(t) for t in (*tensors[:4], cameras[part])]
            pictures = [cuda.as_cuda_array(t[part]) for t in out]
            kernel[blocks, (16, 8, 1), stream](*arrays, samples, *pictures)
    else:
        render_cpu(*(t.numpy() for t in tensors), samples, *(t.numpy() for t in out))  # type: ignore[call-arg]
    return Renderings(rgb, depth, thing, material, normal)


def distances(worlds: Worlds, index: Int[Tensor, "points"], points: Float[Tensor, "points 3"]) -> Float[Tensor, "points"]:
    """Signed distance at points of the worlds ``index``, scene units; negative inside."""
    device = worlds.headers.device
    index, points = index.to(torch.int32).contiguous(), points.float().contiguous()
    out = torch.empty(len(points), device=device)
    tensors = (worlds.headers, worlds.objects, worlds.primitives, index, points, out)
    if device.type == "cuda":
        cuda, _, kernel = cuda_kernels()
        stream = cuda.external_stream(torch.cuda.current_stream(device).cuda_stream)
        kernel[(len(points) + 127) // 128, 128, stream](*(cuda.as_cuda_array(t) for t in tensors))
    else:
        distance_cpu(*(t.numpy() for t in tensors))
    return out
