"""Points of the world looked up in depth pictures and silhouettes, and rays from them to an eye."""

from kernels.reprojection.reprojection import (
    lift,
    lift_reference,
    rays_toward,
    rays_toward_reference,
    silhouette,
    silhouette_reference,
    vote,
    vote_reference,
)

__all__ = [
    "lift", "lift_reference", "rays_toward", "rays_toward_reference", "silhouette", "silhouette_reference", "vote", "vote_reference",
]  # fmt: skip
