"""Boxes, polygons and run lengths against their image: sound ones pass, others are named before native code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swinv2_dense.checks.segmentations import (
    box_problem,
    decompress,
    is_empty,
    polygon_problem,
    run_lengths_problem,
    segmentation_problem,
)

HEIGHT, WIDTH = 30, 40
HUGE = 10**400
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize("box", [[0, 0, 40, 30], [3.5, 2, 1, 1], [-0.9, 0, 41.5, 30]])
def test_sound_boxes(box: list[float]) -> None:
    assert box_problem(box, HEIGHT, WIDTH) is None


@pytest.mark.parametrize(
    ("box", "kind", "serious"),
    [
        ([], "box not x, y, width, height", True),
        (None, "box not x, y, width, height", True),
        ("1234", "box not x, y, width, height", True),
        ([1, 2, 3], "box not x, y, width, height", True),
        ([1, 2, [3], 4], "box not x, y, width, height", True),
        ([1, 2, NAN, 4], "box not x, y, width, height", True),
        ([1, INF, 3, 4], "box not x, y, width, height", True),
        ([1, 2, HUGE, 4], "box not x, y, width, height", True),
        ([20, 10, -5, 4], "box of negative size", True),
        ([1, 2, 0.5, 4], "box below one pixel", False),
        ([45, 2, 3, 3], "box outside the image", True),
        ([-9, 2, 8, 3], "box outside the image", True),
        ([0, 0, 400, 3], "box outside the image", True),
        ([-5, 2, 20, 3], "box over the edge of the image", False),
    ],
)
def test_boxes(box: Any, kind: str, serious: bool) -> None:
    problem = box_problem(box, HEIGHT, WIDTH)
    assert problem is not None
    assert (problem[0], problem[2]) == (kind, serious)
    assert len(problem[1]) < 150


@pytest.mark.parametrize(
    ("polygon", "kind", "serious"),
    [
        ([1, 1, 5, 5], "broken polygon", True),
        ([1, 1, 5, 5, 9, 1, 3], "broken polygon", True),
        ([1, 1, 5, 5, 9, NAN], "broken polygon", True),
        ([1, 1, 5, INF, 9, -INF], "broken polygon", True),
        ([1, 1, 5, 5, 9, HUGE], "broken polygon", True),
        ([1.5, 1, 5, 5, 9, HUGE], "broken polygon", True),
        (["1", "1", "5", "5", "9", "1"], "broken polygon", True),
        ([[1, 1], [5, 5], [9, 1], [1, 1], [5, 5], [9, 1]], "broken polygon", True),
        ({"x": 1}, "broken polygon", True),
        (7.0, "broken polygon", True),
        ([1, 1, 5, 5, 1e9, 1], "polygon outside the image", True),
        ([1, 1, 5, 5, -1e9, 1], "polygon outside the image", True),
        ([1, 1, 5, 5, 9, 44], "polygon over the edge of the image", False),
    ],
)
def test_polygons(polygon: Any, kind: str, serious: bool) -> None:
    problem = polygon_problem(polygon, HEIGHT, WIDTH)
    assert problem is not None
    assert (problem[0], problem[2]) == (kind, serious)
    assert polygon_problem([0, 0, 40.9, 0, 40, 30], HEIGHT, WIDTH) is None


@pytest.mark.parametrize(
    "counts",
    [[1200.0], [600, 601], [-5, 1205], ["1200"], [HUGE], [], None, 3, "", "é", "~~~", "o" * 40, "0" * 3, [[1200]], {}],
)
def test_broken_run_lengths(counts: Any) -> None:
    problem = run_lengths_problem({"size": [HEIGHT, WIDTH], "counts": counts}, HEIGHT, WIDTH)
    assert problem is not None
    assert problem[0] == "broken run lengths"


@pytest.mark.parametrize("size", [[10**9, 10**9], [WIDTH, HEIGHT], None, "30", [HEIGHT]])
def test_run_lengths_of_another_size(size: Any) -> None:
    problem = run_lengths_problem({"size": size, "counts": [1200]}, HEIGHT, WIDTH)
    assert problem is not None
    assert problem[0] == "run lengths of another size"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 1.0])
def test_compressed_run_lengths_are_read_as_pycocotools_writes_them(share: float) -> None:
    masks = pytest.importorskip("pycocotools.mask", reason="comes with the det extra")
    rng = np.random.default_rng(0)
    mask = np.asfortranarray(rng.random((61, 83)) < share, np.uint8)
    text = masks.encode(mask)["counts"].decode()
    runs = decompress(text)
    assert np.array_equal(np.repeat(np.arange(len(runs)) % 2, runs), mask.ravel(order="F"))
    assert segmentation_problem({"size": [61, 83], "counts": text}, 61, 83) is None
    assert is_empty({"size": [61, 83], "counts": text}) == (not mask.any())


def test_any_text_is_either_refused_or_fits() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        text = "".join(map(chr, rng.integers(40, 120, rng.integers(0, 12))))
        problem = run_lengths_problem({"size": [HEIGHT, WIDTH], "counts": text}, HEIGHT, WIDTH)
        assert problem is not None or decompress(text).sum() == HEIGHT * WIDTH
