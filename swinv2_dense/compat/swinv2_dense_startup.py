"""Lets ``import mmcv.ops`` and ``import mmaction`` work in an environment, whoever imports them first.

``setup.py`` installs this file, with ``swinv2_dense_startup.pth`` which imports it whenever Python starts, beside the
package; ``import swinv2_dense`` runs it too, for a checkout on PYTHONPATH. It imports nothing: two finders are
registered, which import the package when one of the modules that they know is asked for.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # typing's takes longer to import than all of this
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

OFFERED = ("mmcv._ext", "mmaction.models.localizers.drn", "mmaction.models.localizers.drn.drn")
"""Modules that wheels lack. Ours are found only where there are no others."""
REPAIRED = ("mmaction", "mmaction.utils.dependency")
"""Modules that are imported from where they are, with the repairs of ``compat/mmaction.py`` around it."""


class Finder:
    swinv2_dense = "startup"  # what another copy of this file knows it by


class OfferingFinder(Finder):
    """The last of the finders."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in OFFERED:
            return None
        from importlib.machinery import ModuleSpec
        from importlib.util import find_spec

        if name == "mmcv._ext" and find_spec("torchvision") is None:
            return None
        loader: Loader = OfferingLoader()  # type: ignore[assignment]
        return ModuleSpec(name, loader, origin="swinv2_dense", is_package=name == OFFERED[1])


class OfferingLoader:
    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        if module.__name__ == "mmcv._ext":
            from swinv2_dense.compat.mmcv_ops.extension import fill
        else:
            from swinv2_dense.compat.mmaction import fill
        fill(module)


class RepairingFinder(Finder):
    """The first of the finders: it finds what the others find, and wraps the loader."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in REPAIRED:
            return None
        for finder in sys.meta_path:
            find = None if hasattr(finder, "swinv2_dense") else getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = RepairingLoader(spec.loader)  # type: ignore[assignment]
                return spec
        return None


class RepairingLoader:
    """Gives its place back to the module's own loader before it runs it."""

    def __init__(self, loader: Loader) -> None:
        self.loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        try:
            from swinv2_dense.compat.mmaction import run
        except Exception:  # a broken swinv2_dense must not be why mmaction does not import
            self.loader.exec_module(module)
        else:
            run(module, self.loader.exec_module)


def install() -> None:
    """Register both finders; those of another copy of this file give way."""
    others = [finder for finder in sys.meta_path if not hasattr(finder, "swinv2_dense")]
    sys.meta_path[:] = [RepairingFinder(), *others, OfferingFinder()]


install()
