"""Compiles the C++ of this folder where it runs, once, for the very processor, and loads it.

The library is kept in ``$XDG_CACHE_HOME/swinv2_dense/native`` under the digest of all that it depends on. It includes
nothing of Python and torch, so that it takes seconds to compile and outlives both. Torch is imported before it is
loaded, so that both share one OpenMP and its threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
import warnings
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from swinv2_dense.layers.dispatch import is_transformed

__all__ = ["kernels_take", "library"]

FOLDER = Path(__file__).parent
OPTIONS = ("-std=c++17", "-O3", "-Wno-psabi", "-shared", "-fPIC")
# The first that the compiler takes: Apple's has no OpenMP, some have no name for their own processor.
FLAGS = (("-march=native", "-fopenmp"), ("-mcpu=native", "-fopenmp"), ("-fopenmp",), ("-mcpu=native",), ())


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None, with a warning, where they cannot be compiled."""
    try:
        compiler = _compiler()
        cached = _cache() / f"{_digest(compiler)}.so"
        with contextlib.suppress(OSError):  # not there yet, or damaged
            return ctypes.CDLL(str(cached))
        return _compile(compiler, cached)
    except (OSError, RuntimeError, ValueError) as error:  # no place to write, no home, an odd CXX
        reason = str(error).strip().splitlines() or ["it says nothing"]
        warnings.warn(
            f"swinv2_dense: attention on the CPU falls back to torch's, several times slower in training, and so do "
            f"linear layers, and soft-NMS to NumPy: {reason[-1]}",
            RuntimeWarning,
            stacklevel=2,
        )
        return None


def kernels_take(*operands: Tensor | None) -> bool:
    """Whether the kernels are there and compute with these operands on the CPU: all that is known of a tensor must be
    the numbers in its memory."""
    return library() is not None and not is_transformed(*operands)


def _compiler() -> list[str]:
    for command in (os.environ.get("CXX", ""), "g++", "clang++", "c++"):
        words = shlex.split(command)
        if words and shutil.which(words[0]):
            return words
    raise OSError("no C++ compiler is on the PATH (g++ or clang++, or the variable CXX)")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "swinv2_dense" / "native"


def _sources() -> list[Path]:
    return sorted(FOLDER.glob("*.cpp"))


def _digest(compiler: list[str]) -> str:
    """Of source, compiler and processor: a home may be shared by machines of several kinds."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processor = [line for line in lines if line.startswith(("model name", "flags", "Features"))][:2]
    sources = [path.read_text() for path in (*_sources(), *sorted(FOLDER.glob("*.h")))]
    known = [platform.machine(), platform.processor(), *processor, *compiler, *OPTIONS, str(FLAGS), *sources]
    return hashlib.sha256("\n".join(known).encode()).hexdigest()[:16]


def _compile(compiler: list[str], cached: Path) -> ctypes.CDLL:
    print("swinv2_dense: compiling kernels for this processor, once (about 10 s) ...", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / cached.name
        command = [*compiler, *OPTIONS, *map(str, _sources()), "-o", str(built)]
        for flags in FLAGS:
            done = subprocess.run([*command, *flags], capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            raise OSError(f"{done.stderr}\n{shlex.join(command)} failed")
        with contextlib.suppress(OSError):
            cached.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=cached.parent) as beside:
                # moved to its place at once: processes that start together never load half a library
                shutil.copy(built, beside)
                (Path(beside) / cached.name).replace(cached)
            return ctypes.CDLL(str(cached))
        return ctypes.CDLL(str(built))  # loaded, it needs its file no more
