"""Writing a generated data set: complete or absent, and not again where it is there already."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from swinv2_dense.errors import UserError

__all__ = ["write_once"]


def write_once(
    root: str | os.PathLike[str], marker: str, recipe: Mapping[str, Any], write: Callable[[Path], object]
) -> bool:
    """Have ``write`` fill ``root`` unless it already holds what ``recipe`` makes; return whether anything was written.

    The folder appears under its name only when complete. One that was made from another recipe is replaced.

    Args:
        marker: a file in the folder that keeps the recipe, and marks the folder as generated.
        recipe: everything that the data follow from, a version included; JSON.
        write: takes the folder to write to.

    Raises:
        UserError: ``root`` exists and is something else.
    """
    root = Path(root)
    if root.exists():
        if not (root / marker).is_file():
            raise UserError(f"{root} exists and is not a generated data set: name another folder or remove it")
        if json.loads((root / marker).read_text()) == recipe:
            return False
    root.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    try:
        write(work)
        (work / marker).write_text(json.dumps(recipe))
        work.chmod(0o755)
        if root.exists():
            shutil.rmtree(root)
        work.rename(root)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return True
