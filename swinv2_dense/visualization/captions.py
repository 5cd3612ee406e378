"""Words on images, each on a dark plate, as no single colour is seen on every image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

__all__ = ["write_legend", "write_words"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_PLATE, _INK = (40, 40, 40), (255, 255, 255)
_MARGIN = 4  # pixels


def write_legend(image: np.ndarray, names: Sequence[str], colours: Sequence[Any] = ()) -> None:
    """Write names into an image (uint8, H x W x 3, BGR), from its upper left corner down, as many as there is room for.

    Args:
        colours: RGB of a square before each; empty for none.
    """
    scale = max(0.4, min(image.shape[:2]) / 1200)  # smaller is not readable
    line = _line(scale)
    for row, name in enumerate(names[: image.shape[0] // line]):
        top, bottom = row * line, (row + 1) * line - 1
        if colours:
            cv2.rectangle(image, (0, top), (line, bottom), _PLATE, -1)
            bgr = tuple(int(value) for value in reversed(colours[row]))
            cv2.rectangle(image, (_MARGIN, top + 2), (line - 1, bottom - 2), bgr, -1)
        write_words(image, name, (line if colours else 0, bottom), scale)


def write_words(image: np.ndarray, words: str, corner: tuple[int, int], scale: float) -> None:
    """Write words on a plate into an image, cut off with dots where they do not fit.

    Args:
        corner: (x, y) of the lower left pixel of the plate.
        scale: of OpenCV's font.
    """
    left, bottom = corner
    x, line = left + _MARGIN, _line(scale)
    while len(words) > 4 and x + _width(words, scale) > image.shape[1]:
        words = f"{words[:-4].rstrip()}..."
    cv2.rectangle(image, (left, bottom + 1 - line), (x + _width(words, scale) + 1, bottom), _PLATE, -1)
    cv2.putText(image, words, (x, bottom - line // 4), _FONT, scale, _INK, 1, cv2.LINE_AA)


def _line(scale: float) -> int:
    """Pixels from a line to the next."""
    return round(36 * scale) + 2


def _width(words: str, scale: float) -> int:
    return int(cv2.getTextSize(words, _FONT, scale, 1)[0][0])
