"""The process's memory, which a program may set up and a library may not."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_memory"]


def keep_memory() -> None:
    """Let glibc keep freed blocks of up to 31 MiB instead of returning them to the system.

    Blocks beyond a threshold go back when they are freed, and come again page by page, cleared by the kernel, which
    takes a tenth of the time of inference on small images. The threshold is the whole process's and follows the largest
    block freed so far, up to 32 MiB: so one is allocated and freed here. Nothing happens on other systems.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    malloc, free = libc.malloc, libc.free
    malloc.restype, malloc.argtypes, free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
    free(malloc(31 * 2**20))
