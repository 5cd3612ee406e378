"""How many bands a TIFF has and in which order it stores them. Needs tifffile, and finds nothing without it."""

from __future__ import annotations

import contextlib
import io
import os
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["TiffBands", "bands_last", "is_tiff", "read_bands"]

_COLOURS = {"RGB": (3, 4), "YCBCR": (3,), "SEPARATED": (4,), "CIELAB": (3,)}  # photometric interpretation -> samples


@dataclass(frozen=True)
class TiffBands:
    """``size``: height and width. ``count``: of bands. ``first``: tifffile decodes to bands x height x width, as of
    files that store band after band, in place of height x width x bands. ``colours``: grey or colours as OpenCV decodes
    them; of other bands it decodes one, or none, and of 16-bit colours stored one after another noise. ``dtype``: of
    the samples."""

    size: tuple[int, int]
    count: int
    first: bool
    colours: bool
    dtype: str


def is_tiff(path: str | os.PathLike[str]) -> bool:
    return os.fspath(path).lower().endswith((".tif", ".tiff"))


def read_bands(path: str | os.PathLike[str], content: bytes | None = None) -> TiffBands | None:
    """The bands of a TIFF, from its header; None of other files, of what tifffile does not read, and without it.

    Args:
        content: of the file, where it has been read already; ``path`` then is its name.

    Raises:
        UserError: it is a stack of more axes than bands, height and width.
    """
    if not is_tiff(path) or not find_spec("tifffile"):
        return None
    import tifffile

    axes, found = "", None
    source = path if content is None else io.BytesIO(content)
    # its own errors, and of damaged files struct's, numpy's and others
    with contextlib.suppress(Exception), tifffile.TiffFile(source) as file:
        series, page = file.series[0], file.pages.first
        axes, shape = series.axes, series.shape
        photometric = getattr(page.photometric, "name", "")
        samples, dtype = page.samplesperpixel, np.dtype(page.dtype)
        found = axes.replace("YX", "", 1), samples == 1 or samples in _COLOURS.get(photometric, ()), dtype
    if found is None:
        return None
    others, colours, dtype = found
    if "YX" not in axes or len(others) > 1:
        shape_of = " x ".join(map(str, shape))
        raise UserError(f"{shown(path)} is a stack of {shape_of} ({axes}), no image of bands: give one file per image")
    row, first = axes.index("YX"), bool(others) and axes.endswith("YX")
    count = shape[axes.index(others)] if others else 1
    colours = colours and not (first and (samples == 1 or dtype.itemsize > 1))
    return TiffBands((shape[row], shape[row + 1]), count, first, colours, dtype.name)


def bands_last(image: np.ndarray, bands: TiffBands | None) -> np.ndarray:
    """What tifffile decoded, as height x width x bands."""
    return np.ascontiguousarray(np.moveaxis(image, 0, -1)) if bands is not None and bands.first else image
