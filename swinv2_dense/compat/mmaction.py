"""mmaction2 1.2.0, its last release, beside libraries that have moved on since.

Three things keep it from being imported. Each repair looks first whether it is needed, so a later mmaction2 is left as
it is, and none touches an installed file. All three can go when a release after 1.2.0 brings them.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.logging import print_log

__all__ = ["import_mmaction", "repairs"]

_DRN = "mmaction.models.localizers.drn"

repairs: list[str] = []
"""What ``import_mmaction`` had to repair in this process, for people to read."""


def import_mmaction() -> ModuleType:
    """Import mmaction2, repaired where needed, so that ``mmaction.models`` and the rest can be imported after it.

    Call it before anything else imports ``mmaction.models``. What was repaired is logged once, in one line.

    Raises:
        ImportError: mmaction2, or something that it needs, is not installed.
    """
    done = len(repairs)
    mmaction = _import_whatever_mmcv()
    _stand_in_for_drn(mmaction)
    _leave_out_multimodal()
    if repairs[done:]:
        told = f"mmaction2 {mmaction.__version__} repaired: {'; '.join(repairs)}"
        print_log(told, logger="current", level=logging.INFO)
    return mmaction


def _import_whatever_mmcv() -> ModuleType:
    """1.2.0 asserts mmcv < 2.2, which no current torch can build; it runs with 2.2 and 2.3 all the same."""
    import mmcv

    try:
        return importlib.import_module("mmaction")
    except AssertionError:
        version, mmcv.__version__ = mmcv.__version__, "2.1.0"
        try:
            mmaction = importlib.import_module("mmaction")
        finally:
            mmcv.__version__ = version
        repairs.append(f"accepted mmcv {version}")
        return mmaction


def _stand_in_for_drn(mmaction: ModuleType) -> None:
    """The wheel lacks ``models/localizers/drn``, which ``mmaction.models`` imports (mmaction2's issue 2714)."""
    folder = Path(mmaction.__path__[0], "models", "localizers")
    if not (folder / "__init__.py").exists() or (folder / "drn").exists() or _DRN in sys.modules:
        return

    class DRN:
        """Not in the wheel; not registered either, so that a config which names it is told that there is none."""

        def __init__(self, *args: object, **kwargs: object) -> None:
            raise ImportError("the wheel of mmaction2 1.2.0 lacks DRN: install mmaction2 from its repository to use it")

    for name in (_DRN, f"{_DRN}.drn"):
        sys.modules[name] = ModuleType(name, "Stands in for what the wheel of mmaction2 1.2.0 lacks.")
    sys.modules[f"{_DRN}.drn"].DRN = DRN  # type: ignore[attr-defined]
    repairs.append("stood in for the localizer DRN")


def _leave_out_multimodal() -> None:
    """VindLU imports helpers from ``transformers.modeling_utils`` that transformers has moved elsewhere since.

    mmaction2 knows how to live without it, as it does where transformers is not installed.
    """
    transformers = importlib.util.find_spec("transformers")
    if transformers is None or not transformers.submodule_search_locations:
        return
    source = Path(transformers.submodule_search_locations[0], "modeling_utils.py")
    dependency: Any = importlib.import_module("mmaction.utils.dependency")
    if dependency.WITH_MULTIMODAL and "apply_chunking_to_forward" not in source.read_text(encoding="utf-8"):
        dependency.WITH_MULTIMODAL = False
        repairs.append("left out the multimodal models")
