"""NMS in its three forms and overlaps, against loops over boxes, and against the compiled operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms


def some_boxes(n: int = 60, whole: bool = False) -> tuple[Tensor, Tensor]:
    """Boxes of which many overlap; of whole pixels they have equal overlaps, and a few equal scores."""
    corner, size = torch.rand(n, 2) * 40, torch.rand(n, 2) * 30 + 2
    boxes, scores = torch.cat([corner, corner + size], 1), torch.rand(n)
    return (boxes.round(), (scores * 40).round() / 40) if whole else (boxes, scores)


def iou(a: list[float], b: list[float], offset: int = 0, over_first: bool = False) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + offset)
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    areas = [(x2 - x1 + offset) * (y2 - y1 + offset) for x1, y1, x2, y2 in (a, b)]
    return w * h / (areas[0] if over_first else sum(areas) - w * h)


def greedy(boxes: Tensor, scores: Tensor, suppresses: Callable[[float], bool], offset: int = 0) -> list[list[int]]:
    rows, groups = boxes.tolist(), []
    left = scores.argsort(descending=True, stable=True).tolist()
    while left:
        best = left.pop(0)
        taken = [i for i in left if suppresses(iou(rows[best], rows[i], offset))]
        groups.append([best, *taken])
        left = [i for i in left if i not in taken]
    return groups


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.7])
def test_nms(threshold: float, offset: int, compiled: Any) -> None:
    boxes, scores = some_boxes()
    dets, kept = nms(boxes, scores, threshold, offset)
    assert kept.tolist() == [group[0] for group in greedy(boxes, scores, lambda x: x > threshold, offset)]
    assert torch.equal(dets, torch.cat([boxes, scores[:, None]], 1)[kept])
    theirs = compiled(lambda: nms(boxes, scores, threshold, offset))
    assert theirs is None or torch.equal(theirs[1], kept)


@pytest.mark.parametrize("threshold", [0.6, 0.7])
def test_an_overlap_of_the_threshold_is_not_above_it(threshold: float, compiled: Any) -> None:
    """Neither 3/5 nor 7/10 is a number of float32, in which overlaps are computed."""
    tenths = round(threshold * 10)
    boxes, scores = torch.tensor([[0.0, 0, 10, 1], [0, 0, tenths, 1]]), torch.tensor([0.9, 0.8])
    assert nms(boxes, scores, threshold)[1].tolist() == [0, 1]
    theirs = compiled(lambda: nms(boxes, scores, threshold)[1].tolist())
    assert theirs in (None, [0, 1])


def test_equal_scores_come_in_the_order_of_torchs_sort(compiled: Any) -> None:
    boxes, scores = some_boxes(3000, whole=True)
    rows, kept = boxes.tolist(), []
    left = scores.sort(descending=True).indices.tolist()
    while left and len(kept) < 20:
        kept.append(left[0])
        left = [i for i in left[1:] if iou(rows[kept[-1]], rows[i]) <= 0.5]
    assert nms(boxes, scores, 0.5)[1][:20].tolist() == kept
    theirs = compiled(lambda: nms(boxes, scores, 0.5)[1])
    assert theirs is None or torch.equal(theirs, nms(boxes, scores, 0.5)[1])


def test_nms_of_nothing_by_score_and_in_numpy() -> None:
    assert nms(torch.zeros(0, 4), torch.zeros(0), 0.5)[0].shape == (0, 5)
    boxes, scores = some_boxes()
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5, score_threshold=0.5, max_num=3)
    assert isinstance(dets, np.ndarray)
    expected = [group[0] for group in greedy(boxes, scores, lambda x: x > 0.5) if scores[group[0]] > 0.5]
    assert kept.tolist() == expected[:3]
    assert nms(boxes.half(), scores.half(), 0.5)[0].dtype == torch.float16


@pytest.mark.parametrize("method", ["naive", "linear", "gaussian"])
@pytest.mark.parametrize("threshold", [0.1, 0.3, 0.7])
@pytest.mark.parametrize("offset", [0, 1])
def test_soft_nms(method: str, threshold: float, offset: int, compiled: Any) -> None:
    boxes, scores = some_boxes()
    options = dict(iou_threshold=threshold, sigma=0.4, min_score=0.05, method=method, offset=offset)
    dets, kept = soft_nms(boxes, scores, **options)
    rows, now = boxes.tolist(), dict(enumerate(scores.tolist()))
    expected = {}
    while now:
        best = max(now, key=now.__getitem__)
        expected[best] = now.pop(best)
        for i in list(now):
            x = iou(rows[best], rows[i], offset)
            now[i] *= (
                math.exp(-x * x / 0.4)
                if method == "gaussian"
                else 1
                if x < threshold
                else (1 - x) * (method == "linear")
            )
            if now[i] < 0.05:
                del now[i]
    assert kept.tolist() == list(expected)
    torch.testing.assert_close(dets[:, 4], torch.tensor(list(expected.values())))
    assert torch.equal(dets[:, :4], boxes[kept])
    theirs = compiled(lambda: soft_nms(boxes, scores, **options))
    if theirs is not None:
        assert torch.equal(theirs[1], kept)
        torch.testing.assert_close(theirs[0], dets, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("split_thr", [10, 10_000])
def test_soft_nms_by_class(split_thr: int, compiled: Any) -> None:
    boxes, scores = some_boxes(200)
    classes = torch.randint(7, (200,))
    config = dict(type="soft_nms", iou_threshold=0.3, min_score=0.05, split_thr=split_thr)
    dets, kept = batched_nms(boxes, scores, classes, config)
    ranked: list[tuple[float, int]] = []
    for label in range(7):
        (own,) = (classes == label).nonzero(as_tuple=True)
        of_class, which = soft_nms(boxes[own], scores[own], iou_threshold=0.3, min_score=0.05)
        ranked += zip(of_class[:, 4].tolist(), own[which].tolist())
    assert kept.tolist() == [i for _, i in sorted(ranked, reverse=True)]
    theirs = compiled(lambda: batched_nms(boxes, scores, classes, config))
    if theirs is not None:
        assert torch.equal(theirs[1], kept)
        torch.testing.assert_close(theirs[0], dets, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("threshold", [0.2, 0.6])
def test_nms_match(threshold: float, compiled: Any) -> None:
    boxes, scores = some_boxes(whole=True)
    scores += torch.arange(len(scores)) * 1e-4  # the order of equals is nobody's
    dets = torch.cat([boxes, scores[:, None]], 1)
    groups = [group.tolist() for group in nms_match(dets, threshold)]
    assert groups == greedy(boxes, scores, lambda x: x >= float(np.float32(threshold)))
    theirs = compiled(lambda: [group.tolist() for group in nms_match(dets, threshold)])
    assert theirs in (None, groups)


@pytest.mark.parametrize("mode", ["iou", "iof"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("offset", [0, 1])
def test_bbox_overlaps(mode: str, aligned: bool, offset: int, compiled: Any) -> None:
    a, b = some_boxes(20)[0], some_boxes(20)[0]
    ours = bbox_overlaps(a, b, mode, aligned, offset)
    every = torch.tensor([[iou(x, y, offset, mode == "iof") for y in b.tolist()] for x in a.tolist()])
    torch.testing.assert_close(ours, every.diagonal() if aligned else every)
    theirs = compiled(lambda: bbox_overlaps(a, b, mode, aligned, offset))
    assert theirs is None or torch.equal(theirs, ours)
