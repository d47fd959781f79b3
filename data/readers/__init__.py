"""One module per format; `read_scene` finds the right one by looking at the folder."""

from data.readers.detect import read_scene

__all__ = ["read_scene"]
