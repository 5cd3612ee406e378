"""Class maps as ADE20K stores them, and what can be wrong with them.

A map is a picture of one channel, as large as its photograph, that holds a class index for every pixel: 0 for "other",
which is ignored in training and testing, and 1 to the number of classes (150).
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from swinv2_dense.errors import UserError

__all__ = ["check_map", "check_pairs", "decode_map"]


def decode_map(content: bytes, path: str) -> np.ndarray:
    """The pixels of an encoded map as they are stored: H x W for class indices (of a palette, the indices).

    Raises:
        UserError: ``content`` is cut off, or no picture.
    """
    try:
        return np.array(Image.open(io.BytesIO(content)))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path} cannot be decoded: it is truncated or no picture; replace it") from error


def check_map(labels: np.ndarray, path: str, picture_size: Sequence[int], classes: int) -> None:
    """Hold a map against its picture and the number of classes.

    Args:
        path: the map's, for the message.
        picture_size: height and width of the picture, in pixels.

    Raises:
        UserError: a picture in colours, of another size than its photograph, or with a value above ``classes``.
    """
    if labels.ndim != 2:
        raise UserError(
            f"{path} is a picture in colours ({labels.shape[2]} channels), not a map of class indices: write one "
            f"channel with 0 (other) to {classes}"
        )
    if labels.shape != tuple(picture_size):
        (height, width), (rows, columns) = picture_size, labels.shape
        raise UserError(
            f"{path} has {columns} x {rows} pixels, but its picture has {width} x {height}: they must be equal"
        )
    if (highest := labels.max(initial=0)) > classes:
        raise UserError(
            f"{path} holds the value {highest}, but with {classes} classes a map has 0 (other) to {classes}: "
            "use the maps of ADEChallengeData2016, or correct num_classes"
        )


def check_pairs(pictures: str, maps: str, picture_suffix: str = ".jpg", map_suffix: str = ".png") -> list[str]:
    """Names, without suffix, that have a file in both folders, sorted. Subfolders count as part of the name.

    Raises:
        UserError: a picture without its map or a map without its picture; names the first and how many there are.
    """
    have, need = _names(maps, map_suffix), _names(pictures, picture_suffix)
    for missing, folder, suffix, other, what in (
        (sorted(need - have), maps, map_suffix, pictures, "picture"),
        (sorted(have - need), pictures, picture_suffix, maps, "map"),
    ):
        if missing:
            raise UserError(
                f"{os.path.join(folder, missing[0] + suffix)} does not exist, but {other} has its {what} "
                f"({len(missing)} of {len(have | need)} pairs are incomplete so): complete them, or remove the {what}"
            )
    return sorted(need)


def _names(folder: str, suffix: str) -> set[str]:
    return {
        os.path.relpath(os.path.join(place, file), folder)[: -len(suffix)]
        for place, _, files in os.walk(folder)
        for file in files
        if file.endswith(suffix)
    }
