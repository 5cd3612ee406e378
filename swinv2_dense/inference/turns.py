"""A model for one caller at a time, and as it is for prediction meanwhile."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

from swinv2_dense.compat.quiet import quiet_libraries

if TYPE_CHECKING:
    from torch import nn

__all__ = ["evaluating", "turn"]

_ONE_AT_A_TIME = threading.RLock()


@contextlib.contextmanager
def turn() -> Iterator[None]:
    """Hold the libraries, quiet, for one thread: they keep their default scope, loggers and warnings per process, so
    that two models at once, even of two predictors, would take away each other's."""
    with _ONE_AT_A_TIME, quiet_libraries():
        yield


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """The model in evaluation mode; one that is being trained goes on as it was."""
    training = [module for module in model.modules() if module.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
