"""On a GPU every operator gives what it gives on the CPU, forward and backward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

mmcv_ops = pytest.importorskip("mmcv.ops", reason="needs mmcv")

from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

ROIS = torch.tensor([[0, 3.2, 4.1, 30.7, 25.3], [1, -5.0, -3.0, 12.0, 9.5], [1, 20.0, 10.0, 90.0, 70.0]])


def detections(n: int = 80) -> tuple[Tensor, Tensor]:
    corner = torch.rand(n, 2) * 40
    return torch.cat([corner, corner + torch.rand(n, 2) * 30 + 2], 1), torch.rand(n)


def attention(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    shapes = torch.tensor([[4, 6], [2, 3]], device=value.device)
    starts = torch.tensor([0, 24], device=value.device)
    return MultiScaleDeformableAttnFunction.apply(value, shapes, starts, locations, weights, 64)


# What is called, and tensors with gradients and without.
CASES: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...], tuple[Tensor, ...]]] = {
    "nms": (lambda b, s: mmcv_ops.nms(b, s, 0.5), (), detections()),
    "soft_nms": (mmcv_ops.soft_nms, (), detections()),
    "nms_match": (lambda b, s: mmcv_ops.nms_match(torch.cat([b, s[:, None]], 1), 0.5), (), detections()),
    "bbox_overlaps": (mmcv_ops.bbox_overlaps, (), (detections()[0], detections()[0])),
    "roi_align": (lambda x, r: mmcv_ops.roi_align(x, r, (4, 3), 0.25), (torch.randn(2, 3, 9, 13),), (ROIS,)),
    "roi_align_max": (
        lambda x, r: mmcv_ops.roi_align(x, r, (4, 3), 0.25, 0, "max"),
        (torch.randn(2, 3, 9, 13),),
        (ROIS,),
    ),
    "roi_pool": (lambda x, r: mmcv_ops.roi_pool(x, r, (4, 3), 0.25), (torch.randn(2, 3, 9, 13),), (ROIS,)),
    "deform_conv": (
        lambda x, offset, weight: mmcv_ops.deform_conv2d(x, offset, weight),
        (torch.randn(2, 4, 9, 11), torch.randn(2, 18, 7, 9), torch.randn(3, 4, 3, 3)),
        (),
    ),
    "modulated_deform_conv": (
        mmcv_ops.modulated_deform_conv2d,
        (
            *(torch.randn(2, 4, 9, 11), torch.randn(2, 18, 7, 9), torch.rand(2, 9, 7, 9)),
            *(torch.randn(3, 4, 3, 3), torch.randn(3)),
        ),
        (),
    ),
    "attention": (attention, (torch.randn(2, 30, 2, 4), torch.rand(2, 5, 2, 2, 3, 2), torch.rand(2, 5, 2, 2, 3)), ()),
    "sigmoid_focal_loss": (mmcv_ops.sigmoid_focal_loss, (torch.randn(6, 5),), (torch.arange(6),)),
    "softmax_focal_loss": (mmcv_ops.softmax_focal_loss, (torch.randn(5, 5),), (torch.arange(5),)),
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CASES)
def test_equals_the_cpu(name: str) -> None:
    run, with_gradients, others = CASES[name]
    results = []
    for device in ("cpu", "cuda"):
        leaves = [t.detach().to(device).requires_grad_() for t in with_gradients]
        out = run(*leaves, *(t.to(device) for t in others))
        gradients = torch.autograd.grad(out, leaves, torch.ones_like(out)) if leaves else ()
        results.append([t.detach().cpu() for t in (*(out if isinstance(out, (tuple, list)) else [out]), *gradients)])
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)
