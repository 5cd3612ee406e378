"""TIFFs for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest


def write_tiff(path: Path, count: int, dtype: Any = np.uint8, *, planar: bool = False, photometric: str = "") -> Any:
    """A TIFF of ``count`` bands, with what it holds: height x width x bands. Skips the test where tifffile is not."""
    tifffile = pytest.importorskip("tifffile", reason="needs tifffile")
    image = np.random.default_rng(count).integers(0, 255, (7, 9, count)).astype(dtype)
    tifffile.imwrite(
        path,
        np.ascontiguousarray(image.transpose(2, 0, 1)) if planar else image,
        photometric=photometric or ("rgb" if count == 3 else "minisblack"),
        planarconfig="separate" if planar else "contig",
    )
    return image
