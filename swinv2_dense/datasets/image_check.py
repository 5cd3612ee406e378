"""Checking an image file before it is decoded. Needs mmcv."""

from __future__ import annotations

import os
from typing import Any

from mmcv.transforms import BaseTransform

from swinv2_dense.checks.coco_file import MAX_PIXELS
from swinv2_dense.checks.images import read_header
from swinv2_dense.checks.tiff_bands import TiffBands, is_tiff, read_bands
from swinv2_dense.errors import UserError
from swinv2_dense.files import shown
from swinv2_dense.registry import TRANSFORMS

__all__ = ["CheckImage"]

_EIGHT_BITS = ("bool", "uint8")


@TRANSFORMS.register_module()
class CheckImage(BaseTransform):
    """Refuses an image file that would be decoded to something else than it is, or that would fill the memory.

    Stands before ``LoadImageFromFile``; reads the file's header only and changes nothing. Training and testing put it
    into the pipelines that lack it. What is no file on this machine (an array, a URL) passes.

    Args:
        max_pixels: of an image.
        colours: the image is decoded to 8-bit colours, so that it may have no more than 8 bits; TIFFs of other bands
            are loaded by ``LoadImageFromFile(color_type='unchanged', imdecode_backend='tifffile')``.
        whole: TIFFs are, so that they may have any bands of any depth.
        channels: that the model takes, of a TIFF that is loaded whole; None for any number.

    Raises:
        UserError: the file does not exist, is empty, truncated, too large, of more than 8 bits, of bands that would be
            lost, or of another size than ``height`` and ``width`` in the annotations say.
    """

    def __init__(
        self, max_pixels: int = MAX_PIXELS, colours: bool = True, whole: bool = False, channels: int | None = None
    ) -> None:
        self.max_pixels, self.colours, self.whole, self.channels = max_pixels, colours, whole, channels

    def transform(self, results: Any) -> Any:
        # mmdet's and mmseg's inferencers begin a pipeline with a path or an array.
        path = results.get("img_path") if isinstance(results, dict) else None
        if not isinstance(path, (str, os.PathLike)) or "://" in str(path):
            return results
        annotated = (results.get("height"), results.get("width"))
        bands = read_bands(path) if os.path.isfile(path) else None
        if bands is not None:
            self._check_bands(path, bands)
        if bands is not None and self.whole:
            self._check_size(path, bands.size, annotated, turned=False)
            return results
        if not self._readable(path):
            return results
        header = read_header(path, max_pixels=self.max_pixels)
        if self.colours and header.deep:
            raise UserError(
                f"{shown(path)} has more than 8 bits per channel, of which loading keeps the upper 8: convert it to 8 "
                "bits, or load it by LoadImageFromFile(color_type='unchanged')"
            )
        if self.colours:
            self._check_size(path, header.decoded_size, annotated, turned=header.size == annotated)
        return results

    def _check_bands(self, path: str | os.PathLike[str], bands: TiffBands) -> None:
        pixels = bands.size[0] * bands.size[1]
        if pixels > self.max_pixels:
            raise UserError(
                f"{shown(path)} has more pixels than max_image_pixels={self.max_pixels:,}: make it smaller, or raise "
                "that limit"
            )
        if not self.whole and (not bands.colours or (self.colours and bands.dtype not in _EIGHT_BITS)):
            raise UserError(
                f"{shown(path)} has {bands.count} band{'s' * (bands.count > 1)} of {bands.dtype}, which loading would "
                "not keep: convert it to 8-bit colours, or load it by LoadImageFromFile(color_type='unchanged', "
                "imdecode_backend='tifffile')"
            )
        if self.whole and self.channels not in (None, bands.count):
            raise UserError(
                f"{shown(path)} has {bands.count} bands, and the model takes {self.channels}: set "
                f"model.backbone.in_channels={bands.count}, or replace the file"
            )

    @staticmethod
    def _check_size(
        path: str | os.PathLike[str], size: tuple[int, int], annotated: tuple[Any, Any], *, turned: bool
    ) -> None:
        if None in annotated or size == annotated:
            return
        why = "its EXIF orientation turns it: " if turned else ""
        raise UserError(
            f"{shown(path)} has {size[1]} x {size[0]} pixels, but {annotated[1]} x {annotated[0]} in the annotations: "
            f"{why}annotate it as it is shown, or replace it"
        )

    def _readable(self, path: str | os.PathLike[str]) -> bool:
        """False for formats that Pillow does not read and another backend may: TIFFs of more than four channels."""
        return self.colours or not is_tiff(path) or os.path.getsize(path) == 0

    def __repr__(self) -> str:
        options = f"max_pixels={self.max_pixels}, colours={self.colours}, whole={self.whole}, channels={self.channels}"
        return f"{type(self).__name__}({options})"
