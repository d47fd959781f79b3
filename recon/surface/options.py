"""What can be set about meshing."""

from dataclasses import dataclass, field

from kernels.realtime import Blend


@dataclass(frozen=True)
class SurfaceOptions:
    """How a mesh is made from a field."""

    resolution: int = 256
    """Voxels along the longest side of the subject; photos that show less detail lower it."""
    depth_side: int = 480
    """Longest side of the depth pictures that are fused."""
    depth_sources: int = 6
    """General engine: photos that each of their rays is traced from; 0: the depth volumes alone, in no time. Six of eight
    photos take three quarters of the time; half a percent fewer pixels are right to 1 %."""
    faces: int = 60_000
    """Face budget after decimation."""
    texture: int = 2048
    """Side of the square texture, in texels."""
    hole: float = 0.1
    """Holes whose rim is shorter than this share of the mesh's diagonal are closed."""
    min_component: float = 0.03
    """Pieces with less than this share of the largest piece's area are floaters, unless several views confirm them."""
    realtime: bool = True
    """Keep what is needed to show the photos on the mesh in real time (`realtime/`, `lumigraph export --format html`)."""


@dataclass(frozen=True)
class RealtimeOptions:
    """What a mesh takes along to show its photos."""

    photos: int = 32
    """Most photos that are kept: those that show the surface best, from many sides."""
    photo_side: int = 960
    """Longest side of these photos, pixels."""
    blend: Blend = field(default_factory=Blend)
    """How they are weighed."""
