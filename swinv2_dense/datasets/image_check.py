"""Checking an image file before it is decoded. Needs mmcv."""

from __future__ import annotations

import os
from typing import Any

from mmcv.transforms import BaseTransform

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.checks.images import read_header
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.registry import TRANSFORMS

__all__ = ["CheckImage"]


@TRANSFORMS.register_module()
class CheckImage(BaseTransform):
    """Refuses an image file that would be decoded to something else than it is, or that would fill the memory.

    Stands before ``LoadImageFromFile``; reads the file's header only and changes nothing. Training and testing put it
    into the pipelines that lack it. What is no file on this machine (an array, a URL) passes.

    Args:
        max_pixels: of an image.
        colours: the image is decoded to 8-bit colours, so that it may have no more than 8 bits; TIFFs with other
            channels are loaded by ``LoadImageFromFile(color_type='unchanged')``.

    Raises:
        UserError: the file does not exist, is empty, truncated, too large, of more than 8 bits, or of another size than
            ``height`` and ``width`` in the annotations say.
    """

    def __init__(self, max_pixels: int = MAX_PIXELS, colours: bool = True) -> None:
        self.max_pixels, self.colours = max_pixels, colours

    def transform(self, results: Any) -> Any:
        # mmdet's and mmseg's inferencers begin a pipeline with a path or an array.
        path = results.get("img_path") if isinstance(results, dict) else None
        if not isinstance(path, (str, os.PathLike)) or "://" in str(path) or not self._readable(path):
            return results
        header = read_header(path, max_pixels=self.max_pixels)
        if self.colours and header.deep:
            raise UserError(
                f"{shown(path)} has more than 8 bits per channel, of which loading keeps the upper 8: convert it to 8 "
                "bits, or load it by LoadImageFromFile(color_type='unchanged')"
            )
        annotated = (results.get("height"), results.get("width"))
        if self.colours and None not in annotated and header.decoded_size != annotated:
            (height, width), turned = header.decoded_size, header.size == annotated
            why = "its EXIF orientation turns it: " if turned else ""
            raise UserError(
                f"{shown(path)} has {width} x {height} pixels, but {annotated[1]} x {annotated[0]} in the annotations: "
                f"{why}annotate it as it is shown, or replace it"
            )
        return results

    def _readable(self, path: str | os.PathLike[str]) -> bool:
        """False for formats that Pillow does not read and another backend may: of TIFF, more than four channels."""
        if self.colours or os.path.splitext(path)[1].lower() not in (".tif", ".tiff"):
            return True
        return os.path.getsize(path) == 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}(max_pixels={self.max_pixels}, colours={self.colours})"
