"""The C library's allocator, told how this program uses memory: the same large arrays again and again.

By default glibc gives every array of some megabytes back to the system when it is freed and asks for it anew a moment later;
the system then clears each page again, which takes the general engine on a CPU much of its time. What is freed is kept
instead, and given back where a stage of the work ends. Elsewhere than on Linux with glibc nothing happens.
"""

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory() -> bool:
    """For programs that own their process: large arrays come from the heap and stay there; whether that took effect."""
    c = _library()
    if c is None:
        return False
    return bool(c.mallopt(_MMAP_MAX, 0) and c.mallopt(_TRIM_THRESHOLD, 2**31 - 1) and c.mallopt(_TOP_PAD, 64 * 2**20))


def release_freed_memory() -> None:
    """Give what is free back to the system."""
    c = _library()
    if c is not None:
        c.malloc_trim(0)


def _library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    c = ctypes.CDLL(None)
    return c if hasattr(c, "mallopt") and hasattr(c, "malloc_trim") else None
