"""A room of 20 x 20 x 3 m fused with voxels of 5 mm: time and memory. `python -m benchmarks.room [--side 20] [--voxel 0.005]`"""

import argparse
import json
import resource
import time

import numpy as np

from benchmarks.common import about_this_run
from data.cameras import Cameras, intrinsic_matrix, look_at
from recon.depthmaps import DepthMaps
from recon.surface.fusion import fuse


def room(side: float, height: float, views: int, size: tuple[int, int]) -> DepthMaps:
    """Exact depths of the walls, floor and ceiling of a box, from cameras along two circles within; half of them look outwards."""
    poses, up = [], np.array([0.0, 0.0, 1.0])
    for i in range(views):
        angle = 2 * np.pi * i / views * 7
        eye = np.array([0.3 * side * np.cos(angle), 0.3 * side * np.sin(angle), 0.5 * height])
        away = eye * np.array([1.0, 1.0, 0]) * (1 if i % 2 else -1)
        poses.append(look_at(eye, eye + away + np.array([0, 0, (-2, 0, 2)[i % 3]]), up))
    k = intrinsic_matrix(0.6 * size[0], 0.6 * size[0], size[0] / 2, size[1] / 2)
    cameras = Cameras.pinhole(np.tile(k, (views, 1, 1)), np.stack(poses), np.tile(np.array(size), (views, 1)))
    low, high = np.array([-side / 2, -side / 2, 0.0]), np.array([side / 2, side / 2, height])
    pixels = np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), axis=-1).reshape(-1, 2)
    depth = []
    for i in range(views):
        ray = cameras.unproject(i, pixels, np.ones(len(pixels))) - cameras.centers[i]  # as long as one unit of depth
        with np.errstate(divide="ignore"):
            distance = np.where(ray > 0, (high - cameras.centers[i]) / ray, (low - cameras.centers[i]) / ray).min(1)
        depth.append(distance.reshape(size[1], size[0]).astype(np.float32))
    return DepthMaps(cameras, depth)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=float, default=20.0)
    parser.add_argument("--height", type=float, default=3.0)
    parser.add_argument("--voxel", type=float, default=0.005)
    parser.add_argument("--views", type=int, default=60)
    arguments = parser.parse_args()
    maps = room(arguments.side, arguments.height, arguments.views, (960, 720))
    started = time.perf_counter()
    mesh = fuse(maps, arguments.voxel)
    seconds, peak = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # before the statistics' own
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    print(json.dumps({
        "seconds": round(seconds, 1), "faces": len(mesh.faces), "area_m2": round(float(mesh.face_areas.sum()), 1),
        "extent": (high - low).round(3).tolist(), "peak_memory_mb": peak, **about_this_run(),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
