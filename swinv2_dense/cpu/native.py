"""Compiles the C++ of this folder where it runs, once, for the very processor, and loads it.

The library is kept in ``$XDG_CACHE_HOME/swinv2_dense/native`` under the digest of all that it depends on, its checksum
beside it. It includes nothing of Python and torch, so that it takes seconds to compile and outlives both. Torch is
imported before it is loaded, so that both share one OpenMP and its threads.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from torch import Tensor

from swinv2_dense.errors import UserError
from swinv2_dense.files import CannotWriteError, lock, read_bytes, read_text, write_bytes, write_text
from swinv2_dense.layers.dispatch import is_transformed

__all__ = ["kernels_take", "library"]

FOLDER = Path(__file__).parent
WITHOUT = "swinv2_dense: no CPU kernels, so torch does their work, several times slower in training: "
OPTIONS = ("-std=c++17", "-O3", "-Wno-psabi", "-shared", "-fPIC")
# The first that the compiler takes: Apple's has no OpenMP, some have no name for their own processor.
FLAGS = (("-march=native", "-fopenmp"), ("-mcpu=native", "-fopenmp"), ("-fopenmp",), ("-mcpu=native",), ())
_PATIENCE = 180  # seconds for a compiler; it needs about 10
_POLL = 0.1
_OWNED = hasattr(os, "getuid")  # elsewhere the system keeps a user's folders for him


@lru_cache(maxsize=1)
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None, with a warning, where they cannot be compiled."""
    try:
        compiler = _compiler()
        return _load(compiler, _cache() / f"{_digest(compiler)}.so")
    except (OSError, RuntimeError, ValueError) as error:  # no place to write, no home, an odd CXX
        reason = str(error).strip().splitlines() or ["it says nothing"]
        warnings.warn(
            f"{WITHOUT}{reason[-1]}",
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
    raise OSError("no C++ compiler is found: install g++ or clang++, or name one in the variable CXX")


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


def _load(compiler: list[str], cached: Path) -> ctypes.CDLL:
    """The library from the cache, compiled into it first where need be; processes that start together compile once."""
    problem = _prepare(cached.parent)
    if problem is not None:
        print(f"swinv2_dense: compiled kernels are not kept: {problem}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            return ctypes.CDLL(str(_compile(compiler, Path(folder, cached.name))))  # loaded, it needs its file no more
    if not _is_whole(cached):
        with _alone(cached.parent), tempfile.TemporaryDirectory() as folder:
            if not _is_whole(cached):  # nobody was quicker
                content = _compile(compiler, Path(folder, cached.name)).read_bytes()
                try:
                    write_bytes(cached, content)
                    write_text(_checksum_file(cached), hashlib.sha256(content).hexdigest() + "\n")
                except CannotWriteError:  # a full disk
                    return ctypes.CDLL(str(Path(folder, cached.name)))
    return ctypes.CDLL(str(cached))


def _prepare(folder: Path) -> str | None:
    """Make the cache's folder, or say why what lies in it cannot be believed: who may write there may have us run his
    code."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for place in (folder, folder.parent):
            status = place.stat()
            if _OWNED and status.st_uid == os.getuid() and status.st_mode & 0o022:
                place.chmod(0o700)
            if problem := _foreign(place):
                return problem
        above = folder.parent.parent
        status = above.stat()
        replaceable = status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX
        if _OWNED and (replaceable or status.st_uid not in (0, os.getuid())):
            return f"{above} can be changed by others"
        if not os.access(folder, os.W_OK):
            return f"{folder} cannot be written to"
    except OSError as error:
        return f"{folder} cannot be made ({error.strerror})"
    return None


def _foreign(path: Path) -> str | None:
    """Why a file or folder may hold what others wrote, or None."""
    if not _OWNED:
        return None
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode) or status.st_uid != os.getuid():
        return f"{path} belongs to somebody else"
    return f"{path} can be written to by others" if status.st_mode & 0o022 else None


def _checksum_file(cached: Path) -> Path:
    return cached.with_suffix(".sha256")


def _is_whole(cached: Path) -> bool:
    """Whether a library is there, is ours, and is what was written: loading a damaged one kills the process."""
    try:
        if _foreign(cached) or _foreign(_checksum_file(cached)):
            return False
        expected = read_text(_checksum_file(cached), at_most=1000).strip()
        return hashlib.sha256(read_bytes(cached)).hexdigest() == expected
    except (OSError, UserError):
        return False


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process of this machine compiles at a time; one that hangs is not waited for without end."""
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        for _ in range(round(2 * _PATIENCE / _POLL)):
            if lock(descriptor):
                break
            time.sleep(_POLL)
        yield
    finally:
        os.close(descriptor)


def _compile(compiler: list[str], built: Path) -> Path:
    print("swinv2_dense: compiling kernels for this processor, once (about 10 s) ...", file=sys.stderr, flush=True)
    command = [*compiler, *OPTIONS, *map(str, _sources()), "-o", str(built)]
    for flags in FLAGS:
        status, said = _run([*command, *flags])
        if status == 0:
            return built
    errors = [line.strip() for line in said.splitlines() if "error" in line] or said.split("\n")[:1]
    raise OSError(f"{shlex.join(compiler)} fails: {errors[0] or f'exit status {status}'}")


def _run(command: list[str]) -> tuple[int, str]:
    """Exit status and output of a compiler, which is ended with all its parts when it takes too long."""
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(timeout=_PATIENCE)
        except BaseException as error:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL) if hasattr(os, "killpg") else process.kill()
            if isinstance(error, subprocess.TimeoutExpired):
                raise OSError(f"{command[0]} was given up after {_PATIENCE} s") from error
            raise
    return process.returncode, said
