"""Scenes in and out: photos, cameras, formats, poses, quality."""

__version__ = "0.1.0"
