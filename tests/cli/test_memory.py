"""Programs set the allocator up; importing the library and loading its kernels do not."""

from __future__ import annotations

import subprocess
import sys

import pytest

_MMAPPED = """
import ctypes, torch, swinv2_dense.models
from swinv2_dense.cli.memory import keep_memory
from swinv2_dense.cpu.native import library

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in
                ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keep")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

def goes_back(size):  # such a block is mapped on its own, and so is given back when it is freed
    before = libc.mallinfo2().hblks
    libc.malloc(size)
    return libc.mallinfo2().hblks > before

library()
print(goes_back(30 * 2**20))
keep_memory()
print(goes_back(30 * 2**20), goes_back(300 * 2**20))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_programs_keep_memory_and_loading_the_kernels_leaves_the_allocator_alone() -> None:
    done = subprocess.run([sys.executable, "-c", _MMAPPED], capture_output=True, text=True)
    if "mallinfo2" in done.stderr:
        pytest.skip("this C library has no mallinfo2")
    assert done.stdout.split() == ["True", "False", "False"], done.stderr


def test_programs_set_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    from swinv2_dense.cli import common

    calls: list[str] = []
    monkeypatch.setattr(common, "keep_memory", lambda: calls.append("memory"))
    assert common.run(lambda: calls.append("main")) == 0
    assert calls == ["memory", "main"]
