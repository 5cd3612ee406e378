"""mmaction2 1.2.0, its last release, beside libraries that have moved on since.

Three things keep it from being imported. Each repair checks first whether it is needed, so a later mmaction2 is left as
it is, and none touches an installed file. All three can go when a release after 1.2.0 brings them. The finders of
``swinv2_dense_startup`` apply them to whoever imports mmaction2.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from swinv2_dense.compat import swinv2_dense_startup

__all__ = ["fill", "import_mmaction", "repairs", "run"]

repairs: list[str] = []
"""What had to be repaired in this process, as the doctor reports it."""


def import_mmaction() -> ModuleType:
    """Import mmaction2, repaired where needed, and the part of it that decides which models it imports.

    ``import mmaction`` alone is repaired as well; afterwards ``repairs`` is complete.

    Raises:
        ImportError: mmaction2, or something that it needs, is not installed.
    """
    swinv2_dense_startup.install()
    mmaction = importlib.import_module("mmaction")
    importlib.import_module("mmaction.utils.dependency")
    return mmaction


def run(module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
    """Run the code of ``mmaction`` or of ``mmaction.utils.dependency``, by ``execute``, with its repairs."""
    if module.__name__ == "mmaction":
        _run_whatever_mmcv(module, execute)
        if _lacks_drn(module):
            repairs.append("stood in for the localizer DRN")
    else:
        execute(module)
        _leave_out_multimodal(module)


def _run_whatever_mmcv(module: ModuleType, execute: Callable[[ModuleType], None]) -> None:
    """1.2.0 asserts mmcv < 2.2, which no current torch can build; it runs with 2.2 and 2.3 all the same."""
    import mmcv

    try:
        execute(module)
    except AssertionError:
        version, mmcv.__version__ = mmcv.__version__, "2.1.0"
        try:
            execute(module)
        finally:
            mmcv.__version__ = version
        repairs.append(f"accepted mmcv {version}")


def _lacks_drn(mmaction: ModuleType) -> bool:
    """The wheel lacks ``models/localizers/drn``, which ``mmaction.models`` imports (mmaction2's issue 2714)."""
    folder = Path(mmaction.__path__[0], "models", "localizers")
    return (folder / "__init__.py").exists() and not (folder / "drn").exists()


class DRN:
    """Not in the wheel; not registered either, so that a config which names it learns that there is none."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise ImportError("the wheel of mmaction2 1.2.0 lacks DRN: install mmaction2 from its repository to use it")


def fill(module: ModuleType) -> None:
    """Make ``module`` stand in for ``mmaction.models.localizers.drn``, a package, or for its module ``drn``."""
    module.__doc__ = "Stands in for what the wheel of mmaction2 1.2.0 lacks."
    if module.__name__.endswith(".drn.drn"):
        vars(module)["DRN"] = DRN


def _leave_out_multimodal(dependency: ModuleType) -> None:
    """VindLU imports helpers from ``transformers.modeling_utils`` that transformers has moved elsewhere since.

    mmaction2 can do without it, as it does where transformers is not installed.
    """
    transformers = importlib.util.find_spec("transformers")
    if transformers is None or not transformers.submodule_search_locations:
        return
    source = Path(transformers.submodule_search_locations[0], "modeling_utils.py")
    if dependency.WITH_MULTIMODAL and "apply_chunking_to_forward" not in source.read_text(encoding="utf-8"):
        vars(dependency)["WITH_MULTIMODAL"] = False
        repairs.append("left out the multimodal models")
