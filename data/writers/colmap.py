"""COLMAP sparse model, binary (cameras, images, points3D)."""

import struct
from pathlib import Path

from data.cameras import rotation_to_quaternion_wxyz
from data.files import atomic_write
from data.scene import Scene


def write_colmap(folder: Path, scene: Scene) -> Path:
    """Write ``folder/sparse/0/{cameras,images,points3D}.bin``; image names are relative to the scene's root."""
    cameras = scene.posed()
    model = folder / "sparse" / "0"
    model.mkdir(parents=True, exist_ok=True)
    camera_bytes, image_bytes = [], []
    world_to_camera = cameras.world_to_camera
    quaternions = rotation_to_quaternion_wxyz(world_to_camera[:, :3, :3])
    for i, name in enumerate(scene.names):
        k, d = cameras.intrinsics[i], cameras.distortion[i]
        focal = (k[0, 0], k[1, 1], k[0, 2], k[1, 2])
        kind, params = {"pinhole": (1, focal), "opencv": (6, (*focal, *d)), "fisheye": (5, (*focal, *d[:4]))}[cameras.lenses[i]]
        size = (int(cameras.sizes[i, 0]), int(cameras.sizes[i, 1]))
        camera_bytes.append(struct.pack(f"<IiQQ{len(params)}d", i + 1, kind, *size, *params))
        pose = (*quaternions[i], *world_to_camera[i, :3, 3])
        image_bytes.append(struct.pack("<I7dI", i + 1, *pose, i + 1) + name.encode() + b"\0" + struct.pack("<Q", 0))
    point_bytes = []
    if scene.points is not None:
        for j, (xyz, rgb) in enumerate(zip(scene.points.xyz, scene.points.rgb, strict=True)):
            point_bytes.append(struct.pack("<Q3d3BdQ", j + 1, *xyz, *(int(c) for c in rgb), 0.0, 0))
    for name, records in (("cameras", camera_bytes), ("images", image_bytes), ("points3D", point_bytes)):
        atomic_write(model / f"{name}.bin", struct.pack("<Q", len(records)) + b"".join(records))
    return model
