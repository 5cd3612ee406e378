"""The checkpoint that a run's folder stands for."""

from __future__ import annotations

import os
from pathlib import Path

from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["checkpoint_of", "find_checkpoint", "run_of"]

_WRITTEN = ("last_checkpoint", "run.json", "best_*.pth")  # by training
_WEIGHTS = (".bin", ".pt", ".pth", ".safetensors")  # in a publisher's folder


def checkpoint_of(source: str | os.PathLike[str]) -> str:
    """``source`` itself, or where it is the work dir of a training, that one's best checkpoint, else its latest.

    Raises:
        UserError: a folder without any.
    """
    folder = Path(source)
    if _is_run(folder):
        return str(find_checkpoint(folder))
    if folder.is_dir() and not any(path.suffix in _WEIGHTS for path in folder.iterdir()):
        raise UserError(f"{shown(folder)} holds no checkpoint: give the work dir of a training, or the path of a file")
    return os.fspath(source)


def run_of(checkpoint: str | os.PathLike[str]) -> Path | None:
    """The work dir that a checkpoint lies in; None where that is none."""
    folder = Path(checkpoint).parent
    return folder if _is_run(folder) else None


def _is_run(folder: Path) -> bool:
    return folder.is_dir() and any(any(folder.glob(name)) for name in _WRITTEN)


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
