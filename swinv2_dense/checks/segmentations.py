"""A box, a polygon or run lengths: what is wrong with them, before native code sees them, and their pixels.

pycocotools and OpenCV take any numbers: a coordinate of 1e9 or run lengths of another image end the process, or take
gigabytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = [
    "Problem",
    "box_problem",
    "decompress",
    "filled",
    "is_empty",
    "polygon_problem",
    "run_lengths_problem",
    "segmentation_problem",
]

Problem = tuple[str, str, bool]  # kind, detail, serious

_SLACK = 1.0  # pixels that annotations may reach over the edge: COCO's own do
_REACH = 0.5  # of the image's side: what reaches further is of another image
_DIGITS = 7  # of a run length in pycocotools' text: 35 bits


def filled(segmentation: list[Any] | dict[str, Any], height: int, width: int) -> np.ndarray:
    """The pixels, bool, H x W, of polygons or of run lengths, compressed or not, without a
    :func:`segmentation_problem`."""
    from pycocotools import mask as run_lengths

    if isinstance(segmentation, list):
        segmentation = run_lengths.merge(run_lengths.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        segmentation = run_lengths.frPyObjects(segmentation, height, width)
    return np.asarray(run_lengths.decode(segmentation), bool)


def box_problem(box: Any, height: int, width: int) -> Problem | None:
    """Of ``[x, y, width, height]`` in pixels; None for a sound one."""
    try:
        x, y, w, h = box
        finite = -1e9 < x < 1e9 and -1e9 < y < 1e9 and -1e9 < w < 1e9 and -1e9 < h < 1e9
    except (TypeError, ValueError):
        finite = False
    if not finite or not isinstance(box, list):
        return "box not x, y, width, height", _short(box), True
    if w < 0 or h < 0:
        return "box of negative size", f"{_number(w)} x {_number(h)}", True
    if w < 1 or h < 1:
        return "box below one pixel", f"{_number(w)} x {_number(h)}: not trained on", False
    outside = _reach(min(x, y), x + w, y + h, height, width)
    if outside == 0:
        return None
    numbers = ", ".join(map(_number, box))
    if outside == 2 or x >= width or y >= height or x + w <= 0 or y + h <= 0:
        return "box outside the image", f"[{numbers}], image {width} x {height}", True
    return "box over the edge of the image", f"[{numbers}], image {width} x {height}", False


def polygon_problem(polygon: Any, height: int, width: int) -> Problem | None:
    """Of ``[x, y, x, y, ...]`` in pixels; None for a sound one."""
    try:
        sound = len(polygon) >= 6 and len(polygon) % 2 == 0 and -1e15 < sum(polygon) < 1e15
        if sound and isinstance(polygon, list):
            outside = _reach(min(polygon), max(polygon[::2]), max(polygon[1::2]), height, width)
            if outside == 0:
                return None
            detail = f"image {width} x {height}"
            if outside == 2:
                return "polygon outside the image", detail, True
            return "polygon over the edge of the image", detail, False
    except (TypeError, OverflowError):  # no numbers, or none that fit
        pass
    if isinstance(polygon, (int, float)):
        return "broken polygon", "a list of numbers, not of polygons: put it into another list", True
    size = f"{len(polygon)} numbers" if isinstance(polygon, list) else _short(polygon)
    return "broken polygon", f"{size}, needs 3 or more pairs of finite numbers", True


def run_lengths_problem(segmentation: dict[str, Any], height: int, width: int) -> Problem | None:
    """Of COCO's run lengths, compressed or not; None for sound ones."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if size != [height, width]:
        return "run lengths of another size", f"{_short(size)}, image {[height, width]} (height, width)", True
    runs: Any = decompress(counts) if isinstance(counts, str) else counts
    try:
        sound = isinstance(runs, (list, np.ndarray)) and len(runs) and min(runs) >= 0 and sum(runs) == height * width
        sound = sound and (isinstance(runs, np.ndarray) or all(type(run) is int for run in runs))
    except (TypeError, OverflowError):
        sound = False
    return None if sound else ("broken run lengths", f"they do not add up to {height} x {width} pixels", True)


def segmentation_problem(segmentation: Any, height: int, width: int) -> Problem | None:
    """The first serious one of a list of polygons or of run lengths."""
    if isinstance(segmentation, dict):
        return run_lengths_problem(segmentation, height, width)
    if not isinstance(segmentation, list):
        return "neither polygons nor run lengths", _short(segmentation), True
    problems = (polygon_problem(polygon, height, width) for polygon in segmentation)
    return next((problem for problem in problems if problem and problem[2]), None)


def is_empty(segmentation: dict[str, Any]) -> bool:
    """Whether sound run lengths hold no pixel."""
    counts = segmentation["counts"]
    runs = decompress(counts) if isinstance(counts, str) else counts
    return not any(runs[1::2])


def decompress(text: str) -> np.ndarray:
    """Run lengths (int64) from pycocotools' text, whose own decoder takes any text; empty where it is none.

    A number is written in digits of 5 bits, the lowest first, each as a character from '0' on; 32 is added to all but
    its last digit, whose highest bit is the sign. From the fourth number on, it is the difference to the one before the
    last.
    """
    none = np.zeros(0, np.int64)
    if not text or not text.isascii():
        return none
    digits = np.frombuffer(text.encode(), np.uint8).astype(np.int64) - 48
    last = digits < 32
    if digits.min() < 0 or digits.max() > 63 or not last[-1]:
        return none
    ends = np.flatnonzero(last)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _DIGITS:
        return none
    place = np.arange(len(digits)) - np.repeat(starts, lengths)
    values = np.add.reduceat((digits & 31) << (5 * place), starts)
    values -= ((digits[ends] & 16) > 0) * (np.int64(1) << (5 * lengths))
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values


def _reach(low: float, right: float, bottom: float, height: int, width: int) -> int:
    """0: within the image, 1: over its edge, 2: further than annotations of this image are."""
    if low >= -_SLACK and right <= width + _SLACK and bottom <= height + _SLACK:
        return 0
    far = low < -_REACH * max(height, width) or right > (1 + _REACH) * width or bottom > (1 + _REACH) * height
    return 2 if far else 1


def _number(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else _short(value)


def _short(value: object) -> str:
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # ValueError: whole numbers of more than 4,300 digits
        return "something too long to print"
    return text if len(text) <= 80 else f"{text[:70]} ..."
