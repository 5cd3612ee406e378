"""mmcv's operators without a compiler: a module ``mmcv._ext`` on torch's and torchvision's operators, for CPU and GPU.

``mmcv.ops`` is Python around one compiled module. Wheels such as ``mmcv-lite`` come without it, and compiling it takes
minutes and, for a GPU, the CUDA toolkit. ``swinv2_dense_startup`` offers ``extension.py`` in its place to imports that
find no compiled one. The functions have the names, argument names and output tensors of mmcv's ``pybind.cpp``.
"""

from __future__ import annotations

import importlib.util
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

__all__ = ["state"]


def state() -> Literal["compiled", "torchvision", "absent"]:
    """Whose operators ``mmcv.ops`` runs on in this environment, without importing any of them.

    ``absent``: mmcv is not installed, or lacks ``mmcv/ops``, or torchvision is not there to stand in.
    """
    mmcv = importlib.util.find_spec("mmcv")
    folders = list(mmcv.submodule_search_locations or ()) if mmcv else []
    if not any(Path(folder, "ops", "__init__.py").exists() for folder in folders):
        return "absent"
    if PathFinder.find_spec("mmcv._ext", folders) is not None:
        return "compiled"
    return "absent" if importlib.util.find_spec("torchvision") is None else "torchvision"
