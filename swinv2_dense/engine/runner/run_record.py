"""Which run a work dir holds, and which process is training it.

``run.json`` names the run that was started last; its checkpoints carry the same id. ``run.lock`` is locked by the first
process of a training while it lives: the system takes the lock back from a process that dies, however it dies.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, remove, shown, write_text

try:
    import fcntl
except ImportError:  # Windows: two runs in one folder are not noticed
    fcntl = None  # type: ignore[assignment]

__all__ = ["LAST", "RunRecord", "held", "new_record", "read_record", "set_aside", "write_record"]

LAST = "last_checkpoint"  # mmengine's: a file with the path of the latest checkpoint
_RECORD, _LOCK = "run.json", "run.lock"
_LARGEST = 1 << 16  # bytes of either
# What training writes by itself; other .pth files in a work dir are the user's.
_WRITTEN_BY_TRAINING = re.compile(r"(iter|epoch)_\d+\.pth|interrupted\.pth|best_.+\.pth")

_held: set[Path] = set()


@dataclass(frozen=True)
class RunRecord:
    """``id``: in the meta of each of the run's checkpoints. ``source``: the checkpoint of another run, or of one
    without an id, that it was resumed from."""

    id: str
    source: str | None = None


def new_record(source: str | None = None) -> RunRecord:
    return RunRecord(secrets.token_hex(8), source)


def read_record(work_dir: str | os.PathLike[str]) -> RunRecord | None:
    """The run that was started last in a work dir; None where that is not known."""
    try:
        content = json.loads(read_text(Path(work_dir, _RECORD), at_most=_LARGEST))
        record = RunRecord(content["id"], content.get("source"))
    except (UserError, ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return None
    if not isinstance(record.id, str) or not isinstance(record.source, (str, type(None))):
        return None
    return record


def write_record(work_dir: str | os.PathLike[str], record: RunRecord) -> None:
    """Make ``record`` the run that was started last. Raises as :func:`swinv2_dense.files.writing`."""
    write_text(Path(work_dir, _RECORD), json.dumps(asdict(record)) + "\n")


@contextmanager
def held(work_dir: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a work dir; where a file system has no locks, nothing is held.

    Raises:
        UserError: another training holds it.
    """
    folder = Path(work_dir).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    if folder in _held:
        raise UserError(f"work_dir {work_dir} is in use by another training of this process: choose another")
    descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0), 0o666)
    try:
        # A lock of the process, which the workers of data loaders, forked from it, do not inherit: they may outlive it.
        if fcntl is not None:
            with contextlib.suppress(OSError):
                _lock_or_refuse(descriptor, work_dir)
        _held.add(folder)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # a full disk: the lock is what counts
            os.truncate(descriptor, 0)
            os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {started}\n".encode(), 0)
        yield
    finally:
        _held.discard(folder)
        os.close(descriptor)


def _lock_or_refuse(descriptor: int, work_dir: str | os.PathLike[str]) -> None:
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError) as error:
        holder = os.pread(descriptor, 300, 0).decode(errors="replace").strip() or "another process"
        raise UserError(
            f"work_dir {work_dir} is in use by {shown(holder)}: wait until it ends, or choose another by --work-dir"
        ) from error


def set_aside(folder: str | os.PathLike[str], keep: str | None = None) -> tuple[Path, list[str]] | None:
    """Move the checkpoints that other runs left in a folder to ``previous_N`` in it, so that none is overwritten.

    Args:
        keep: a checkpoint that stays: the one that a run is resumed from.

    Returns:
        that folder and the names that were moved, or None if there were none.
    """
    folder = Path(folder)
    stays = Path(keep).resolve() if keep else None
    found = [p for p in folder.iterdir() if _WRITTEN_BY_TRAINING.fullmatch(p.name) and p.resolve() != stays]
    if not found:
        return None
    number = 1
    while (folder / f"previous_{number}").exists():
        number += 1
    aside = folder / f"previous_{number}"
    aside.mkdir()
    for path in sorted(found):
        os.replace(path, aside / path.name)
    remove(folder / LAST)
    return aside, sorted(path.name for path in found)
