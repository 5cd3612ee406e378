"""mmcv's functions on our operators, and on the compiled ones where these are installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

from swinv2_dense.compat.mmcv_ops import state

Run = Callable[..., Any]


@contextmanager
def _operators(extension: ModuleType) -> Iterator[None]:
    """``mmcv.ops`` on the operators of ``extension``."""
    users = [module for name, module in sys.modules.items() if name.startswith("mmcv.ops.")]
    before = {module: module.ext_module for module in users if hasattr(module, "ext_module")}
    for module in before:
        vars(module)["ext_module"] = extension
    yield
    for module, theirs in before.items():
        vars(module)["ext_module"] = theirs


@pytest.fixture(autouse=True)
def _ours() -> Iterator[None]:
    """``mmcv.ops`` runs on our operators, compiled or not."""
    from swinv2_dense.compat.mmcv_ops.extension import fill

    extension = ModuleType("mmcv._ext")
    fill(extension)
    with _operators(extension):
        yield


@pytest.fixture
def compiled(_ours: None) -> Callable[[Run], Any]:
    """Calls a function while ``mmcv.ops`` runs on compiled operators; None where there are none."""

    def call(run: Run) -> Any:
        if state() != "compiled":
            return None
        with _operators(importlib.import_module("mmcv._ext")):
            return run()

    return call
