"""The process's memory, which a program may set up and a library may not."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]

# mallopt's, of glibc's malloc.h: free memory beyond which the heap's end goes back; blocks from which on each is mapped
# on its own, and goes back when it is freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST = 2**31 - 1


def keep_memory() -> None:
    """Let glibc keep what is freed for the next tensor or image instead of returning it to the system.

    What went back comes again page by page, each cleared by the kernel: a quarter of the time of a segmenter on a CPU,
    half of that of a process which loads and augments large images. Loaders' processes inherit the setting. A process
    stays as large as it was at its peak. Nothing happens on other systems.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            libc.mallopt(option, _MOST)
