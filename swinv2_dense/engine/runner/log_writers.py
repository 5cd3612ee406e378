"""Logs that cannot be written end no training: the error is one line, once for each kind of file."""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["guard_log_writers"]

_WRITERS = ("add_config", "add_datasample", "add_graph", "add_image", "add_scalar", "add_scalars")


def guard_log_writers(visualizer: Any, logger: logging.Logger) -> None:
    """Have a visualizer's backends and a logger's files report what they cannot write, and continue with the next."""
    reported: set[str] = set()

    def report(kind: str, error: BaseException | None) -> None:
        if kind not in reported:
            reported.add(kind)
            reason = getattr(error, "strerror", None) or error
            print(f"error: {kind} cannot be written ({reason}), and training continues: make room", file=sys.stderr)

    for name in _WRITERS:
        write = getattr(visualizer, name, None)
        if write is not None:
            setattr(visualizer, name, _guarded(write, report))
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handleError = functools.partial(_report_current, report)  # type: ignore[method-assign]


def _guarded(write: Callable[..., Any], report: Callable[[str, BaseException], None]) -> Callable[..., Any]:
    @functools.wraps(write)
    def guarded(*args: Any, **options: Any) -> Any:
        try:
            return write(*args, **options)
        except OSError as error:
            report("what the visualizer records", error)

    return guarded


def _report_current(report: Callable[[str, BaseException | None], None], _record: object) -> None:
    report("the log file", sys.exc_info()[1])
