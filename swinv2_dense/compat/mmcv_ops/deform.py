"""Deformable convolutions (Dai et al., 2017; with a mask: Zhu et al., 2019), by torchvision.

``input`` is B x C x H x W, ``weight`` C_out x C / groups x kH x kW, ``offset`` B x groups*kH*kW*2 x H_out x W_out,
(y, x) in pixels, ``mask`` B x groups*kH*kW x H_out x W_out. The buffers ``columns`` and ``ones`` are not used.
Gradients are autograd's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from swinv2_dense.compat.mmcv_ops.precision import computable

__all__ = [
    "deform_conv_backward_input",
    "deform_conv_backward_parameters",
    "deform_conv_forward",
    "modulated_deform_conv_backward",
    "modulated_deform_conv_forward",
]


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """``output`` gets B x C_out x H_out x W_out."""
    output.copy_(_convolve(input, offset, weight, None, None, (dH, dW), (padH, padW), (dilationH, dilationW)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradInput: Tensor,
    gradOffset: Tensor,
    weight: Tensor,
    columns: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Adds the gradients of input and offsets to ``gradInput`` and ``gradOffset``."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    inputs = input.detach().requires_grad_(), offset.detach().requires_grad_()
    with torch.enable_grad():
        output = _convolve(*inputs, weight.detach(), None, None, *geometry)
    for total, gradient in zip(
        (gradInput, gradOffset), torch.autograd.grad(output, inputs, gradOutput.type_as(output)), strict=True
    ):
        total += gradient


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    gradOutput: Tensor,
    gradWeight: Tensor,
    columns: Tensor,
    ones: Tensor,
    *,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Adds ``scale`` times the gradient of the weight to ``gradWeight``, which depends on no weight."""
    geometry = (dH, dW), (padH, padW), (dilationH, dilationW)
    weight = torch.zeros_like(gradWeight).requires_grad_()
    with torch.enable_grad():
        output = _convolve(input.detach(), offset.detach(), weight, None, None, *geometry)
    (gradient,) = torch.autograd.grad(output, weight, gradOutput.type_as(output))
    gradWeight.add_(gradient, alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """``output`` gets B x C_out x H_out x W_out."""
    geometry = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    output.copy_(_convolve(input, offset, weight, bias if with_bias else None, mask, *geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    *,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Adds the gradients to the five ``grad_*``."""
    geometry = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
    totals = [grad_input, grad_offset, grad_weight, grad_mask] + [grad_bias] * with_bias
    leaf = [t.detach().requires_grad_() for t in (input, offset, weight, mask, bias)[: len(totals)]]
    with torch.enable_grad():
        output = _convolve(leaf[0], leaf[1], leaf[2], leaf[4] if with_bias else None, leaf[3], *geometry)
    for total, gradient in zip(totals, torch.autograd.grad(output, leaf, grad_output.type_as(output)), strict=True):
        total += gradient


def _convolve(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """torchvision finds both numbers of groups from the shapes. Its result has the precision that it computes in."""
    input, offset, weight = (computable(t) for t in (input, offset, weight))
    bias, mask = (None if t is None else computable(t) for t in (bias, mask))
    return deform_conv2d(input, offset, weight, bias, stride, padding, dilation, mask)
