"""Points of the world looked up in depth pictures and silhouettes."""

from kernels.reprojection.reprojection import lift, lift_reference, silhouette, silhouette_reference, vote, vote_reference

__all__ = ["lift", "lift_reference", "silhouette", "silhouette_reference", "vote", "vote_reference"]
