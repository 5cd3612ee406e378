"""The checkpoint that a run's folder stands for."""

from __future__ import annotations

import os
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["checkpoint_of", "find_checkpoint"]


def checkpoint_of(source: str | os.PathLike[str]) -> str:
    """``source`` itself, or where it is the work dir of a training, that one's best checkpoint, else its latest."""
    folder = Path(source)
    written = ("last_checkpoint", "run.json", "best_*.pth")  # by training; other folders are a publisher's
    is_run = folder.is_dir() and any(any(folder.glob(name)) for name in written)
    return str(find_checkpoint(folder)) if is_run else os.fspath(source)


def find_checkpoint(run: Path) -> Path:
    """The best checkpoint of a run, else its latest.

    Raises:
        UserError: there is none.
    """
    if not run.is_dir():
        raise UserError(f"{shown(run)} is no folder: give the work dir of a training")
    if best := sorted(run.glob("best_*.pth"), key=lambda path: path.stat().st_mtime):
        return best[-1]
    pointer = run / "last_checkpoint"
    if pointer.is_file() and (path := run / Path(read_text(pointer).strip()).name).is_file():
        return path
    raise UserError(f"{shown(run)} holds no checkpoint of a training: give the path of one")
