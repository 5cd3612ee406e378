"""Boxes: non-maximum suppression and overlaps."""

from __future__ import annotations

import ctypes

import torch
import torchvision
from torch import Tensor

from swinv2_dense.cpu.soft_nms import METHODS, soft_nms

__all__ = ["bbox_overlaps", "nms", "nms_match", "softnms"]


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Indices of the boxes (N x 4 corners) that remain, best first. ``offset=1`` counts the last pixel of a box."""
    boxes, scores = boxes.float(), scores.float()
    if offset:
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    # sorted as mmcv sorts, which decides which of two equal scores comes first
    scores, order = scores.sort(descending=True)
    # mmcv compares in float32: an overlap of 3/5 is not above a threshold of 0.6
    return order[torchvision.ops.nms(boxes[order], scores, ctypes.c_float(iou_threshold).value)]


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Indices of the M boxes that remain, best first; the first M rows of ``dets`` (N x 5) get them with new scores."""
    kept, index = soft_nms(
        boxes,
        scores,
        method=METHODS[method],
        iou_threshold=iou_threshold,
        sigma=sigma,
        min_score=min_score,
        offset=offset,
    )
    dets[: len(kept)] = kept
    return index


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Per box that NMS keeps, best first: its index, then those of the boxes that it suppresses, best first.

    ``dets``: N x 5, corners and score, on the CPU.
    """
    corners, threshold = dets[:, :4].float(), ctypes.c_float(iou_threshold).value
    left = dets[:, 4].argsort(descending=True)
    groups = []
    while len(left):
        best, left = left[:1], left[1:]
        suppressed = _overlaps(corners[best], corners[left], offset=0, over_both=True) >= threshold
        groups.append([int(best), *left[suppressed].tolist()])
        left = left[~suppressed]
    return groups


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """``ious``, N x M or N (``aligned``, box by box), gets the intersection over the union (``mode=0``) or over the
    first box (``mode=1``)."""
    first = bboxes1 if aligned else bboxes1[:, None]
    ious.copy_(_overlaps(first, bboxes2, offset, over_both=mode == 0))


def _overlaps(a: Tensor, b: Tensor, offset: int, over_both: bool) -> Tensor:
    """... x 4 and ... x 4, broadcast -> ... A box without an area, beside another without one, gives not a number."""
    w, h = ((torch.min(a[..., 2:], b[..., 2:]) - torch.max(a[..., :2], b[..., :2])) + offset).clamp_(min=0).unbind(-1)
    inter = w * h
    area_a, area_b = ((t[..., 2] - t[..., 0] + offset) * (t[..., 3] - t[..., 1] + offset) for t in (a, b))
    return inter / (area_a + area_b - inter if over_both else area_a)
