"""InstaBoost (arXiv 1908.07801): objects are cut out and pasted back slightly moved, scaled and turned.

The jitter without the appearance heat map, which is what HTC++ trains with. mmdet's transform of this name leaves the
work to a package that cannot write down a moved object of several outlines with NumPy 1.24 or later; this one needs
OpenCV only, keeps every object, and moves the semantic map along.

Needs mmdet, so a config names this module: ``custom_imports = dict(imports=['swinv2_dense.datasets.instaboost'])``.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.structures.bbox import autocast_box_type
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmdet.structures.mask.structures import polygon_to_bitmap
from PIL import Image, ImageEnhance

from swinv2_dense.errors import UserError
from swinv2_dense.registry import TRANSFORMS

__all__ = ["InstaBoost"]

_ATTEMPTS = 5  # to find a new place that no other object holds
_BORDER = 10.0  # pixels: what comes this close to the image's edge may have been cut off there
_RIM = np.ones((5, 5), np.uint8)  # outlines are imprecise: two pixels around an object are taken for part of it
_INPAINT_RADIUS = 3  # pixels; 5 looks the same and takes more than twice the time
_MARGIN = np.array([-2, -2, 2, 2])  # pixels around a group's new box, for the soft edge of its outline

_Mask = np.ndarray | list[np.ndarray]  # a bitmap, H x W, or polygons, each x y x y ...


@dataclass(frozen=True)
class _Move:
    """A group of objects at its new place."""

    members: list[int]
    matrix: np.ndarray  # 2 x 3, from old to new (x, y) in pixels, (0, 0) being the image's corner
    region: tuple[slice, slice]  # rows and columns that hold the group's new pixels
    alpha: np.ndarray  # float32, as large as the region: share of each pixel that is the group's
    masks: list[_Mask]
    boxes: np.ndarray  # members x 4, x1 y1 x2 y2

    @property
    def held(self) -> np.ndarray:
        """bool, as large as the region: the pixels of which at least half is the group's."""
        return self.alpha >= 0.5


class _Owner:
    """Which group of objects, numbered from 1, holds each pixel (H x W, 0 for none), before and after the moves."""

    def __init__(self, size: tuple[int, int], groups: list[list[int]], masks: Sequence[_Mask]) -> None:
        self.groups = groups
        self.before = np.zeros(size, np.int32)
        for number, members in enumerate(groups, start=1):
            for member in members:
                mask = masks[member]
                bitmap = mask.astype(bool) if isinstance(mask, np.ndarray) else polygon_to_bitmap(mask, *size)
                self.before[bitmap] = number
        self.now = self.before.copy()

    def is_free(self, number: int, move: _Move) -> bool:
        """Whether no other group is where this one would go."""
        return not np.any(move.held & ~np.isin(self.now[move.region], (0, number)))

    def settle(self, number: int, move: _Move) -> None:
        self.now[self.now == number] = 0
        self.now[move.region][move.held] = number


@TRANSFORMS.register_module()
class InstaBoost(BaseTransform):
    """Jitter the objects of an image.

    Stands after ``LoadAnnotations(with_bbox=True, with_mask=True)`` and before anything that resizes. Objects whose
    boxes overlap move as one group, so that nothing is uncovered that was never seen. A group at the image's edge
    neither shrinks nor turns nor moves inwards, for the same reason. A group for which no free place is found stays.
    The ground that becomes visible is inpainted, and unlabelled (255) in the semantic map. Crowds and other ignored
    objects stay.

    Changes ``img`` (uint8), ``gt_bboxes``, ``gt_masks`` and, if present, ``gt_seg_map``. Number, order, labels and
    ignore flags of the objects do not change.

    Args:
        scale: smallest and largest factor.
        dx: a group moves by up to its width / dx in x.
        dy: a group moves by up to its height / dy in y.
        theta: smallest and largest rotation, in degrees.
        color_prob: how often a changed image's saturation, brightness, contrast and sharpness change as well.
        aug_ratio: how often an image is changed at all.

    Raises:
        UserError: boxes and masks are not loaded yet, or the image is not uint8.
    """

    def __init__(
        self,
        *,
        scale: tuple[float, float] = (0.8, 1.2),
        dx: float = 15.0,
        dy: float = 15.0,
        theta: tuple[float, float] = (-1.0, 1.0),
        color_prob: float = 0.5,
        aug_ratio: float = 0.5,
    ) -> None:
        self.scale, self.reach, self.theta = scale, (1 / dx, 1 / dy), theta
        self.color_prob, self.aug_ratio = color_prob, aug_ratio

    @autocast_box_type()
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        if "gt_masks" not in results or "gt_bboxes" not in results or results["img"].dtype != np.uint8:
            raise UserError(
                "InstaBoost belongs right behind LoadAnnotations(with_bbox=True, with_mask=True) in the pipeline, "
                "on an image loaded without to_float32"
            )
        # Python's generator is the one that every loader seeds differently in each of its worker processes.
        rng = np.random.default_rng(random.getrandbits(64))
        free = np.flatnonzero(~np.asarray(results["gt_ignore_flags"], bool))
        if not len(free) or rng.random() >= self.aug_ratio:
            return results
        boxes, masks = results["gt_bboxes"].tensor.numpy().copy(), list(results["gt_masks"].masks)
        owner = _Owner(results["img"].shape[:2], [free[group].tolist() for group in _groups(boxes[free])], masks)
        moves = self._draw_moves(rng, boxes, masks, owner)
        vacated = np.isin(owner.before, [number for number, _ in moves])
        for _, move in moves:
            boxes[move.members] = move.boxes
            for member, mask in zip(move.members, move.masks, strict=True):
                masks[member] = mask
        results["gt_bboxes"] = type(results["gt_bboxes"])(boxes)
        kind = type(results["gt_masks"])
        results["gt_masks"] = kind(np.stack(masks) if kind is BitmapMasks else masks, *owner.before.shape)
        if results.get("gt_seg_map") is not None:
            unlabelled = results.get("ignore_index", 255)
            results["gt_seg_map"] = _relabel(results["gt_seg_map"], vacated, [move for _, move in moves], unlabelled)
        # The rim may reach into an object that stays: that object's pixels are known.
        hole = cv2.dilate(vacated.astype(np.uint8), _RIM) * (vacated | (owner.before == 0))
        results["img"] = _repaint(results["img"], hole, [move for _, move in moves])
        if rng.random() < self.color_prob:
            results["img"] = _change_colours(rng, results["img"])
        return results

    def _draw_moves(
        self, rng: np.random.Generator, boxes: np.ndarray, masks: Sequence[_Mask], owner: _Owner
    ) -> list[tuple[int, _Move]]:
        """The groups, by number, for which a free place was found, and their moves."""
        moves = []
        for number, members in enumerate(owner.groups, start=1):
            for _ in range(_ATTEMPTS):
                move = self._draw_move(rng, members, boxes, masks, owner.before == number)
                if move and owner.is_free(number, move):
                    owner.settle(number, move)
                    moves.append((number, move))
                    break
        return moves

    def _draw_move(
        self, rng: np.random.Generator, members: list[int], boxes: np.ndarray, masks: Sequence[_Mask], own: np.ndarray
    ) -> _Move | None:
        """One attempt; None where it would push half of an object, or all of its mask, out of the image."""
        height, width = own.shape
        limit = np.array([width, height, width, height])
        x, y, w, h = cv2.boundingRect(own.astype(np.uint8))
        outer = _bounds(np.concatenate([boxes[members].reshape(-1, 2), [(x, y), (x + w, y + h)]]))
        matrix = self._draw_matrix(rng, outer, limit[:2])
        for box in boxes[members]:
            moved = _move_box(box, matrix)
            if np.prod(_size(moved.clip(0, limit))) < 0.5 * np.prod(_size(moved)):
                return None
        moved_masks = [_move_mask(masks[member], matrix, own.shape) for member in members]
        new_boxes = np.array([_mask_box(mask) for mask in moved_masks])
        if np.any(_size(new_boxes) <= 0):
            return None
        left, top, right, bottom = (_move_box(outer, matrix) + _MARGIN).clip(0, limit).astype(int).tolist()
        region = (slice(top, bottom), slice(left, right))
        return _Move(members, matrix, region, _warp(own.astype(np.float32), matrix, region), moved_masks, new_boxes)

    def _draw_matrix(self, rng: np.random.Generator, box: np.ndarray, limit: np.ndarray) -> np.ndarray:
        """2 x 3: scaling and rotation about the middle of a box, then a shift."""
        size, middle = _size(box), (box[:2] + box[2:]) / 2
        factor, angle = rng.uniform(*self.scale), np.deg2rad(rng.uniform(*self.theta))
        shift = rng.uniform(-1, 1, 2) * size * self.reach
        at_start, at_end = box[:2] < _BORDER, box[2:] > limit - _BORDER
        if at_start.any() or at_end.any():
            factor, angle = max(factor, 1.0), 0.0
            shift = np.where(at_start, np.minimum(shift, 0), shift)
            shift = np.where(at_end, np.maximum(shift, 0), shift)
        turn = factor * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.column_stack([turn, middle + shift - turn @ middle])


def _groups(boxes: np.ndarray) -> list[np.ndarray]:
    """Indices of the boxes (N x 4) that overlap each other, directly or through others."""
    start, end = boxes[:, None, :2], boxes[:, None, 2:]
    linked = np.all((start < end.swapaxes(0, 1)) & (start.swapaxes(0, 1) < end), axis=-1) | np.eye(
        len(boxes), dtype=bool
    )
    while not np.array_equal(wider := linked @ linked, linked):
        linked = wider
    return [np.flatnonzero(row) for row in np.unique(linked, axis=0)]


def _size(boxes: np.ndarray) -> np.ndarray:
    """Width and height, ... x 2."""
    return boxes[..., 2:] - boxes[..., :2]


def _bounds(points: np.ndarray) -> np.ndarray:
    """Box around N x 2 points."""
    return np.concatenate([points.min(0), points.max(0)])


def _move_box(box: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    corners = box[[[0, 1], [2, 1], [2, 3], [0, 3]]]
    return _bounds(corners @ matrix[:, :2].T + matrix[:, 2])


def _move_mask(mask: _Mask, matrix: np.ndarray, size: tuple[int, int]) -> _Mask:
    """A mask at its new place, cut at the image's edge. Polygons stay polygons, exact to the last digit."""
    if isinstance(mask, np.ndarray):
        whole = (slice(0, size[0]), slice(0, size[1]))
        return (_warp(mask.astype(np.float32), matrix, whole) >= 0.5).astype(mask.dtype)
    polygons = [(polygon.reshape(-1, 2) @ matrix[:, :2].T + matrix[:, 2]).ravel() for polygon in mask]
    x1, y1, x2, y2 = _mask_box(polygons)
    if min(x1, y1) >= 0 and x2 <= size[1] and y2 <= size[0]:
        return polygons
    return PolygonMasks([polygons], *size).crop(np.array([0, 0, size[1], size[0]])).masks[0]


def _mask_box(mask: _Mask) -> np.ndarray:
    """Box around a mask; one without extent where nothing is left of it."""
    if isinstance(mask, np.ndarray):
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        return np.array([x, y, x + w, y + h])
    return _bounds(np.concatenate(mask).reshape(-1, 2))


def _warp(
    old: np.ndarray, matrix: np.ndarray, region: tuple[slice, slice], interpolation: int = cv2.INTER_LINEAR
) -> np.ndarray:
    """The pixels of a region of the new image.

    OpenCV counts from the middle of the first pixel, matrices of ours from its corner.
    """
    rows, columns = region
    offset = matrix[:, 2] + matrix[:, :2] @ (0.5, 0.5) - 0.5 - (columns.start, rows.start)
    shape = (columns.stop - columns.start, rows.stop - rows.start)
    return cv2.warpAffine(
        old,
        np.column_stack([matrix[:, :2], offset]),
        shape,
        flags=interpolation,
        borderMode=cv2.BORDER_REPLICATE,
    )


def _repaint(old: np.ndarray, hole: np.ndarray, moves: Sequence[_Move]) -> np.ndarray:
    """The image with the hole (uint8, 0 or 1) filled from its surroundings and the groups at their new places."""
    new = old.copy()
    x, y, w, h = cv2.boundingRect(hole)
    around = (
        slice(max(0, y - _INPAINT_RADIUS), y + h + _INPAINT_RADIUS),
        slice(max(0, x - _INPAINT_RADIUS), x + w + _INPAINT_RADIUS),
    )
    if w:
        new[around] = cv2.inpaint(old[around], hole[around], _INPAINT_RADIUS, cv2.INPAINT_NS)
    for move in moves:
        share = move.alpha[..., None]
        new[move.region] = np.rint(new[move.region] * (1 - share) + _warp(old, move.matrix, move.region) * share)
    return new


def _relabel(old: np.ndarray, vacated: np.ndarray, moves: Sequence[_Move], unlabelled: int) -> np.ndarray:
    """The semantic map (H x W): labels move with their group, vacated ground has none."""
    new = old.copy()
    new[vacated] = unlabelled
    for move in moves:
        new[move.region][move.held] = _warp(old, move.matrix, move.region, cv2.INTER_NEAREST)[move.held]
    return new


def _change_colours(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """Saturation, brightness, contrast and sharpness (1 is no change) as far as the InstaBoost package varies them."""
    image = Image.fromarray(np.ascontiguousarray(pixels[..., ::-1]))
    for enhancer, low, high in (
        (ImageEnhance.Color, 0.0, 3.0),
        (ImageEnhance.Brightness, 1.0, 2.0),
        (ImageEnhance.Contrast, 1.0, 2.0),
        (ImageEnhance.Sharpness, 0.0, 3.0),
    ):
        image = enhancer(image).enhance(rng.uniform(low, high))
    return np.ascontiguousarray(np.asarray(image)[..., ::-1])
