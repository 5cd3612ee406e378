"""RoIAlign and RoIPool, forward and backward, against loops over bins, and against the compiled operators."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops import roi_align, roi_pool

ROIS = [
    [0, 3.2, 4.1, 30.7, 25.3],
    [1, -5.0, -3.0, 12.0, 9.5],  # begins outside
    [1, 20.0, 10.0, 90.0, 70.0],  # ends outside
    [0, 6.0, 6.0, 6.4, 6.3],  # smaller than a pixel of the map
    [1, 100.0, 100.0, 120.0, 130.0],  # wholly outside
]
SCALE = 0.25


def maps() -> Tensor:
    return torch.randn(2, 3, 9, 13, dtype=torch.float64, requires_grad=True)


def at(plane: Tensor, y: float, x: float) -> Tensor:
    """Bilinear interpolation: held at the border for a pixel, nothing beyond it."""
    height, width = plane.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return plane.sum() * 0
    y, x = min(max(y, 0.0), height - 1.0), min(max(x, 0.0), width - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane[top, left] * (1 - x + left) + plane[top, right] * (x - left)
    lower = plane[bottom, left] * (1 - x + left) + plane[bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def align_by_loops(maps: Tensor, rois: Tensor, size: tuple[int, int], ratio: int, mode: str, aligned: bool) -> Tensor:
    out = []
    for image, *corners in rois.tolist():
        x1, y1, x2, y2 = (c * SCALE - 0.5 * aligned for c in corners)
        extent = [y2 - y1, x2 - x1] if aligned else [max(y2 - y1, 1.0), max(x2 - x1, 1.0)]
        bin_h, bin_w = (e / s for e, s in zip(extent, size))
        rows, columns = (ratio or math.ceil(b) for b in (bin_h, bin_w))
        for plane in maps[int(image)]:
            for i in range(size[0]):
                for j in range(size[1]):
                    samples = [
                        at(plane, y1 + (i + (r + 0.5) / rows) * bin_h, x1 + (j + (c + 0.5) / columns) * bin_w)
                        for r in range(rows)
                        for c in range(columns)
                    ]
                    out.append(sum(samples) / len(samples) if mode == "avg" else torch.stack(samples).max())
    return torch.stack(out).view(len(rois), maps.shape[1], *size)


@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align(mode: str, ratio: int, aligned: bool, compiled: Any) -> None:
    x, rois, size = maps(), torch.tensor(ROIS, dtype=torch.float64), (4, 3)

    def run() -> tuple[Tensor, Tensor]:
        out = roi_align(x, rois, size, SCALE, ratio, mode, aligned)
        return out, torch.autograd.grad(out, x, weights)[0]

    expected = align_by_loops(x, rois, size, ratio, mode, aligned)
    weights = torch.randn_like(expected)
    ours = run()
    torch.testing.assert_close(ours[0], expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours[1], torch.autograd.grad(expected, x, weights)[0], rtol=1e-6, atol=1e-6)
    theirs = compiled(run)
    if theirs is not None:
        torch.testing.assert_close(theirs, ours, rtol=1e-6, atol=1e-6)


def test_roi_align_of_few_bits_is_that_of_float32() -> None:
    x, rois = maps().float(), torch.tensor(ROIS)
    for dtype in (torch.float16, torch.bfloat16):
        few = x.detach().to(dtype).requires_grad_()
        out = roi_align(few, rois.to(dtype), (4, 3), SCALE)
        expected = roi_align(few.float(), rois.to(dtype).float(), (4, 3), SCALE)
        assert torch.equal(out, expected.to(dtype))
        assert torch.autograd.grad(out.sum(), few)[0].dtype == dtype


def test_no_rois() -> None:
    x, none = maps().float(), torch.zeros(0, 5)
    for out in (roi_align(x, none, (4, 3)), roi_align(x, none, (4, 3), 1.0, 0, "max"), roi_pool(x, none, (4, 3))):
        assert out.shape == (0, 3, 4, 3)
        assert not torch.autograd.grad(out.sum(), x)[0].any()


def test_roi_pool() -> None:
    """Bins reach from whole pixel to whole pixel around the RoI, whose last pixel counts."""
    x, size = maps(), (4, 3)
    out = roi_pool(x, torch.tensor(ROIS, dtype=torch.float64), size, SCALE)
    expected = torch.zeros_like(out)
    for n, (image, x1, y1, x2, y2) in enumerate(ROIS):
        h, w = (y2 + 1 - y1) * SCALE / size[0], (x2 + 1 - x1) * SCALE / size[1]
        for i in range(size[0]):
            for j in range(size[1]):
                top, left = math.floor(y1 * SCALE + i * h), math.floor(x1 * SCALE + j * w)
                bottom, right = math.ceil(y1 * SCALE + (i + 1) * h), math.ceil(x1 * SCALE + (j + 1) * w)
                region = x[int(image), :, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)].flatten(1)
                if region.shape[1]:
                    expected[n, :, i, j] = region.max(1).values
    assert torch.equal(out, expected)
    weights = torch.randn_like(out)
    ours, theirs = (torch.autograd.grad(t, x, weights)[0] for t in (out, expected))
    torch.testing.assert_close(ours, theirs)
