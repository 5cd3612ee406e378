"""Writing a generated data set: complete or absent, and not again where it is there already."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from swinv2_dense.errors import UserError
from swinv2_dense.files import encode_image, writing_folder

__all__ = ["put_image", "write_once"]


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
    with writing_folder(root, replace=True) as work:
        write(work)
        (work / marker).write_text(json.dumps(recipe))
    return True


def put_image(path: Path, image: np.ndarray, options: Sequence[int] = ()) -> None:
    """Write one image of a data set.

    Raises:
        OSError: there is no room for it; what OpenCV's own writer says nothing of.
    """
    path.write_bytes(encode_image(path, image, options))
