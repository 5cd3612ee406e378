"""What the commands share: reading a config, and reporting a mistake in one line."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense.cli.memory import keep_memory
from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.suggestions import did_you_mean

# Neither torch nor mmengine is imported before a command needs it: `swinv2 --help` is to be quick.
if TYPE_CHECKING:
    from mmengine.config import Config

__all__ = ["explain", "load_config", "merge_options", "run"]

TRACEBACK = "SWINV2_DENSE_TRACEBACK"

# Errors of the libraries that only ever mean a mistake in the config or the data: pattern and what we say instead.
_KNOWN_MISTAKES = (
    (
        r"failed to load image: (?P<file>.+?)\s*$",
        "{file} cannot be decoded: it is truncated or no image; replace it, or take it out of the annotations",
    ),
    (
        r"No such file or directory: '(?P<file>[^']+)'",
        "{file} does not exist, although the config or the annotations name it",
    ),
    (r"\[Errno (?:28|122)\]", "the disk is full: make room"),
    (r"\[Errno \d+\] (?P<why>[^:\n]+): '(?P<file>[^'\n]+)'", "{file}: {why}"),
    (
        r"(?P<cls>\w+)(\.__init__)?\(\) got an unexpected keyword argument '(?P<key>\w+)'",
        "{cls} has no option {key!r}: correct that key in the config or in --cfg-options",
    ),
    (
        r"Expected more than 1 value per channel when training",
        "batch norm after pooling needs two images or more: raise train_dataloader.batch_size",
    ),
    (
        r"stack expects each tensor to be equal size, but got (?P<one>\[.+?\]) at entry 0 and (?P<other>\[.+?\])",
        "the images of a batch have different sizes ({one} and {other}, channels first): end the resizing in the "
        "pipeline with a crop of one size, or take batches of one",
    ),
    (
        r"(?P<cls>[\w.]+) is not in the (?P<registry>\S+) registry",
        "type={cls!r} is unknown ({registry} registry): correct its spelling, or name its module in custom_imports",
    ),
    (
        r"metric should be one of (?P<known>[^\n]+), but got (?P<got>\w+)",
        "the evaluator has metric={got!r}, which is none of {known}: correct val_evaluator or test_evaluator",
    ),
    (
        r"class `(?P<cls>\w+)` in [\w./\\-]+\.py: (?P<why>[^\n]+)",
        "{cls} cannot be built from its config ({why}): correct its entries (" + TRACEBACK + "=1 shows where)",
    ),
)
_LONGEST_LINE = 2000  # characters


def run(main: Callable[[], Any]) -> int:
    """Run a program; returns its exit status: what it returns, or 0.

    A mistake of the user's is one line, ``error: ...``, on stderr, with status 1. Anything else, and everything if the
    environment variable ``SWINV2_DENSE_TRACEBACK`` is 1, keeps its traceback.
    """
    keep_memory()
    try:
        status = main()
        _leave_process_group()
    except KeyboardInterrupt as interrupt:
        print(shown(str(interrupt) or "interrupted", _LONGEST_LINE), file=sys.stderr)
        return 130
    except SystemExit:
        _leave_process_group()
        raise
    except BrokenPipeError:  # `swinv2 models | head`: whoever read the output has enough
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  or Python complains again when it flushes at exit
        return 1
    except Exception as error:
        line = None if os.environ.get(TRACEBACK) == "1" else explain(error)
        if line is None:
            traceback.print_exc()
        else:
            print(f"error: {line}", file=sys.stderr)
        return 1
    return status if isinstance(status, int) else 0


def _leave_process_group() -> None:
    """Destroy the process group; ranks still running could crash otherwise."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def explain(error: BaseException) -> str | None:
    """The mistake behind an exception in one line, or None where it is not a known one.

    Looks through what the libraries wrap around it: chained exceptions, and a worker process's traceback as text. The
    line is printable: names and keys from files may hold control characters, and be long.
    """
    line = _explanation(error)
    return None if line is None else shown(line, _LONGEST_LINE)


def _explanation(error: BaseException) -> str | None:
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if isinstance(seen, UserError):
            return text.rsplit("swinv2_dense.errors.UserError: ", 1)[-1]
        if type(seen).__name__ == "OutOfMemoryError":  # torch's
            return (
                "the GPU's memory is full: lower train_dataloader.batch_size, add --amp, or set "
                "model.backbone.with_cp=True"
            )
        for pattern, line in _KNOWN_MISTAKES:
            if match := re.search(pattern, text):
                return line.format(**match.groupdict())
        seen = seen.__cause__ or seen.__context__
    return None


def load_config(args: argparse.Namespace) -> Config:
    """The config that the common options describe.

    Raises:
        UserError: the file is missing or no valid config, or an option names an entry that does not exist.
    """
    from swinv2_dense.checks.config_source import read_config

    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    path = find_config(args.config)
    try:
        cfg = read_config(path)
    except UserError:
        raise
    except Exception as error:  # a config is a program of the user's: whatever it raises is about the config
        file = _file_being_read(error) or path
        # A KeyError's text has quotes around it; a SyntaxError's holds the line.
        reason = error.args[0] if isinstance(error, KeyError) else error
        raise UserError(f"config {file} cannot be read: {type(error).__name__}: {reason}") from error
    merge_options(cfg, args.cfg_options or {})
    cfg.launcher = args.launcher
    cfg.work_dir = args.work_dir or cfg.get("work_dir") or str(Path("work_dirs", path.stem))
    return cfg


def _file_being_read(error: BaseException) -> str | None:
    """Which config file, this one or a base of it, was being read: the exception itself often does not say."""
    readers = ("_is_lazy_import", "_file2dict", "_parse_lazy_import")
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__) if frame.f_code.co_name in readers]
    return os.path.normpath(frames[-1].f_locals["filename"]) if frames else None


def merge_options(cfg: Config, options: dict[str, Any]) -> None:
    """Change entries of a config, as ``--cfg-options`` does.

    Raises:
        UserError: an option names an entry that does not exist, or that has no entries.
    """
    known = _top_level_keys(cfg)
    for key in options:
        top = key.split(".")[0]
        if top not in known:
            hint = did_you_mean(top, known, otherwise="")
            raise UserError(f"--cfg-options {key}: the config has no {top!r}{hint and ': ' + hint}")
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise UserError(f"--cfg-options {' '.join(options)}: {error.args[0]}") from error


def _top_level_keys(cfg: Config) -> Sequence[str]:
    """What a config may hold at its top: what it has, what mmengine's runner takes, and what we read."""
    from mmengine.runner import Runner

    runner = inspect.signature(Runner.__init__).parameters
    read_by_name = (
        "activation_checkpointing",
        "compile",
        "device",
        "find_unused_parameters",
        "strategy",
        "sync_bn",
        "tta_model",
        "tta_pipeline",
    )
    return [*cfg, *runner, *read_by_name]
