"""Suppression of boxes against torchvision's and mmcv's."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from swinv2_dense.export.operators import nms_keep, soft_nms


def drawn(*shape: int) -> tuple[Tensor, Tensor]:
    corner, extent = torch.rand(*shape, 2) * 60, torch.rand(*shape, 2) * 50 + 1
    return torch.cat([corner, corner + extent], -1), torch.rand(*shape)


def test_nms_of_every_group_is_torchvisions() -> None:
    boxes, scores = drawn(3, 40)
    scores[:, ::5] = -1
    keep = nms_keep(boxes, scores, 0.4)
    for group in range(3):
        there = (scores[group] >= 0).nonzero()[:, 0]
        expected = there[torchvision.ops.nms(boxes[group, there], scores[group, there], 0.4)]
        assert set(keep[group].nonzero()[:, 0].tolist()) == set(expected.tolist())


@pytest.mark.parametrize("method", ["linear", "gaussian"])
def test_soft_nms_is_mmcvs(method: str) -> None:
    ops = pytest.importorskip("mmcv.ops")
    boxes, scores = drawn(2, 3, 30)
    scores[:, :, ::7] = -1
    best, place = soft_nms(boxes, scores, 0.3, 0.5, 1e-3, method == "gaussian", 40)
    for image in range(2):
        there = (scores[image].flatten() >= 0).nonzero()[:, 0]
        dets, keep = ops.batched_nms(
            boxes[image].flatten(0, 1)[there],
            scores[image].flatten()[there],
            torch.div(there, 30, rounding_mode="floor"),
            dict(type="soft_nms", iou_threshold=0.3, sigma=0.5, min_score=1e-3, method=method),
        )
        torch.testing.assert_close(best[image], dets[:40, 4])
        assert place[image].tolist() == there[keep[:40]].tolist()


def test_soft_nms_says_where_no_box_is_left() -> None:
    boxes, scores = drawn(1, 1, 3)
    scores[0, 0, 1:] = -1
    best, place = soft_nms(boxes, scores, 0.3, 0.5, 1e-3, False, 3)
    assert best[0].tolist() == [scores[0, 0, 0].item(), -1, -1]
    assert place[0, 0] == 0


def test_the_operators_are_as_torch_wants_them() -> None:
    boxes, scores = drawn(2, 6)
    torch.library.opcheck(torch.ops.swinv2_dense.nms_keep, (boxes, scores, 0.5))
    operands = (boxes[:, None], scores[:, None], 0.3, 0.5, 1e-3, False, 4)
    torch.library.opcheck(torch.ops.swinv2_dense.soft_nms, operands)
