"""The checkpoints that training leaves: read without running code, checked, and chosen for resuming."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log

from swinv2_dense.checkpoint.pickles import check_claims
from swinv2_dense.checkpoint.reading import unwrap
from swinv2_dense.engine.runner.plain_state import pack_history, to_plain_data, unpack_history
from swinv2_dense.engine.runner.run_record import LAST, read_record
from swinv2_dense.errors import UserError
from swinv2_dense.files import open_regular, read_text, save_torch, shown, writing

__all__ = [
    "RUN_ID",
    "candidates",
    "check_whole",
    "choose",
    "newest_iteration",
    "read_training_state",
    "run_of_folder",
    "write_training_state",
]

_PARTS = ("state_dict", "optimizer", "message_hub", "meta")  # of what mmengine saves in training
RUN_ID = "run_id"  # in a checkpoint's meta; a file in those that are folders
_LONGEST_NAME = 1 << 14  # bytes of a file that holds one name


def candidates(work_dir: str | os.PathLike[str]) -> list[Path]:
    """What may be a checkpoint of the run in ``work_dir``: its ``.pth``, and those beside what it calls the last."""
    folders = [Path(work_dir)]
    named = _named_last(work_dir)
    if named is not None:
        folders.append(named.parent)
    found = {
        path.resolve(): path for folder in folders if os.path.isdir(folder) for path in sorted(folder.glob("*.pth"))
    }
    return [path for path in found.values() if not path.name.startswith(".")]


def _named_last(work_dir: str | os.PathLike[str]) -> Path | None:
    """What ``last_checkpoint`` names, if it names something."""
    file = Path(work_dir, LAST)
    if not os.path.lexists(file):
        return None
    try:
        name = read_text(file, at_most=_LONGEST_NAME).strip()
    except UserError as error:
        _warn(f"{error}; it is ignored")
        return None
    if not name.isprintable():
        _warn(f"{file} is damaged; it is ignored")
        return None
    return Path(name) if name else None


def choose(work_dir: str | os.PathLike[str]) -> Path:
    """The checkpoint to resume from: the newest intact one of the run that was started last in ``work_dir``.

    Newest is by iteration, as clocks are set back. Damaged newer ones are reported and skipped. Checkpoints that
    several processes wrote as a folder are taken from ``last_checkpoint`` and not looked into.

    Raises:
        UserError: there is none.
    """
    record, named = read_record(work_dir), _named_last(work_dir)
    if named is not None and os.path.isdir(named) and (record is None or record.id == run_of_folder(named)):
        return named
    found = candidates(work_dir)
    if named is not None and not os.path.exists(named):
        _warn(f"{Path(work_dir, LAST)} names {shown(named)}, which is not there")
    states = list(_states(path for path in found if path.is_file()))
    if record is None:
        states = _of_latest_run(states, named)
    else:
        others = [state for state in states if state.run != record.id]
        states = [state for state in states if state.run == record.id]
        if record.source is not None and not states:
            return _intact(Path(record.source))
        if others and not states:
            raise UserError(
                f"--resume: the run that was started last in {work_dir} has no checkpoint yet: leave --resume out to "
                f"start from scratch, or name a checkpoint of another run, --resume {max(others, key=_iteration).path}"
            )
    for state in sorted(states, key=_iteration, reverse=True):
        try:
            return _intact(state.path)
        except UserError as error:
            _warn(f"{error}; the one before it is taken")
    raise UserError(
        f"--resume: {work_dir} holds no whole checkpoint to resume from: leave --resume out to start from scratch, or "
        "name the checkpoint, --resume PATH"
    )


@dataclass(frozen=True)
class _State:
    path: Path
    run: str | None
    iteration: int


def _iteration(state: _State) -> int:
    return state.iteration


def _states(paths: Iterable[Path]) -> Iterator[_State]:
    """What the files that can be read say of themselves; others are reported."""
    for path in paths:
        try:
            meta = read_training_state(str(path), mmap=True)["meta"]
            yield _State(path, meta.get("run_id"), meta.get("iter", 0))
        except NotTrainingStateError:
            continue  # weights alone, such as the best ones: nothing to resume from
        except UserError as error:
            _warn(f"{error}; it is left out")


def _of_latest_run(states: list[_State], named: Path | None) -> list[_State]:
    """Of checkpoints in a folder that does not say whose they are: those of the run of the one named last, else of the
    one written last."""
    runs = {state.path.resolve(): state.run for state in states}
    if named is not None and named.resolve() in runs:
        run = runs[named.resolve()]
    elif states:
        run = max(states, key=lambda state: state.path.stat().st_mtime).run
    return [state for state in states if state.run == run]


def newest_iteration(work_dir: str | os.PathLike[str], run: str) -> int:
    """The iteration of a run's newest checkpoint in a folder, -1 if there is none."""
    states = _states(path for path in candidates(work_dir) if path.is_file())
    return max((state.iteration for state in states if state.run == run), default=-1)


def run_of_folder(path: Path) -> str | None:
    """The id of the run that wrote a checkpoint as a folder."""
    try:
        return read_text(path / RUN_ID, at_most=_LONGEST_NAME).strip()
    except UserError:
        return None


def _intact(path: Path) -> Path:
    check_whole(path)
    return path


def check_whole(path: str | os.PathLike[str]) -> None:
    """Read a checkpoint's every byte and hold it against its checksums, which torch writes but does not look at.

    Raises:
        UserError: a byte is not what was written.
    """
    check_claims(Path(path))
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
    """A checkpoint of weights alone, or of other things than training saves."""


def read_training_state(path: str, map_location: Any = "cpu", mmap: bool = False) -> dict[str, Any]:
    """What mmengine saved in training: weights, optimizer, schedules, counters and log.

    Args:
        map_location: device for the tensors.
        mmap: map the file instead of reading it: processes of one machine share it, and what is not looked at is not
            read.

    Raises:
        UserError: not such a file, truncated, or with code in it (which is not run).
    """
    open_regular(path, "checkpoint").close()  # a named pipe would be waited for
    _compare_checksums(path, lambda name: name.endswith("/data.pkl"))  # before anything in it is believed
    try:
        check_claims(Path(path))
    except UserError as error:
        raise UserError(f"cannot resume from {path}: it is damaged or truncated ({error})") from error
    try:
        with torch.serialization.safe_globals(_types_in_training_state()):
            state = torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"cannot resume from {path}: it holds more than training saves, perhaps code (not run)"
        ) from error
    except Exception as error:  # what is no pickle of training may raise anything
        raise UserError(f"cannot resume from {path}: it is truncated, or no PyTorch checkpoint") from error
    lacks = [key for key in _PARTS if not isinstance(state, dict) or key not in state]
    if lacks:
        raise NotTrainingStateError(f"cannot resume from {path}: it {_what_instead(state, lacks, path)}")
    meta = state["meta"]
    if not isinstance(meta, dict) or not all(_is_count(meta.get(key, 0)) for key in ("epoch", "iter")):
        raise UserError(f"cannot resume from {path}: it is damaged (its meta says {shown(meta, 60)!r})")
    if not isinstance(meta.get(RUN_ID), (str, type(None))):
        raise UserError(f"cannot resume from {path}: it is damaged (its {RUN_ID} is no text)")
    try:
        return unpack_history(state)
    except (TypeError, LookupError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"cannot resume from {path}: it is damaged (its log cannot be read)") from error


def _what_instead(state: object, lacks: Sequence[str], path: str) -> str:
    """What a checkpoint is that lacks parts of a training state, and what to do."""
    try:
        unwrap(state, path)
    except UserError:
        return f"holds no weights, and lacks {', '.join(lacks)}: name a checkpoint of training, as epoch_1.pth"
    held = "weights alone" if "optimizer" in lacks else f"weights, but lacks {', '.join(lacks)}"
    return f"holds {held}; start from them by load_from={path}"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def write_training_state(path: str | os.PathLike[str], state: dict[str, Any]) -> list[str]:
    """Write a checkpoint as plain data, as a whole or not at all, once it is seen to be readable.

    Returns:
        where what is no data was left out, such as ``param_schedulers.0.anneal_func``.

    Raises:
        CannotWriteError: no room, or no right.
    """
    plain, left_out = to_plain_data(pack_history(state))
    with writing(path) as place:
        save_torch(place, plain)
        if set(_PARTS) <= set(plain):
            read_training_state(str(place), mmap=True)
    return left_out


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
