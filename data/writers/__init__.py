"""One module per format that a scene can be written to."""

from data.writers.colmap import write_colmap
from data.writers.nerfstudio import write_transforms
from data.writers.ply import write_points

__all__ = ["write_colmap", "write_points", "write_transforms"]
