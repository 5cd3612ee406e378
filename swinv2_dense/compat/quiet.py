"""Silences what the libraries print at start and during a run that no user can act on, line by line.

Everything else that they print or warn of stays. A program calls it; importing the package changes nothing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import sysconfig
import warnings
from collections.abc import Iterator
from typing import Any

__all__ = ["quiet_libraries"]

# Message (a pattern for its beginning) and the module that warns.
_WARNINGS = (
    # mmdet offers a second implementation of COCO's metric, which no config of ours uses.
    ("faster_coco_eval is not installed", r"mmdet\.evaluation"),
    # mmseg's loss explains an option whose default is what our configs mean.
    ("Default ``avg_non_ignore`` is False", r"mmseg\.models"),
    # Boxes that end at the image's edge, of which there are always some.
    (r"Warning: The (bbox|polygon|text) is out of bounds", r"mmengine\.visualization"),
    # mmdet copies a tensor in a way that torch would have written otherwise.
    ("To copy construct from a tensor", r"mmdet\.models"),
    # Gradio names a status of Starlette's by its former name.
    ("'HTTP_422_UNPROCESSABLE_ENTITY' is deprecated", r"gradio\.routes"),
)
# What pycocotools prints, unasked, of reading a file: beginnings of lines.
_PRINTED = ("loading annotations into memory", "Done (t=", "creating index", "index created!")
# mmdet's head for lane lines misses an operator that nothing of ours needs.
_LOGGED = "Line NMS is not compiled"


@contextlib.contextmanager
def _no_missing_compiler() -> Iterator[None]:
    """mmengine's report of the environment asks a shell for the version of Python's own compiler. Where that is not on
    the PATH, the shell complains on the screen; of ``false`` the report says n/a, as it would of the missing one."""
    config = sysconfig.get_config_vars()
    compiler = str(config.get("CC") or "")
    if not compiler or shutil.which(os.path.basename(compiler.split()[0])):
        yield
        return
    config["CC"] = "false"
    try:
        yield
    finally:
        config["CC"] = compiler


@contextlib.contextmanager
def _no_progress_of_pycocotools() -> Iterator[None]:
    """Of the one module: libraries that are imported in the block may look at ``print`` itself, as numba does."""
    try:
        import pycocotools.coco as module
    except ImportError:
        yield
        return
    outer = vars(module).get("print")  # blocks may be nested

    def print_(*values: Any, **options: Any) -> None:
        if not (len(values) == 1 and str(values[0]).startswith(_PRINTED)):
            print(*values, **options)

    vars(module)["print"] = print_
    try:
        yield
    finally:
        if outer is None:
            del vars(module)["print"]
        else:
            vars(module)["print"] = outer


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silence what is listed here, in the block."""
    import mmengine.logging as log

    original, outer = log.print_log, vars(log.MMLogger).get("filter")  # blocks may be nested

    def print_log(msg: Any, logger: Any = None, level: int = logging.INFO) -> None:
        """mmengine's, which prints whatever the level where no logger is named.

        mmdet, mmseg and mmpretrain so report, as debugging output, that they lack the data sets of a company's cloud
        ("Could not import OneDL").
        """
        if logger is not None or level > logging.DEBUG:
            original(msg, logger, level)

    # Of the class: asking for an instance would make one, which keeps writing to what is the screen now.
    log.MMLogger.filter = _without_line_nms
    log.print_log = print_log
    try:
        with warnings.catch_warnings(), _no_missing_compiler(), _no_progress_of_pycocotools():
            for message, module in _WARNINGS:
                warnings.filterwarnings("ignore", message, module=module)
            yield
    finally:
        log.print_log = original
        if outer is None:
            del log.MMLogger.filter
        else:
            log.MMLogger.filter = outer


def _without_line_nms(logger: logging.Logger, record: logging.LogRecord) -> Any:
    return not record.getMessage().startswith(_LOGGED) and logging.Logger.filter(logger, record)
