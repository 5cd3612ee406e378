"""Multi-scale deformable attention (Zhu et al., 2021), by mmcv's own formula in torch, a part of the queries at a time.

mmcv itself takes that formula on the CPU; on a GPU it calls these. The backward computes the formula again instead of
keeping what was sampled.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from swinv2_dense.compat.mmcv_ops.precision import computable

__all__ = ["ms_deform_attn_backward", "ms_deform_attn_forward"]

PART = 2**26
"""Numbers sampled at a time: 256 MiB in float32, of which the formula holds a few copies."""


def ms_deform_attn_forward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """B x queries x heads*C.

    Args:
        value: B x tokens x heads x C, the maps of all levels one after the other.
        value_spatial_shapes: levels x 2, (h, w).
        sampling_locations: B x queries x heads x levels x points x 2, (x, y) of 0 .. 1.
        attention_weights: B x queries x heads x levels x points.
    """
    shapes = value_spatial_shapes.tolist()
    parts = _parts(value, sampling_locations)
    return torch.cat([_formula(value, shapes, sampling_locations[:, p], attention_weights[:, p]) for p in parts], 1)


def ms_deform_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Adds the gradients to the three ``grad_*``, which have the shapes of what they belong to."""
    shapes = value_spatial_shapes.tolist()
    for part in _parts(value, sampling_locations):
        inputs = [t.detach().requires_grad_() for t in (value, sampling_locations[:, part], attention_weights[:, part])]
        with torch.enable_grad():
            output = _formula(inputs[0], shapes, *inputs[1:])
        gradients = torch.autograd.grad(output, inputs, grad_output[:, part])
        for total, gradient in zip(
            (grad_value, grad_sampling_loc[:, part], grad_attn_weight[:, part]), gradients, strict=True
        ):
            total += gradient


def _formula(value: Tensor, shapes: list[list[int]], locations: Tensor, weights: Tensor) -> Tensor:
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    output = multi_scale_deformable_attn_pytorch(computable(value), shapes, computable(locations), computable(weights))
    return output.type_as(value)


def _parts(value: Tensor, locations: Tensor) -> Iterator[slice]:
    """Slices of the queries of which each samples at most ``PART`` numbers."""
    queries = locations.shape[1]
    per_query = max(1, locations.numel() // 2 // max(1, queries) * value.shape[-1])
    step = max(1, PART // per_query)
    return (slice(start, start + step) for start in range(0, max(1, queries), step))
