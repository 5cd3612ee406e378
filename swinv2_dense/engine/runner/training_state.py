"""The checkpoints that training leaves: read without running code, checked, and chosen for resuming."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log

from swinv2_dense.errors import UserError

__all__ = [
    "LAST",
    "candidates",
    "check_whole",
    "choose",
    "read_training_state",
]

LAST = "last_checkpoint"  # mmengine's: a file with the path of the latest checkpoint


def candidates(work_dir: str | os.PathLike[str]) -> list[Path]:
    """What may be a checkpoint of the run in ``work_dir``: its ``.pth``, and those beside what it calls the last."""
    folders = [Path(work_dir)]
    named = _named_last(work_dir)
    if named is not None:
        folders.append(named.parent)
    found = {path.resolve(): path for folder in folders if folder.is_dir() for path in sorted(folder.glob("*.pth"))}
    return [path for path in found.values() if not path.name.startswith(".")]


def _named_last(work_dir: str | os.PathLike[str]) -> Path | None:
    file = Path(work_dir, LAST)
    name = file.read_text().strip() if file.is_file() else ""
    return Path(name) if name else None


def choose(work_dir: str | os.PathLike[str]) -> Path:
    """The checkpoint to go on from: the latest of a run that is whole. A later one that is not is told and left.

    Checkpoints that several processes wrote as a folder are taken from ``last_checkpoint`` and not looked into.

    Raises:
        UserError: there is none.
    """
    named = _named_last(work_dir)
    found = candidates(work_dir)
    files = [path for path in found if path.is_file()]
    if named is not None and named.is_dir():
        return named
    if named is not None and named not in found:
        _warn(f"{Path(work_dir, LAST)} names {named}, which is not there")
    dated: list[tuple[tuple[str, int], Path]] = []
    for path in files:
        try:
            meta = read_training_state(str(path), mmap=True)["meta"]
            dated.append(((str(meta.get("time", "")), int(meta.get("iter", 0))), path))
        except NotTrainingStateError:
            continue  # weights alone, such as the best ones: nothing to go on from
        except UserError as error:
            _warn(f"{error}; it is left out")
    for _, path in sorted(dated, reverse=True):
        try:
            check_whole(path)
        except UserError as error:
            _warn(f"{error}; the one before it is taken")
        else:
            return path
    raise UserError(
        f"--resume: {work_dir} holds no whole checkpoint to resume from: leave --resume out to start anew, or name "
        "the checkpoint, --resume PATH"
    )


def check_whole(path: str | os.PathLike[str]) -> None:
    """Read a checkpoint's every byte and hold it against its checksums, which torch writes but does not look at.

    Raises:
        UserError: a byte is not what was written.
    """
    _compare_checksums(path, lambda name: True)


def _compare_checksums(path: str | os.PathLike[str], wanted: Callable[[str], bool]) -> None:
    """Read the parts of a checkpoint that are ``wanted`` by name."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in filter(wanted, archive.namelist()):
                with archive.open(name) as part:
                    while part.read(1 << 20):  # the last one compares
                        pass
    except Exception as error:  # zipfile takes what it reads for flags, names and lengths: it may raise anything
        damage = "damaged" if "CRC" in str(error) else "truncated, or no PyTorch checkpoint"
        raise UserError(f"cannot resume from {path}: it is {damage} ({error})") from error


def _warn(text: str) -> None:
    print_log(text, "current", 30)


class NotTrainingStateError(UserError):
    """A checkpoint of weights alone."""


def read_training_state(path: str, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """What mmengine saved in training: weights, optimizer, schedules, counters and log.

    Args:
        map_location: device for the tensors.
        mmap: map the file instead of reading it: processes of one machine share it, and what is not looked at is not
            read.

    Raises:
        UserError: not such a file, truncated, or with code in it (which is not run).
    """
    _compare_checksums(path, lambda name: name.endswith("/data.pkl"))  # before anything in it is believed
    try:
        with torch.serialization.safe_globals(_types_in_training_state()):
            state = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"cannot resume from {path}: it holds more than training saves, perhaps code (not run)"
        ) from error
    except Exception as error:  # what is no pickle of training may raise anything
        raise UserError(f"cannot resume from {path}: it is truncated, or no PyTorch checkpoint") from error
    if not isinstance(state, dict) or not {"state_dict", "optimizer", "message_hub", "meta"} <= set(state):
        raise NotTrainingStateError(
            f"cannot resume from {path}: it holds weights alone; start from them by load_from={path}"
        )
    meta = state["meta"]
    if not isinstance(meta, dict) or not all(isinstance(meta.get(key, 0), int) for key in ("epoch", "iter")):
        raise UserError(f"cannot resume from {path}: it is damaged (its meta says {str(meta)[:60]!r})")
    return state


def _types_in_training_state() -> list[Callable | tuple[Callable, str]]:
    """What mmengine's log pickles: NumPy numbers, and its own buffer with references to its methods."""
    reconstruct, scalar = np.zeros(0).__reduce__()[0], np.float64(0).__reduce__()[0]
    numpy_functions = [
        (function, f"numpy.{core}.multiarray.{name}")
        for function, name in ((reconstruct, "_reconstruct"), (scalar, "scalar"))
        for core in ("core", "_core")  # before NumPy 2, and since
    ]
    dtypes = [type(np.dtype(kind)) for kind in ("bool", "int32", "int64", "uint32", "float32", "float64")]
    return [HistoryBuffer, (_history_method, "builtins.getattr"), np.ndarray, np.dtype, *dtypes, *numpy_functions]


def _history_method(owner: Any, name: str) -> Any:
    """``getattr`` for the one thing that mmengine's buffer needs it for, and for nothing that a pickle may want."""
    if owner is not HistoryBuffer or name.startswith("_"):
        raise pickle.UnpicklingError(f"the pickle asks for {name} of {owner}")
    return getattr(owner, name)
