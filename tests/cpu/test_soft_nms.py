"""Soft-NMS by the kernel and by NumPy, against the operator's own loop, to the order of equal scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from swinv2_dense.cpu import soft_nms as module
from swinv2_dense.cpu.native import library
from swinv2_dense.cpu.soft_nms import METHODS, soft_nms


def by_swaps(
    boxes: Tensor, scores: Tensor, method: str, iou_threshold: float, sigma: float, min_score: float, offset: float
) -> tuple[list[float], list[int]]:
    """One box after the other, in float32: the best goes to the front, the last takes the place of one that falls."""
    f = np.float32
    rows = [[*map(f, box), f(score), i] for i, (box, score) in enumerate(zip(boxes.tolist(), scores.tolist()))]
    area = lambda r: (r[2] - r[0] + f(offset)) * (r[3] - r[1] + f(offset))  # noqa: E731
    i = 0
    while i < len(rows):
        best = max(range(i, len(rows)), key=lambda j: (rows[j][4], -j))
        rows[i], rows[best] = rows[best], rows[i]
        a, j = rows[i], i + 1
        while j < len(rows):
            b = rows[j]
            w = max(f(0), min(a[2], b[2]) - max(a[0], b[0]) + f(offset))
            h = max(f(0), min(a[3], b[3]) - max(a[1], b[1]) + f(offset))
            union = area(a) + area(b) - w * h
            overlap = w * h / union if union > 0 else f(0)
            if method == "gaussian":
                b[4] *= f(math.exp(-(overlap * overlap) / f(sigma)))
            elif overlap >= f(iou_threshold):
                b[4] *= f(0) if method == "naive" else f(1) - overlap
            if b[4] < f(min_score):
                rows[j] = rows[-1]
                rows.pop()
            else:
                j += 1
        i += 1
    return [float(r[4]) for r in rows], [r[5] for r in rows]


@pytest.fixture(params=["kernel", "numpy"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "numpy":
        monkeypatch.setattr(module, "library", lambda: None)
    elif library() is None:
        pytest.skip("no C++ compiler")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n", [0, 1, 7, 33, 150])
@pytest.mark.parametrize("offset", [0, 1])
def test_equals_the_loop(method: str, n: int, offset: int) -> None:
    """Boxes and scores of few values: many are equal, and which comes first is seen."""
    corner, size = torch.randint(30, (n, 2)), torch.randint(1, 20, (n, 2))
    boxes, scores = torch.cat([corner, corner + size], 1).float(), torch.randint(1, 9, (n,)) / 8
    options = dict(iou_threshold=0.4, sigma=0.5, min_score=0.1, offset=offset)
    found, index = soft_nms(boxes, scores, method=method, **options)
    expected, order = by_swaps(boxes, scores, method, **options)
    assert index.tolist() == order
    torch.testing.assert_close(found[:, 4], torch.tensor(expected), rtol=1e-6, atol=1e-7)
    assert torch.equal(found[:, :4], boxes[index])


@pytest.mark.usefixtures("way")
def test_boxes_without_an_area_overlap_with_nothing() -> None:
    boxes, scores = torch.tensor([[3.0, 3, 3, 3], [3, 3, 3, 3], [0, 0, 9, 9]]), torch.tensor([0.9, 0.8, 0.7])
    for method in METHODS:
        found, index = soft_nms(boxes, scores, method=method)
        assert index.tolist() == [0, 1, 2]
        torch.testing.assert_close(found[:, 4], scores)


@pytest.mark.usefixtures("way")
def test_scores_that_are_not_numbers_end() -> None:
    boxes, scores = torch.rand(40, 4), torch.full((40,), math.nan)
    _, index = soft_nms(boxes, scores)
    assert sorted(index.tolist()) == list(range(40))


@pytest.mark.usefixtures("way")
def test_inputs_stay_as_they_are_and_may_have_strides() -> None:
    wide = torch.rand(20, 8, dtype=torch.float64)
    boxes, scores = wide[:, ::2], wide[:, 1]
    before = wide.clone()
    found, _ = soft_nms(boxes, scores)
    assert torch.equal(wide, before)
    assert found.dtype == torch.float32


def test_shapes_that_do_not_fit_are_refused() -> None:
    for boxes, scores in ((torch.rand(3, 5), torch.rand(3)), (torch.rand(3, 4), torch.rand(2))):
        with pytest.raises(ValueError, match="boxes must be N x 4"):
            soft_nms(boxes, scores)
