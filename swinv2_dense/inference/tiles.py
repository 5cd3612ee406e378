"""Large images in overlapping tiles, and one result of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from swinv2_dense.errors import UserError

__all__ = ["Tile", "cut", "is_number", "is_whole", "merge_boxes", "owners"]

_IOU = 0.5  # of two boxes of a class, above which they are one object's
_INSIDE = 0.8  # share of a box at a tile's edge that lies in another box of its class: a part of that object


class Tile(NamedTuple):
    """Corners in pixels of the image; the right and lower ones are outside."""

    left: int
    top: int
    right: int
    bottom: int

    def of(self, image: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(image[self.top : self.bottom, self.left : self.right])


def is_whole(value: object) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    return is_whole(value) or isinstance(value, (float, np.floating))


def cut(height: int, width: int, size: int, overlap: float) -> list[Tile]:
    """Tiles of ``size`` x ``size`` pixels, or of the image's size where it is smaller, that cover the image.

    Args:
        overlap: share of a tile's side that neighbours have in common at least.

    Raises:
        UserError: a size below 32, or an overlap that is not between 0 and 0.9.
    """
    if not is_whole(size) or size < 32 or not is_number(overlap) or not 0 <= overlap <= 0.9:
        raise UserError(f"tiles of {size} pixels with overlap {overlap}: give 32 or more, and 0 to 0.9")
    return [
        Tile(left, top, min(left + size, width), min(top + size, height))
        for top in _starts(height, size, overlap)
        for left in _starts(width, size, overlap)
    ]


def _starts(length: int, size: int, overlap: float) -> list[int]:
    """Evenly spread, the last tile ending with the image."""
    if length <= size:
        return [0]
    count = int(np.ceil((length - size) / (size * (1 - overlap)))) + 1
    return np.linspace(0, length - size, count).round().astype(int).tolist()


def merge_boxes(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, tiles: Sequence[Tile], shape: tuple[int, int]
) -> np.ndarray:
    """Which boxes to keep, by descending score.

    Class-wise NMS, after boxes that end at a tile's inner edge and lie mostly in another box of their class have gone:
    they are parts of an object that another tile saw more of.

    Args:
        boxes: N x 4, in pixels of the whole image; ``tiles``: the tile of each.
        shape: height and width of the image.
    """
    import torch
    from torchvision.ops import batched_nms

    if not len(boxes):
        return np.zeros(0, np.int64)
    whole = np.flatnonzero(~(_cut_off(boxes, tiles, shape) & _inside_another(boxes, labels)))
    left, ratings, kinds = (torch.as_tensor(values[whole]) for values in (boxes, scores, labels))
    kept = batched_nms(left.float(), ratings.float(), kinds, iou_threshold=_IOU)
    return np.asarray(whole[kept.numpy()])


def _cut_off(boxes: np.ndarray, tiles: Sequence[Tile], shape: tuple[int, int]) -> np.ndarray:
    """Boxes that end within two pixels of an edge of their tile which is not the image's."""
    edges = np.array(tiles, np.float64)
    height, width = shape
    inner = np.stack([edges[:, 0] > 0, edges[:, 1] > 0, edges[:, 2] < width, edges[:, 3] < height], axis=1)
    return np.asarray((inner & (np.abs(boxes - edges) <= 2)).any(axis=1))


def _inside_another(boxes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Boxes of which a larger one of their class covers most."""
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    inside = np.zeros(len(boxes), bool)
    for i, box in enumerate(boxes):
        others = (labels == labels[i]) & (areas > areas[i])
        low, high = np.maximum(box[:2], boxes[others, :2]), np.minimum(box[2:], boxes[others, 2:])
        common = np.prod(np.clip(high - low, 0, None), axis=1)
        inside[i] = bool((common > _INSIDE * areas[i]).any())
    return inside


def owners(height: int, width: int, tiles: Sequence[Tile]) -> np.ndarray:
    """For each pixel, the tile in whose middle it lies most, H x W: there a model sees most around it."""
    best = np.full((height, width), -1.0, np.float32)
    owner = np.zeros((height, width), np.int32)
    for number, tile in enumerate(tiles):
        rows = _distance(tile.top, tile.bottom, height)[:, None]
        columns = _distance(tile.left, tile.right, width)[None]
        depth = np.minimum(rows, columns)
        part = (slice(tile.top, tile.bottom), slice(tile.left, tile.right))
        better = depth > best[part]
        best[part][better] = depth[better]
        owner[part][better] = number
    return owner


def _distance(start: int, end: int, length: int) -> np.ndarray:
    """Of the pixels from start to end, to the nearer end, which counts only inside the image."""
    places = np.arange(end - start, dtype=np.float32)
    before = places if start > 0 else np.full_like(places, length)
    after = places[::-1] if end < length else np.full_like(places, length)
    return np.minimum(before, after)
