"""Each right, wrong, missed and invented object, pixel and image is counted once, in its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swinv2_dense.analysis.confusion import IGNORED, Objects, count
from swinv2_dense.inference.results import Classification, Detections, SegmentationMap

IMAGE = np.zeros((8, 8, 3), np.uint8)
A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 40), (80, 80, 90, 90)


def boxes(*objects: tuple[tuple[int, ...], int]) -> Detections:
    places: Any = np.array([box for box, _ in objects], np.float32).reshape(-1, 4)
    return Detections(IMAGE, boxes=places, labels=np.array([label for _, label in objects], np.int64))


@pytest.mark.parametrize(
    ("truth", "predicted", "entries", "errors"),
    [
        ([(A, 0), (B, 1)], [(A, 0), (B, 1)], {(0, 0): 1, (1, 1): 1}, 0.0),
        ([(A, 0), (B, 1)], [(A, 1)], {(0, 1): 1, (1, 2): 1}, 1.0),
        ([(A, 0)], [(A, 0), (A, 0), (FAR, 1)], {(0, 0): 1, (2, 0): 1, (2, 1): 1}, 2 / 3),
        ([(A, 0), (A, 1)], [(A, 1), (A, 0)], {(0, 0): 1, (1, 1): 1}, 0.0),  # each its own class first
        ([(A, 0)], [((0, 0, 10, 4), 0)], {(0, 2): 1, (2, 0): 1}, 1.0),  # overlap 0.4
        ([], [(A, 0)], {(2, 0): 1}, 1.0),
        ([(A, 0)], [], {(0, 2): 1}, 1.0),
        ([], [], {}, 0.0),
    ],
)
def test_objects(truth: Any, predicted: Any, entries: dict[tuple[int, int], int], errors: float) -> None:
    counted = count(boxes(*truth), boxes(*predicted), 2)
    expected = np.zeros((3, 3), np.int64)
    for place, number in entries.items():
        expected[place] = number
    assert np.array_equal(counted.matrix, expected)
    assert counted.errors == pytest.approx(errors)


def test_pixels_that_are_ignored_do_not_count() -> None:
    truth, predicted = np.array([[0, 1, 1, IGNORED]], np.uint8), np.array([[0, 0, 1, 1]], np.uint8)
    counted = count(SegmentationMap.of(truth, image=IMAGE), SegmentationMap.of(predicted, image=IMAGE), 2)
    assert counted.matrix.tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert counted.errors == pytest.approx(1 / 3)


def test_images_are_the_worse_the_surer_of_something_else() -> None:
    truth = Classification(IMAGE, labels=np.array([1]))
    wrong = count(truth, Classification.of(np.array([0.9, 0.1]), image=IMAGE), 2)
    right = count(truth, Classification.of(np.array([0.2, 0.8]), image=IMAGE), 2)
    assert wrong.matrix[1, 0] == right.matrix[1, 1] == 1
    assert wrong.errors == pytest.approx(0.9)
    assert right.errors == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("predicted", "entries"),
    [
        ([((22, 22, 30, 30), 1), ((30, 30, 38, 38), 1)], {}),  # as many as there may be
        ([((22, 22, 30, 30), 0)], {(2, 0): 1}),  # of another class
        ([((36, 20, 46, 40), 1)], {(2, 1): 1}),  # less than half of it in the crowd
        ([(A, 0), ((22, 22, 30, 30), 1)], {(0, 0): 1}),
    ],
)
def test_in_crowds_nothing_is_counted(predicted: Any, entries: dict[tuple[int, int], int]) -> None:
    single = boxes((A, 0)) if entries.get((0, 0)) else boxes()
    crowd = np.array([B], np.float32)
    truth = Objects(IMAGE, boxes=single.boxes, labels=single.labels, crowds=crowd, crowd_labels=np.array([1]))
    expected = np.zeros((3, 3), np.int64)
    for place, number in entries.items():
        expected[place] = number
    assert np.array_equal(count(truth, boxes(*predicted), 2).matrix, expected)


def test_masks_of_the_truth() -> None:
    polygon, runs, outside = [[1, 1, 5, 1, 5, 4, 1, 4]], {"size": [8, 8], "counts": [8, 4, 52]}, [[900] * 6]
    truth = Objects(IMAGE, labels=np.zeros(4, np.int64), segmentations=[polygon, runs, outside, None])
    masks = truth.with_masks().masks
    assert masks is not None
    assert masks.shape == (4, 8, 8) and masks.sum(axis=(1, 2)).tolist() == [12, 4, 0, 0]
    assert masks[0, 1:4, 1:5].all() and masks[1, :4, 1].all()
