"""Sizes of the general model; they are stored with the weights."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelOptions:
    """Everything that decides the shapes of the weights, and the defaults of sampling."""

    widths: tuple[int, int, int, int] = (24, 48, 96, 128)
    """Channels of the encoder at 1/2, 1/4, 1/8 and 1/16 of the photo's size."""
    features: tuple[int, int, int] = (32, 32, 16)
    """Channels of the feature maps at 1/8, 1/4 and 1/2."""
    groups: tuple[int, int, int] = (8, 8, 4)
    """Correlation groups of the three cost volumes."""
    hypotheses: tuple[int, int, int] = (64, 32, 8)
    """Depth hypotheses of the three cost volumes."""
    zoom: tuple[float, float] = (2.0, 4.0)
    """How much finer the hypotheses' spacing gets from one volume to the next."""
    volume_widths: tuple[int, int, int] = (16, 8, 8)
    """Channels of the three regularisers at full volume resolution."""
    token: int = 32
    """Width of a source view's token in the geometry branch."""
    ray: int = 48
    """Width of a sample's token along the ray."""
    ray_layers: int = 2
    heads: int = 3
    blend: int = 24
    """Width of the blending branch."""
    coarse_samples: int = 48
    """Samples along a ray that ask the depth volumes alone."""
    fine_samples: int = 12
    """Samples around the surface, where the geometry branch runs."""
    reach: float = 0.02
    """Unit of signed distance inside the networks, relative to the distance from the source cameras."""
