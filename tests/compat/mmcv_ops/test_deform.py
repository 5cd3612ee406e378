"""Deformable convolutions, forward and backward, against bilinear sampling in torch, and against the compiled ones."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops import deform_conv2d, modulated_deform_conv2d

KERNEL = (3, 2)


def by_sampling(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, stride: int, pad: int, dilation: int, groups: int
) -> Tensor:
    """Every tap is a grid of bilinear samples, zero outside; the convolution sums over taps and channels."""
    batch, _, height, width = x.shape
    *_, out_h, out_w = offset.shape
    taps = KERNEL[0] * KERNEL[1]
    deform_groups = mask.shape[1] // taps
    # B x deform groups x taps x (y, x) x H x W
    offset, mask = offset.unflatten(1, (deform_groups, taps, 2)), mask.unflatten(1, (deform_groups, taps))
    ys, xs = torch.arange(out_h)[:, None] * stride - pad, torch.arange(out_w) * stride - pad
    columns = []
    for tap in range(taps):
        y = ys + tap // KERNEL[1] * dilation + offset[:, :, tap, 0]
        x_ = xs + tap % KERNEL[1] * dilation + offset[:, :, tap, 1]
        # in units of half a map, from its middle
        grid = torch.stack([(2 * x_ + 1) / width - 1, (2 * y + 1) / height - 1], -1).flatten(0, 1)
        planes = x.unflatten(1, (deform_groups, -1)).flatten(0, 1)
        sampled = F.grid_sample(planes, grid, align_corners=False).unflatten(0, (batch, deform_groups))
        columns.append((sampled * mask[:, :, tap, None]).flatten(1, 2))
    # B x groups x C/groups x taps x H x W
    grouped = torch.stack(columns, 2).unflatten(1, (groups, -1))
    kernels = weight.flatten(2).unflatten(0, (groups, -1))
    return torch.einsum("bgcthw,goct->bgohw", grouped, kernels).flatten(1, 2)


def tensors(stride: int, pad: int, dilation: int, groups: int, deform_groups: int, batch: int = 2) -> list[Tensor]:
    taps = KERNEL[0] * KERNEL[1]
    out_h, out_w = (
        (size + 2 * pad - dilation * (k - 1) - 1) // stride + 1 for size, k in zip((9, 11), KERNEL, strict=True)
    )
    shapes = (
        (batch, 8, 9, 11),
        (batch, deform_groups * taps * 2, out_h, out_w),
        (batch, deform_groups * taps, out_h, out_w),
        (4, 8 // groups, *KERNEL),
    )
    return [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]


GEOMETRIES = [(1, 0, 1, 1, 1), (1, 1, 1, 2, 1), (2, 1, 2, 1, 4), (1, 2, 1, 4, 2)]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_deform_conv(geometry: tuple[int, int, int, int, int], compiled: Any) -> None:
    stride, pad, dilation, groups, deform_groups = geometry
    x, offset, mask, weight = tensors(*geometry)

    def run() -> tuple[Tensor, ...]:
        out = deform_conv2d(x, offset, weight, stride, pad, dilation, groups, deform_groups)
        return out, *torch.autograd.grad(out, (x, offset, weight), grad)

    expected = by_sampling(x, offset, torch.ones_like(mask), weight, stride, pad, dilation, groups)
    grad = torch.randn_like(expected)
    ours = run()
    torch.testing.assert_close(ours, (expected, *torch.autograd.grad(expected, (x, offset, weight), grad)))
    theirs = compiled(run)
    if theirs is not None:
        torch.testing.assert_close(theirs, ours)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_modulated_deform_conv(geometry: tuple[int, int, int, int, int], with_bias: bool, compiled: Any) -> None:
    stride, pad, dilation, groups, deform_groups = geometry
    x, offset, mask, weight = tensors(*geometry)
    bias = torch.randn(4, dtype=torch.float64, requires_grad=True) if with_bias else None
    inputs = (x, offset, mask, weight, *([bias] * with_bias))

    def run() -> tuple[Tensor, ...]:
        out = modulated_deform_conv2d(x, offset, mask, weight, bias, stride, pad, dilation, groups, deform_groups)
        return out, *torch.autograd.grad(out, inputs, grad)

    expected = by_sampling(x, offset, mask, weight, stride, pad, dilation, groups)
    if bias is not None:
        expected = expected + bias[:, None, None]
    grad = torch.randn_like(expected)
    ours = run()
    torch.testing.assert_close(ours, (expected, *torch.autograd.grad(expected, inputs, grad)))
    theirs = compiled(run)
    if theirs is not None:
        torch.testing.assert_close(theirs, ours)


def test_few_bits_are_computed_in_float32() -> None:
    x, offset, mask, weight = (t.detach().bfloat16().requires_grad_() for t in tensors(*GEOMETRIES[0]))
    out = modulated_deform_conv2d(x, offset, mask, weight, None)
    expected = modulated_deform_conv2d(*(t.detach().float() for t in (x, offset, mask, weight)), None)
    assert torch.equal(out, expected.bfloat16())
    for t in torch.autograd.grad(out.sum(), (x, offset, mask, weight)):
        assert t.dtype == torch.bfloat16
        assert t.isfinite().all()
