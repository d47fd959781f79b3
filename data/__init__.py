"""Scenes in and out: photos, cameras, formats, poses, quality."""
