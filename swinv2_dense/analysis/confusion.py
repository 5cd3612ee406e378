"""Predictions held against the truth: how often each class is taken for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from swinv2_dense.checks.segmentations import filled, segmentation_problem
from swinv2_dense.inference.results import Classification, Detections, Result, SegmentationMap

__all__ = ["Counts", "Objects", "count"]

IGNORED = 255


@dataclass
class Objects(Detections):
    """True ones. ``crowds`` (M x 4) and ``crowd_labels`` (M): regions of a class which holds any number of objects.
    ``segmentations``: COCO's of each, None where it has none; their pixels are made when they are drawn."""

    crowds: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    crowd_labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    segmentations: Sequence[Any] = ()

    def with_masks(self) -> Objects:
        """With the masks of the segmentations, in the size of the image; empty where there is none or a broken one."""
        height, width = self.image.shape[:2]
        masks = np.zeros((len(self), height, width), bool)
        for mask, segmentation in zip(masks, self.segmentations, strict=True):
            if segmentation and not segmentation_problem(segmentation, height, width):
                mask[:] = filled(segmentation, height, width)
        return replace(self, masks=masks)


@dataclass
class Counts:
    """``matrix``: int64, (N + 1) x (N + 1), rows the true class, columns the predicted one; the last row and column are
    'nothing', which only detection fills: objects not found, and findings that are no object. ``errors``: share of what
    counts in the image that is wrong, 0 to 1."""

    matrix: np.ndarray
    errors: float


def count(truth: Result, predicted: Result, classes: int, *, iou: float = 0.5) -> Counts:
    """Count one image or clip: objects, pixels, or the image itself.

    Args:
        iou: from which overlap on a detection is an object, whatever its class. The surest detection takes first.
            Nothing is counted of a detection that is no object and lies, to this share, in a crowd of its class, as in
            COCO's evaluation.
    """
    if isinstance(truth, Detections) and isinstance(predicted, Detections):
        matrix = _detections(truth, predicted, classes, iou)
    elif isinstance(truth, SegmentationMap) and isinstance(predicted, SegmentationMap):
        known = truth.map != IGNORED
        places = truth.map[known].astype(np.int64) * (classes + 1) + predicted.map[known].astype(np.int64)
        matrix = np.bincount(places, minlength=(classes + 1) ** 2).reshape(classes + 1, classes + 1)
    else:
        assert isinstance(predicted, Classification)
        matrix = np.zeros((classes + 1, classes + 1), np.int64)
        matrix[truth.labels[0], predicted.labels[0]] = 1
        true = float(predicted.probabilities[truth.labels[0]])
        return Counts(matrix, 1 - true)  # the surer of something else, the worse
    total = matrix.sum()
    return Counts(matrix, 0.0 if not total else float(1 - np.trace(matrix) / total))


def _detections(truth: Detections, predicted: Detections, classes: int, iou: float) -> np.ndarray:
    matrix = np.zeros((classes + 1, classes + 1), np.int64)
    assert truth.boxes is not None
    assert predicted.boxes is not None
    overlaps = _overlaps(predicted.boxes, truth.boxes)
    free = np.ones(len(truth), bool)
    for row, label, inside in zip(overlaps, predicted.labels, _in_crowds(truth, predicted, iou), strict=True):
        fits = np.where(free & (row >= iou), row, -1.0)
        # of several objects that overlap enough, one of its own class
        fits[truth.labels == label] += (fits[truth.labels == label] > 0) * 1.0
        best = int(fits.argmax()) if len(fits) else -1
        if best >= 0 and fits[best] > 0:
            free[best] = False
            matrix[truth.labels[best], label] += 1
        elif not inside:
            matrix[classes, label] += 1
    for label in truth.labels[free]:
        matrix[label, classes] += 1
    return matrix


def _in_crowds(truth: Detections, predicted: Detections, share: float) -> np.ndarray:
    """Which detections lie, to a share of their area, in a crowd of their class."""
    if not isinstance(truth, Objects) or not len(truth.crowds):
        return np.zeros(len(predicted), bool)
    assert predicted.boxes is not None
    covered = _shared(predicted.boxes, truth.crowds) / np.maximum(_areas(predicted.boxes)[:, None], 1e-9)
    return ((covered >= share) & (predicted.labels[:, None] == truth.crowd_labels)).any(axis=1)


def _overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of each box of ``a`` with each of ``b``, x1 y1 x2 y2."""
    shared = _shared(a, b)
    return shared / np.maximum(_areas(a)[:, None] + _areas(b)[None] - shared, 1e-9)


def _shared(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    top_left = np.maximum(a[:, None, :2], b[None, :, :2])
    return (np.minimum(a[:, None, 2:], b[None, :, 2:]) - top_left).clip(min=0).prod(axis=-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return (boxes[:, 2:] - boxes[:, :2]).prod(axis=-1)
