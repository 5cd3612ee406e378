"""Suppression of overlapping boxes as two operators of torch, and what they are in ONNX: standard operators alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

__all__ = ["nms_keep", "onnx_translations", "soft_nms"]

# Scores below it are of no box; real ones are not negative.
_NONE = -0.5


@torch.library.custom_op("swinv2_dense::nms_keep", mutates_args=())
def nms_keep(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Which boxes of G groups of N survive, G x N, bool. ``boxes`` G x N x 4; boxes with a negative score are none."""
    keep = torch.zeros_like(scores, dtype=torch.bool)
    for group in range(len(boxes)):
        there = (scores[group] > _NONE).nonzero()[:, 0]
        kept = torchvision.ops.nms(boxes[group, there].float(), scores[group, there].float(), iou_threshold)
        keep[group, there[kept]] = True
    return keep


@nms_keep.register_fake
def _(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    return torch.empty_like(scores, dtype=torch.bool)


@torch.library.custom_op("swinv2_dense::soft_nms", mutates_args=())
def soft_nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, sigma: float, min_score: float, gaussian: bool, count: int
) -> tuple[Tensor, Tensor]:
    """The ``count`` best boxes of every image after Soft-NMS by class (arXiv 1704.04503).

    Scores only fall, so that the boxes come in the order of their final scores: after ``count`` steps the rest is known
    to be worse.

    Args:
        boxes: B x C x N x 4.
        scores: B x C x N; negative ones are of no box.

    Returns:
        scores, B x count, and places in C * N, B x count; a score of -1 where no box is left.
    """
    batch, _, n = scores.shape
    scores = scores.clone()
    images = torch.arange(batch, device=scores.device)
    found_scores, found = [], []
    for _ in range(count):
        best, place = scores.flatten(1).max(1)
        classes, index = place // n, place % n
        found_scores.append(torch.where(best >= min_score, best, -1.0))
        found.append(place)
        row = scores[images, classes]
        others = boxes[images, classes]
        overlap = _overlaps(others[images, index][:, None], others)
        if gaussian:
            weight = torch.exp(-(overlap**2) / sigma)
        else:
            weight = torch.where(overlap > iou_threshold, 1 - overlap, 1.0)
        row = torch.where(row > _NONE, row * weight, row)
        row[images, index] = -1
        scores[images, classes] = row
    return torch.stack(found_scores, 1), torch.stack(found, 1)


@soft_nms.register_fake
def _(
    boxes: Tensor, scores: Tensor, iou_threshold: float, sigma: float, min_score: float, gaussian: bool, count: int
) -> tuple[Tensor, Tensor]:
    found = scores.new_empty(scores.shape[0], count)
    return found, torch.empty_like(found, dtype=torch.int64)


def _overlaps(one: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of B x 1 x 4 with B x N x 4, B x N."""
    low, high = torch.maximum(one[..., :2], others[..., :2]), torch.minimum(one[..., 2:], others[..., 2:])
    inside = (high - low).clamp_min(0).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(-1) for boxes in (one, others)]
    return inside / (areas[0] + areas[1] - inside).clamp_min(1e-12)


def onnx_translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """For ``torch.onnx.export``: both as operators of ONNX, traced when the file is written."""
    from onnxscript import opset18

    op: Any = opset18

    def ints(*values: int) -> Any:
        return op.Constant(value_ints=list(values))

    def onnx_nms_keep(boxes: Any, scores: Any, iou_threshold: float) -> Any:
        selected = op.NonMaxSuppression(
            boxes,
            op.Unsqueeze(scores, ints(1)),
            op.Shape(scores, start=1, end=2),
            op.Constant(value_floats=[iou_threshold]),
            op.Constant(value_floats=[_NONE]),
        )  # group, 0, place
        places = op.Gather(selected, ints(0, 2), axis=1)
        none = op.Expand(op.Constant(value_float=0.0), op.Shape(scores))
        ones = op.Expand(op.Constant(value_float=1.0), op.Shape(selected, start=0, end=1))
        return op.Cast(op.ScatterND(none, places, ones), to=9)

    def onnx_soft_nms(
        boxes: Any,
        scores: Any,
        iou_threshold: float,
        sigma: float,
        min_score: float,
        gaussian: bool,
        count: int,
    ) -> Any:
        batch, n = op.Shape(scores, start=0, end=1), op.Shape(scores, start=2, end=3)
        flat = op.Concat(batch, ints(-1), axis=0)
        first, one = op.Constant(value_int=0), op.Constant(value_int=1)
        images = op.Unsqueeze(op.Range(first, op.Squeeze(batch), one), ints(1))  # B x 1
        places = op.Range(first, op.Squeeze(n), one)
        none, whole = op.Constant(value_float=-1.0), op.Constant(value_float=1.0)
        low, high = op.Slice(boxes, ints(0), ints(2), ints(3)), op.Slice(boxes, ints(2), ints(4), ints(3))
        area = op.ReduceProd(op.Sub(high, low), ints(3), keepdims=0)  # B x C x N
        found_scores, found = [], []
        for _ in range(count):
            best, place = op.TopK(op.Reshape(scores, flat), ints(1), axis=1)  # B x 1
            classes = op.Div(place, n)
            index = op.Sub(place, op.Mul(classes, n))
            at = op.Concat(images, classes, axis=1)
            chosen = op.Concat(at, index, axis=1)
            row = op.GatherND(scores, at)  # B x N
            inside = op.ReduceProd(
                op.Relu(
                    op.Sub(
                        op.Min(op.Unsqueeze(op.GatherND(high, chosen), ints(1)), op.GatherND(high, at)),
                        op.Max(op.Unsqueeze(op.GatherND(low, chosen), ints(1)), op.GatherND(low, at)),
                    )
                ),
                ints(2),
                keepdims=0,
            )
            both = op.Add(op.Unsqueeze(op.GatherND(area, chosen), ints(1)), op.GatherND(area, at))
            overlap = op.Div(inside, op.Max(op.Sub(both, inside), op.Constant(value_float=1e-12)))
            if gaussian:
                weight = op.Exp(op.Neg(op.Div(op.Mul(overlap, overlap), op.Constant(value_float=sigma))))
            else:
                beyond = op.Greater(overlap, op.Constant(value_float=iou_threshold))
                weight = op.Where(beyond, op.Sub(whole, overlap), whole)
            row = op.Where(op.Greater(row, op.Constant(value_float=_NONE)), op.Mul(row, weight), row)
            scores = op.ScatterND(scores, at, op.Where(op.Equal(places, index), none, row))
            enough = op.GreaterOrEqual(best, op.Constant(value_float=min_score))
            found_scores.append(op.Where(enough, best, none))
            found.append(place)
        return op.Concat(*found_scores, axis=1), op.Concat(*found, axis=1)

    return {
        torch.ops.swinv2_dense.nms_keep.default: onnx_nms_keep,
        torch.ops.swinv2_dense.soft_nms.default: onnx_soft_nms,
    }
