"""Decoding images to predict on, as the model's pipeline decodes those that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from swinv2_dense.checks.images import read_header
from swinv2_dense.checks.tiff_bands import bands_last, read_bands
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_bytes

__all__ = ["COLOURS", "Decoder", "decoder_of", "read_image"]

_MAX_PIXELS = 1 << 30  # OpenCV's own limit
_EIGHT_BITS = ("bool", "uint8")


@dataclass(frozen=True)
class Decoder:
    """Makes an array of a file's content.

    Args:
        color_type, backend: as of mmcv's ``LoadImageFromFile``; by default 8-bit colours, BGR, turned as EXIF asks for.
        channels: that the model takes; None for any number.
    """

    color_type: str = "color"
    backend: str = "cv2"
    channels: int | None = 3

    @property
    def colours(self) -> bool:
        return self.color_type == "color"

    def __call__(self, content: bytes, name: str) -> np.ndarray:
        """H x W x channels; uint8 and BGR where the pipeline loads colours, otherwise as the file holds them.

        Raises:
            UserError: it is empty, truncated or no image, of more than 8 bits or of other bands where colours are
                wanted, or of other channels than the model takes.
        """
        bands = read_bands(name, content)
        if self.colours and bands is not None and not (bands.colours and bands.dtype in _EIGHT_BITS):
            raise UserError(
                f"{name} has {bands.count} band{'s' * (bands.count > 1)} of {bands.dtype}, and the model was trained "
                "on 8-bit colours: convert it"
            )
        if bands is None or self.colours:
            self._check(content, name)
        image = self._decode(content)
        if image is None:
            by = "" if self.backend == "cv2" else f" by {self.backend}, with which the model's pipeline loads images"
            raise UserError(f"{name} cannot be decoded{by}: it is truncated or no image")
        if self.backend == "tifffile":
            image = bands_last(image, bands)
        return self.checked(image, name)

    def _check(self, content: bytes, name: str) -> None:
        deep = read_header(name, content, max_pixels=_MAX_PIXELS).deep
        if self.colours and deep:
            raise UserError(
                f"{name} has more than 8 bits per channel, and the model was trained on images of 8: of those decoding "
                "keeps the upper 8; convert it to 8 bits"
            )

    def _decode(self, content: bytes) -> np.ndarray | None:
        import cv2

        if self.colours and self.backend == "cv2":
            try:
                return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
            except cv2.error:  # larger than OpenCV's limit, for one
                return None
        import mmcv

        try:
            image: np.ndarray | None = mmcv.imfrombytes(content, flag=self.color_type, backend=self.backend)
        except Exception:  # every backend has its own
            return None
        return image

    def checked(self, image: np.ndarray, name: str) -> np.ndarray:
        """The image itself, where it has the channels that the model takes."""
        channels = 1 if image.ndim == 2 else image.shape[2]
        if self.channels not in (None, channels):
            raise UserError(f"{name} has {channels} channel{'s' * (channels > 1)}, and the model takes {self.channels}")
        return image


COLOURS = Decoder()


def decoder_of(pipeline: Sequence[Any], channels: int | None) -> Decoder:
    """That of a pipeline's ``LoadImageFromFile``."""
    steps = [step for step in pipeline if str(step.get("type")).endswith("LoadImageFromFile")]
    step = steps[0] if steps else {}
    return Decoder(step.get("color_type", "color"), step.get("imdecode_backend", "cv2"), channels)


def read_image(path: str | os.PathLike[str], decoder: Decoder = COLOURS) -> np.ndarray:
    """An image file, as the decoder makes it: of the default one uint8, H x W x 3, BGR, turned as EXIF asks for.

    Raises:
        UserError: there is no such file, or it is no whole image.
    """
    return decoder(read_bytes(path, "image"), os.fspath(path))
