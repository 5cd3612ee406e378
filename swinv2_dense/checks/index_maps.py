"""Class maps, as ADE20K and others store them, and what can be wrong with them.

A map is an image of one channel, as large as its photograph, that holds a class index for every pixel. Either 0 is
"other", which is ignored, and classes are 1 to their number (ADE20K's 150), or classes begin at 0. Further values,
often 255, may stand for pixels that are ignored.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, UnidentifiedImageError

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown, walk
from swinv2_dense.suffixes import IMAGES

__all__ = ["check_listed_pairs", "check_map", "check_pairs", "decode_map", "pairs"]


def decode_map(content: bytes, path: str, *, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """The pixels of an encoded map as they are stored: H x W for class indices (of a palette, the indices).

    Raises:
        UserError: ``content`` is cut off, no image, or has more than ``max_pixels``.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.height * image.width > max_pixels:
                raise Image.DecompressionBombError
            return np.array(image)
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{shown(path)} has more pixels than max_image_pixels={max_pixels:,}: make it smaller"
        ) from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError) as error:
        raise UserError(f"{shown(path)} cannot be decoded: it is truncated or no image; replace it") from error


def check_map(
    labels: np.ndarray,
    path: str,
    image_size: Sequence[int],
    classes: int,
    *,
    has_other: bool = True,
    ignored: Sequence[int] = (),
) -> None:
    """Hold a map against its image and the number of classes.

    Args:
        path: the map's, for the message.
        image_size: height and width of the image, in pixels.
        has_other: 0 is "other" and classes are 1 to ``classes``; otherwise they are 0 to ``classes`` - 1.
        ignored: further values that stand for ignored pixels.

    Raises:
        UserError: an image in colours, of another size than its photograph, or with values that are no class.
    """
    path = shown(path)
    span = f"0 (other) to {classes}" if has_other else f"0 to {classes - 1}"
    if labels.ndim != 2:
        raise UserError(
            f"{path} is an image in colours ({labels.shape[2]} channels), not a map of class indices: write one "
            f"channel with {span}"
        )
    if labels.shape != tuple(image_size):
        (height, width), (rows, columns) = image_size, labels.shape
        raise UserError(
            f"{path} has {columns} x {rows} pixels, but its image has {width} x {height}: they must be equal"
        )
    if labels.dtype.kind not in "uib":
        raise UserError(f"{path} holds {labels.dtype} values: write whole numbers, {span}")
    limit = classes + has_other
    wrong = labels[(labels >= limit) | (labels < 0)] if labels.size and _exceeds(labels, limit) else labels[:0].ravel()
    wrong = wrong[~np.isin(wrong, list(ignored))]
    if wrong.size:
        worst = wrong.max() if wrong.max() >= limit else wrong.min()
        hint = f"; LoadIndexMap(ignored=({worst},)) takes it for ignored pixels" if worst == 255 else ""
        raise UserError(
            f"{path} holds the value {worst}, but with {classes} classes a map has {span}: correct the map or "
            f"num_classes (of ADE20K take the maps of ADEChallengeData2016){hint}"
        )


def _exceeds(labels: np.ndarray, limit: int) -> bool:
    return bool(labels.max() >= limit or labels.min() < 0)


def check_pairs(images: str, maps: str, image_suffix: str = ".jpg", map_suffix: str = ".png") -> list[str]:
    """Names, without suffix, that have a file in both folders, sorted. Subfolders count as part of the name.

    Dot files and links to nothing do not matter, as mmseg does not see them.

    Raises:
        UserError: no pair at all, images of another suffix, which would be left out, an image without its map or a map
            without its image; names the first and how many there are.
    """
    need, other = _names(images, image_suffix)
    have, _ = _names(maps, map_suffix)
    if other:
        suffix = os.path.splitext(other[0])[1]
        raise UserError(
            f"{os.path.join(images, other[0])} and {len(other) - 1} more images do not end with {image_suffix!r} and "
            f"would be left out: rename them, or set img_suffix={suffix!r} of the data set"
        )
    if not need:
        raise UserError(f"{images} holds no image that ends with {image_suffix!r}: correct the folder, or img_suffix")
    for missing, folder, suffix, source, what in (
        (sorted(need - have), maps, map_suffix, images, "image"),
        (sorted(have - need), images, image_suffix, maps, "map"),
    ):
        if missing:
            hint = f", or set {'seg_map_suffix' if what == 'image' else 'img_suffix'}" if len(missing) > 1 else ""
            raise UserError(
                f"{os.path.join(folder, missing[0] + suffix)} does not exist, but {source} has its {what} "
                f"({len(missing)} of {len(have | need)} pairs are incomplete so): complete them, or remove the {what}"
                f"{hint}"
            )
    return sorted(need)


def pairs(images: str, maps: str, image_suffix: str = ".jpg", map_suffix: str = ".png") -> list[str]:
    """As :func:`check_pairs`, whatever is beside them."""
    return sorted(_names(images, image_suffix)[0] & _names(maps, map_suffix)[0])


def check_listed_pairs(
    ann_file: str, images: str, maps: str | None, image_suffix: str = ".jpg", map_suffix: str = ".png"
) -> None:
    """As :func:`check_pairs`, of the names in a list file, one a line.

    Raises:
        UserError: the list is empty, in another encoding than UTF-8, or names what does not exist.
    """
    names = [line.strip() for line in read_text(ann_file, "list of images").split("\n") if line.strip()]
    if not names:
        raise UserError(f"{ann_file} lists no images")
    for folder, suffix in ((images, image_suffix), *(((maps, map_suffix),) if maps else ())):
        missing = [name for name in names if not os.path.isfile(os.path.join(folder, name + suffix))]
        if missing:
            raise UserError(
                f"{shown(os.path.join(folder, missing[0] + suffix))} does not exist, but {ann_file} lists it "
                f"({len(missing)} of {len(names)} are missing so): names are listed without a suffix"
            )


def _names(folder: str, suffix: str) -> tuple[set[str], list[str]]:
    """Names without the suffix, and images whose names end otherwise."""
    names, other = set(), []
    for place, files in walk(folder, dotted=True):  # as mmseg does
        for file in files:
            path = os.path.join(place, file)
            if file.startswith(".") or not os.path.isfile(path):
                continue
            if file.endswith(suffix):
                names.add(os.path.relpath(path, folder)[: -len(suffix)])
            elif file.lower().endswith(IMAGES):
                other.append(os.path.relpath(path, folder))
    return names, sorted(other)
