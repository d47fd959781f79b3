"""Camera poses between camera poses: where nobody took a photo, an attack must work as well."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from data.cameras import Cameras


def slerp(a: Float[ndarray, "3 3"], b: Float[ndarray, "3 3"], share: float) -> Float[ndarray, "3 3"]:
    """Rotation on the shortest arc from ``a`` (share 0) to ``b`` (share 1); equal rotations are no special case.

    The arc is ``a exp(share log(a^T b))``, so that no quaternion's sign can send it the long way round.
    """
    from scipy.spatial.transform import Rotation

    way = Rotation.from_matrix(a.T @ b).as_rotvec()
    return np.asarray(a @ Rotation.from_rotvec(share * way).as_matrix())


def interpolate(a: Float[ndarray, "4 4"], b: Float[ndarray, "4 4"], rotation: float, translation: float) -> Float[ndarray, "4 4"]:
    """Pose between two poses: rotation on the shortest arc, position on the straight line, each by its own share."""
    out = np.eye(4)
    out[:3, :3] = slerp(a[:3, :3], b[:3, :3], rotation)
    out[:3, 3] = (1 - translation) * a[:3, 3] + translation * b[:3, 3]
    return out


def unseen_camera(cameras: Cameras, generator: torch.Generator, reach: float = 1.0) -> Cameras:
    """A camera between three random ones (NeRFool+): first between two of them, then from there towards the third.

    Args:
        reach: largest share of the way; 1 may end at a camera.
    """
    draw = torch.rand(2, generator=generator, device=generator.device).tolist()
    chosen = torch.randperm(len(cameras), generator=generator, device=generator.device)[:3].tolist()
    first, second, third = (chosen * 3)[:3]
    pose = cameras.camera_to_world
    between = interpolate(pose[first], pose[second], *(reach * draw[0],) * 2)
    moved = interpolate(between, pose[third], *(reach * draw[1],) * 2)
    one = cameras.select([first])
    return Cameras(one.intrinsics, moved[None], one.sizes, one.distortion, one.lenses)
