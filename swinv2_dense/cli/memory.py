"""The process's memory, which a program may set up and a library may not."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

__all__ = ["keep_memory"]

# mallopt's, of glibc's malloc.h: free memory beyond which the heap's end goes back; blocks from which on each is mapped
# on its own, and goes back when it is freed.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_MOST = 2**31 - 1


def keep_memory() -> None:
    """Let glibc keep what is freed for the next tensor instead of returning it to the system.

    What went back comes again page by page, each cleared by the kernel: a quarter of the time of a segmenter on a CPU.
    Where there is a GPU large tensors lie elsewhere, and loaders' processes are many: there only blocks of up to
    31 MiB are kept, by a threshold that follows the largest block freed so far. Nothing happens on other systems.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if not _has_gpu() and hasattr(libc, "mallopt"):
        for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            libc.mallopt(option, _MOST)
        return
    malloc, free = libc.malloc, libc.free
    malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    free(malloc(31 * 2**20))


def _has_gpu() -> bool:
    """As far as the system shows without asking torch, which takes seconds to import."""
    return any(Path("/dev", name).exists() for name in ("nvidiactl", "kfd", "dxg"))
