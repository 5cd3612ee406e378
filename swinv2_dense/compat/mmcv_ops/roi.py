"""Regions of interest pooled from maps, by torchvision, and on CPUs by a kernel of ours, ten times as fast.

``input`` is B x C x H x W, ``rois`` N x 5, (index of the image, x1, y1, x2, y2) in pixels, of which ``spatial_scale``
makes those of the map; outputs are N x C x height x width.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torchvision
from torch import Tensor

from swinv2_dense.compat.mmcv_ops.precision import computable
from swinv2_dense.cpu import roi_align as cpu

__all__ = ["roi_align_backward", "roi_align_forward", "roi_pool_backward", "roi_pool_forward"]

MAXIMUM = 0
"""``pool_mode`` of RoIAlign that takes the maximum of a bin's samples; 1 takes their mean."""


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """``output`` gets the mean or the maximum of each bin's samples; for the maximum, ``argmax_*`` (of the output's
    shape) get its row and column among the bin's samples."""
    maps, boxes = computable(input), rois.type_as(computable(input))
    if pool_mode != MAXIMUM:
        size = aligned_height, aligned_width
        if output.dtype == torch.float32 and cpu.kernel_takes(maps, boxes):
            cpu.roi_align(maps, boxes, size, spatial_scale, sampling_ratio, aligned, output)
        else:
            output.copy_(torchvision.ops.roi_align(maps, boxes, size, spatial_scale, sampling_ratio, aligned))
        return
    for which, rows, columns in _grids(boxes, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned):
        # each sample a bin of its own: N x C x height*rows x width*columns
        size = aligned_height * rows, aligned_width * columns
        samples = torchvision.ops.roi_align(maps, boxes[which], size, spatial_scale, 1, aligned)
        # N x C x height x width x rows*columns
        samples = samples.unflatten(3, (aligned_width, columns)).unflatten(2, (aligned_height, rows))
        best, where = samples.transpose(3, 4).flatten(4).max(-1)
        output[which] = best.type_as(output)
        argmax_y[which] = (where // columns).type_as(argmax_y)
        argmax_x[which] = (where % columns).type_as(argmax_x)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Adds the gradient of the maps to ``grad_input``, B x C x H x W."""
    grad, boxes = computable(grad_output), rois.type_as(computable(grad_output))

    def to_maps(grad: Tensor, boxes: Tensor, height: int, width: int, ratio: int) -> Tensor:
        return torch.ops.torchvision._roi_align_backward(
            grad, boxes, spatial_scale, height, width, *grad_input.shape, ratio, aligned
        )

    if pool_mode != MAXIMUM and cpu.kernel_takes(grad, boxes):
        if grad_input.dtype == torch.float32 and grad_input.is_contiguous() and not grad_input.any():
            # mmcv's zeros: the same memory, channels last, is zero too, and is how convolutions want their gradients
            strides = grad_input[:0].contiguous(memory_format=torch.channels_last).stride()
            grad_input.set_(grad_input.untyped_storage(), grad_input.storage_offset(), grad_input.shape, strides)
            maps = grad_input
        else:
            maps = torch.zeros(grad_input.shape).contiguous(memory_format=torch.channels_last)
        cpu.roi_align_backward(grad, boxes, maps, spatial_scale, sampling_ratio, aligned)
        if maps is not grad_input:
            grad_input += maps
        return
    if pool_mode != MAXIMUM:
        grad_input += to_maps(grad, boxes, aligned_height, aligned_width, sampling_ratio)
        return
    for which, rows, columns in _grids(boxes, aligned_height, aligned_width, spatial_scale, sampling_ratio, aligned):
        where = (argmax_y[which] * columns + argmax_x[which]).long()[..., None]
        samples = grad.new_zeros(*where.shape[:-1], rows * columns).scatter_(-1, where, grad[which][..., None])
        samples = samples.unflatten(-1, (rows, columns)).transpose(3, 4).flatten(4).flatten(2, 3)
        grad_input += to_maps(samples, boxes[which], aligned_height * rows, aligned_width * columns, 1)


def _grids(
    boxes: Tensor, height: int, width: int, spatial_scale: float, sampling_ratio: int, aligned: bool
) -> Iterator[tuple[Tensor, int, int]]:
    """The RoIs whose bins have equally many rows and columns of samples, and how many these are."""
    extent = (boxes[:, 3:] - boxes[:, 1:3]).flip(1) * spatial_scale  # N x (height, width)
    if not aligned:
        extent = extent.clamp(min=1)
    samples = (extent / extent.new_tensor([height, width])).ceil().clamp(min=1).long()
    if sampling_ratio > 0:
        samples.fill_(sampling_ratio)
    for rows, columns in samples.unique(dim=0).tolist():
        yield ((samples[:, 0] == rows) & (samples[:, 1] == columns)).nonzero()[:, 0], rows, columns


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """``output`` gets the maximum of each bin, 0 where a bin is empty, and ``argmax`` its place in the map, or -1.

    Not torchvision's RoIPool, which rounds a RoI to whole pixels first. Slow: a few operations per bin row and column.
    """
    maps = computable(input)
    height, width = maps.shape[2:]
    images, (x1, y1, x2, y2) = rois[:, 0].long().tolist(), rois[:, 1:].type_as(maps).unbind(1)
    rows = _edges(y1 * spatial_scale, (y2 + 1) * spatial_scale, pooled_height, height)
    columns = _edges(x1 * spatial_scale, (x2 + 1) * spatial_scale, pooled_width, width)
    output.zero_()
    argmax.fill_(-1)
    for n, image in enumerate(images):
        # columns first, so that among equals the first by rows remains, as in mmcv
        for j, (left, right) in enumerate(columns[n]):
            if left >= right:
                continue
            of_rows, column = maps[image, :, :, left:right].max(-1)  # C x H
            for i, (top, bottom) in enumerate(rows[n]):
                if top < bottom:
                    best, row = of_rows[:, top:bottom].max(-1)
                    row += top
                    output[n, :, i, j] = best.type_as(output)
                    argmax[n, :, i, j] = (row * width + left + column.gather(1, row[:, None])[:, 0]).type_as(argmax)


def _edges(start: Tensor, end: Tensor, bins: int, limit: int) -> list[list[tuple[int, int]]]:
    """Of every RoI the first pixel of each bin, and the one after its last."""
    size = ((end - start) / bins)[:, None]
    k = torch.arange(bins + 1, device=start.device)
    edges = k * size + start[:, None]
    first, last = (t.clamp(0, limit).long() for t in (edges[:, :-1].floor(), edges[:, 1:].ceil()))
    return torch.stack([first, last.where(size > 0, first)], -1).tolist()


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Adds the gradient of the maps to ``grad_input``, B x C x H x W."""
    _, channels, height, width = grad_input.shape
    # N x C x 1 x 1: where the map that a RoI is pooled from begins
    channel = torch.arange(channels, device=rois.device)
    start = ((rois[:, :1].long() * channels + channel) * height * width)[..., None, None]
    pooled = argmax >= 0
    grad_input.view(-1).index_add_(0, (start + argmax)[pooled], grad_output.type_as(grad_input)[pooled])
