"""What the commands share: reading a config, and reporting a mistake in one line."""

from __future__ import annotations

import argparse
import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swinv2_dense.cli.memory import keep_memory
from swinv2_dense.config_files import find_config
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.suggestions import did_you_mean, nearest

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
        r"The image size in a batch should be the same",
        "the images of a batch have different sizes: end the resizing in the pipeline with one, or take batches of one",
    ),
    (
        r"metric_list must be str or tuple of str",
        "the evaluator's metric_list is to be a tuple: on the command line write (a,b), not [a,b]",
    ),
    (
        r"The length of palette should not be less than",
        "metainfo.palette has fewer colours than there are classes: give one for each, or leave it out",
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
_ALIKE = 0.8  # of two keys, of which the new one is then a slip
_NAMES_OF_PARAMETERS = "custom_keys"  # of paramwise_cfg: its keys are new as a rule


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
        if type(seen).__name__ == "BrokenProcessPool":  # of concurrent.futures
            return "a worker process was killed, as the system does where memory is full: give fewer --workers"
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
        UserError: an option names an entry that does not exist or has no entries, one that nothing would read, or, in a
            dict that takes any key, a new one beside one that is spelt almost alike.
    """
    read = _top_level_keys()
    for key in options:
        top, *below = key.split(".")
        if top not in cfg and top not in read:
            hint = did_you_mean(top, [*cfg, *read], otherwise="")
            raise UserError(f"--cfg-options {key}: the config has no {top!r}{hint and ': ' + hint}")
        if top not in read or (top == "data_preprocessor" and top in cfg.get("model", {})):
            raise UserError(
                f"--cfg-options {key}: {top!r} is only used while the config is read, so nothing would change: write "
                f"it into a config, or give the entry that is made of it, such as {_made_of(top, below)}"
            )
        _check_spelling(cfg, key)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise UserError(f"--cfg-options {' '.join(options)}: {error.args[0]}") from error


def _made_of(top: str, below: Sequence[str]) -> str:
    split, _, rest = top.partition("_")
    if rest == "pipeline" and split in ("train", "val", "test"):
        return ".".join([f"{split}_dataloader.dataset.pipeline", *below])
    if top == "data_preprocessor":
        return ".".join(["model", top, *below])
    return "train_cfg.max_iters, test_dataloader.dataset.data_root or model.backbone"


def _check_spelling(cfg: Config, key: str) -> None:
    """Of dicts without a type, such as model.test_cfg, nobody refuses a key that is not read."""
    *parents, last = key.split(".")
    node: Any = cfg.get(parents[0]) if parents else None
    for parent in parents[1:]:
        if isinstance(node, (list, tuple)):
            node = node[int(parent)] if parent.isdecimal() and int(parent) < len(node) else None
        else:
            node = node.get(parent) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping) or "type" in node or last in node or parents[-1:] == [_NAMES_OF_PARAMETERS]:
        return
    if meant := nearest(last, map(str, node), cutoff=_ALIKE):
        raise UserError(f"--cfg-options {key}: {'.'.join(parents)} has no {last!r}: did you mean {meant!r}?")


def _top_level_keys() -> Sequence[str]:
    """What of the top of a config is read: by mmengine's runner, and by us."""
    from mmengine.runner import Runner

    runner = inspect.signature(Runner.__init__).parameters
    read_by_name = (
        "activation_checkpointing",
        "compile",
        "device",
        "efficient_conv_bn_eval",
        "find_unused_parameters",
        "init_weights_for_test_or_val",
        "max_image_pixels",
        "model_wrapper_cfg",
        "strategy",
        "sync_bn",
        "tta_model",
        "tta_pipeline",
    )
    return [*(name for name in runner if name not in ("self", "cfg")), *read_by_name]
