"""Where an image of a data set is drawn to, so that none overwrites another, and what of it is shown."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from swinv2_dense.checks.tiff_bands import bands_last, read_bands
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["displayed", "read_displayed", "relative_name"]


def relative_name(path: str | os.PathLike[str], dataset: Any, suffix: str) -> Path:
    """The path of an image below the folder of its data set, with ``suffix``; its name alone where it is elsewhere.

    The suffix takes the place of ``.jpg`` (of any case) and is put behind any other, so that a.jpg and a.png differ.
    """
    name = Path(path)
    for leaf in _leaves(dataset):
        for prefix in (getattr(leaf, "data_prefix", None) or {}).values():
            if prefix and Path(prefix) in name.parents:
                name = name.relative_to(prefix)
                return _with(name, suffix)
    return _with(Path(name.name), suffix)


def _with(name: Path, suffix: str) -> Path:
    return name.with_suffix(suffix) if name.suffix.lower() == ".jpg" else name.with_name(f"{name.name}{suffix}")


def _leaves(dataset: Any) -> list[Any]:
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    parts = [part for part in inner if part is not None]
    return [leaf for part in parts for leaf in _leaves(part)] if parts else [dataset]


def read_displayed(path: str) -> np.ndarray:
    """An image file as :func:`displayed` shows it, RGB; also TIFFs of other bands than colours, for which OpenCV needs
    tifffile's help.

    Raises:
        UserError: it cannot be decoded.
    """
    image: np.ndarray | None = None
    with contextlib.suppress(Exception):  # every decoder has its own: cv2.error, struct.error, TiffFileError ...
        image = _decoded(path)
    if image is None or not image.size:  # tifffile gives an empty array where a file has no pages
        raise UserError(f"{shown(path)} cannot be decoded: it is truncated or no image; replace it")
    return displayed(image)


def _decoded(path: str) -> Any:
    import mmcv
    from mmengine.fileio import get

    content = get(path)
    bands = read_bands(path, content)
    if bands is not None and not (bands.colours and bands.dtype == "uint8"):
        return bands_last(mmcv.imfrombytes(content, flag="unchanged", backend="tifffile"), bands)
    image = mmcv.imfrombytes(content)
    return None if image is None else image[..., ::-1]


def displayed(image: np.ndarray) -> np.ndarray:
    """Three channels of 8 bits (H x W x 3) of an image of any number of channels and any depth, for people to see.

    Of more than three channels the first three are taken; a single one is shown as grey; more than 8 bits are scaled to
    what the image holds.
    """
    image = image[..., None] if image.ndim == 2 else image
    image = np.repeat(image[..., :1], 3, axis=-1) if image.shape[-1] < 3 else image[..., :3]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        if low < 0 or high > 255:
            image = (image.astype(np.float32) - low) * (255.0 / max(high - low, 1e-12))
        image = image.astype(np.uint8)
    return np.ascontiguousarray(image)
