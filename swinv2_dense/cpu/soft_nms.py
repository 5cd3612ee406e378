"""Soft-NMS (Bodla et al., 2017): boxes that overlap with a better one lose score instead of being removed.

``soft_nms.cpp`` computes it where there is a compiler, NumPy elsewhere, with the same result. On a GPU it would not be
faster: every step needs the scores of the step before.
"""

from __future__ import annotations

import ctypes

import numpy as np
import torch
from torch import Tensor

from swinv2_dense.cpu.native import library

__all__ = ["METHODS", "soft_nms"]

METHODS = ("naive", "linear", "gaussian")


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    *,
    method: str = "linear",
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    offset: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Soft-NMS of boxes on the CPU, in float32. The order among equal scores is that of mmcv's compiled operator.

    Args:
        boxes: N x 4 corners (x1, y1, x2, y2), pixels.
        scores: N.
        method: How an overlapping box loses score: ``naive`` all of it, ``linear`` in proportion to the overlap (both
            from ``iou_threshold`` on), ``gaussian`` by ``exp(-overlap**2 / sigma)``.
        min_score: Boxes whose score falls below are dropped, except the best one.
        offset: 1 counts a box's last pixel in its width and height, 0 does not.

    Returns:
        M x 5 boxes with their new scores, best first, and the M indices into ``boxes``.
    """
    flat = [t.detach().to(torch.float32).contiguous() for t in (boxes, scores)]
    n = len(boxes)
    if flat[0].shape != (n, 4) or flat[1].shape != (n,):
        raise ValueError(f"boxes must be N x 4 and scores N, not {tuple(boxes.shape)} and {tuple(scores.shape)}")
    detections, index = torch.empty(n, 5), torch.empty(n, dtype=torch.int64)
    tensors, kind, numbers = (
        (*flat, detections, index),
        METHODS.index(method),
        (iou_threshold, sigma, min_score, offset),
    )
    native = library()
    if native is None:
        kept = _by_numpy([t.numpy() for t in tensors], kind, [np.float32(number) for number in numbers])
    else:
        run = native.soft_nms_float32
        run.restype = ctypes.c_int64
        pointers = (ctypes.c_void_p(t.data_ptr()) for t in tensors)
        kept = run(*pointers, ctypes.c_int64(n), ctypes.c_int64(kind), *map(ctypes.c_float, numbers))
    return detections[:kept], index[:kept]


def _by_numpy(arrays: list[np.ndarray], method: int, numbers: list[np.float32]) -> int:
    """The same without a compiler. Writes the detections and their indices and returns how many of them there are."""
    boxes, scores, detections, index = arrays
    iou_threshold, sigma, min_score, offset = numbers
    f32 = np.float32
    n = len(boxes)
    x1, y1, x2, y2 = boxes.T
    # 6 x N: corners, area, score. A column moves as a whole when boxes change places.
    table = np.stack([x1, y1, x2, y2, (x2 - x1 + offset) * (y2 - y1 + offset), scores])
    index[:] = np.arange(n)
    i = 0
    while i < n:
        best = i + int(table[5, i:n].argmax())
        if best != i:
            table[:, [i, best]], index[[i, best]] = table[:, [best, i]], index[[best, i]]
        x1, y1, x2, y2, area, score = table[:, i]
        detections[i] = x1, y1, x2, y2, score
        i += 1
        rest = table[:, i:n]
        w = np.maximum(np.minimum(x2, rest[2]) - np.maximum(x1, rest[0]) + offset, f32(0))
        h = np.maximum(np.minimum(y2, rest[3]) - np.maximum(y1, rest[1]) + offset, f32(0))
        inter = w * h
        union = area + rest[4] - inter
        overlap = inter / np.where(union > 0, union, f32(1))
        if method == 2:
            rest[5] *= np.exp(-(overlap * overlap) / sigma)
        else:
            rest[5] *= np.where(overlap >= iou_threshold, f32(0) if method == 0 else f32(1) - overlap, f32(1))
        alive = ~(rest[5] < min_score)
        count = int(alive.sum())
        if count < alive.size:
            # the last ones take the places of those that are dropped
            holes = np.flatnonzero(~alive[:count]) + i
            fillers = np.flatnonzero(alive[count:])[::-1] + i + count
            table[:, holes], index[holes] = table[:, fillers], index[fillers]
            n = i + count
    return n
