"""Image files as training decodes them: whole, not huge, 8 bits, and as large as annotated."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.checks.findings import Finding
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown

__all__ = ["Header", "check_image", "is_deep", "is_turned", "read_header"]

_ORIENTATION = 274  # EXIF's tag
_TURNED = (5, 6, 7, 8)  # its values that exchange height and width
_BITS_PER_SAMPLE = 258  # TIFF's tag
_ENDS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND"}  # which do not occur within compressed data
_TAIL = 512  # bytes at the end of a file, shorter than any thumbnail with an end of its own


@dataclass(frozen=True)
class Header:
    """``size``: height and width as stored; ``turned``: EXIF has them exchanged when the image is decoded;
    ``mode``: Pillow's; ``deep``: samples of more than 8 bits."""

    size: tuple[int, int]
    turned: bool
    mode: str
    deep: bool

    @property
    def decoded_size(self) -> tuple[int, int]:
        """Height and width as OpenCV decodes the image for training."""
        return (self.size[1], self.size[0]) if self.turned else self.size


def read_header(
    path: str | os.PathLike[str], content: bytes | None = None, *, max_pixels: int = MAX_PIXELS, pixels: bool = False
) -> Header:
    """Size and kind of an image, without decoding it where its end is there.

    Args:
        content: of the file, where it has been read already; ``path`` then is its name.
        max_pixels: a larger image is refused.
        pixels: decode it nevertheless, to find out whether it is whole.

    Raises:
        UserError: it does not exist, is empty, truncated, no image, or too large.
    """
    name = shown(path)
    try:
        if (os.path.getsize(path) if content is None else len(content)) == 0:
            raise UserError(f"{name} is an empty file: replace it")
        if Image.MAX_IMAGE_PIXELS is not None and max_pixels > 2 * Image.MAX_IMAGE_PIXELS:
            Image.MAX_IMAGE_PIXELS = max_pixels  # Pillow refuses at twice its own limit
        with _opened(path, content) as file, Image.open(file) as image:
            if image.height * image.width > max_pixels:
                raise Image.DecompressionBombError
            header = Header((image.height, image.width), is_turned(image), image.mode, is_deep(image))
            if pixels or not _has_its_end(file, image.format):
                image.load()
            return header
    except Image.DecompressionBombError as error:
        raise UserError(
            f"{name} has more pixels than max_image_pixels={max_pixels:,}: make it smaller, or raise that limit"
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"{name} does not exist, or is a link to nothing") from error
    except IsADirectoryError as error:
        raise UserError(f"{name} is a folder, not an image") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{name} cannot be decoded: it is truncated or no image; replace it") from error


def _opened(path: str | os.PathLike[str], content: bytes | None) -> BinaryIO:
    return open(path, "rb") if content is None else io.BytesIO(content)


def _has_its_end(file: BinaryIO, kind: str | None) -> bool:
    """Whether a JPEG or PNG closes as it should: OpenCV fills up a truncated one, without an error, in grey or black.

    Data that a camera appended hide the end; such a file is decoded to find out. Other formats count as whole.
    """
    end = _ENDS.get(kind or "")
    if end is None:
        return True
    place = file.tell()
    file.seek(max(file.seek(0, os.SEEK_END) - _TAIL, 0))
    found = end in file.read()
    file.seek(place)
    return found


def is_turned(image: Image.Image) -> bool:
    """Whether OpenCV exchanges height and width of an opened image when it decodes it."""
    # Not by getexif(), which decodes a PNG for it, and believes XMP, which OpenCV does not read.
    tags = getattr(image, "tag_v2", None)
    if tags is None and (raw := image.info.get("exif")):
        tags = Image.Exif()
        tags.load(raw)
    return tags is not None and tags.get(_ORIENTATION) in _TURNED


def is_deep(image: Image.Image) -> bool:
    """Whether the samples of an opened image, which is not loaded yet, have more than 8 bits."""
    if image.mode.startswith(("I", "F")):
        return True
    tags = getattr(image, "tag_v2", {})
    if max(tags.get(_BITS_PER_SAMPLE) or (8,), default=8) > 8:
        return True
    # Pillow reads 16-bit colours as 8-bit ones; what its decoder is given still says it.
    return any(";16" in str(tile[3]) for tile in getattr(image, "tile", ()))


def check_image(
    path: Path,
    file: str,
    size: tuple[object, object],
    *,
    image: object = None,
    is_map: bool = False,
    pixels: bool = False,
    max_pixels: int = MAX_PIXELS,
) -> Iterator[Finding]:
    """Yields what is wrong with a file that should be an image, as large as annotated.

    Args:
        file: how the findings shall name it.
        size: height and width as annotated.
        image: id in the annotation file.
        is_map: it is a semantic map: 8-bit grey, and read without regard to EXIF.
        pixels: decode it as well.
    """
    if not path.is_file():
        yield Finding("missing file", file, image=image)
        return
    try:
        header = read_header(path, pixels=pixels, max_pixels=max_pixels)
    except UserError as error:
        yield Finding("not a whole image", file, str(error).replace(f"{shown(path)} ", ""), image=image)
        return
    height, width = header.size if is_map else header.decoded_size
    if (height, width) != size:
        turned = header.turned and not is_map and header.size == size
        detail = f"{width} x {height}, not {size[1]} x {size[0]}"
        if turned:
            detail += ": its EXIF orientation turns it, annotate it as shown or remove the tag"
        yield Finding("another size than annotated", file, detail, image=image)
    if is_map and header.mode != "L":
        yield Finding("semantic map not 8-bit grey", file, f"Pillow calls it {header.mode!r}", image=image)
    elif not is_map and header.deep:
        yield Finding(
            "image of more than 8 bits", file, "training keeps the upper 8 bits of 16: convert it to 8", image=image
        )
