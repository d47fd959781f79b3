"""The Blender extension (a folder of its own, GPL) and what packs it."""
