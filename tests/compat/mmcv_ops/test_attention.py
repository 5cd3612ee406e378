"""Multi-scale deformable attention, forward and backward, against a loop over samples, whole and in parts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

import swinv2_dense  # noqa: F401  offers the operators

pytest.importorskip("mmcv", reason="needs mmcv")

from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction

from swinv2_dense.compat.mmcv_ops import attention

SHAPES = [(4, 6), (2, 3)]


def by_loops(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """B x queries x heads*C. Samples between four pixels, zero outside the map."""
    batch, queries, heads, _, points, _ = locations.shape
    out = []
    for b, q, h in ((b, q, h) for b in range(batch) for q in range(queries) for h in range(heads)):
        total = value.new_zeros(value.shape[-1])
        start = 0
        for level, (height, width) in enumerate(SHAPES):
            tokens = value[b, start : start + height * width, h].view(height, width, -1)
            start += height * width
            for p in range(points):
                x, y = locations[b, q, h, level, p] * torch.tensor([width, height]) - 0.5
                left, top = math.floor(x.item()), math.floor(y.item())
                for i, j in ((top, left), (top, left + 1), (top + 1, left), (top + 1, left + 1)):
                    if 0 <= i < height and 0 <= j < width:
                        share = (1 - (y - i).abs()) * (1 - (x - j).abs())
                        total = total + weights[b, q, h, level, p] * share * tokens[i, j]
        out.append(total)
    return torch.stack(out).view(batch, queries, -1)


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    tokens = sum(height * width for height, width in SHAPES)
    value = torch.randn(2, tokens, 2, 3, dtype=torch.float64)
    locations = torch.rand(2, 5, 2, 2, 3, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.randn(2, 5, 2, 6, dtype=torch.float64).softmax(-1).unflatten(-1, (2, 3))
    return value.requires_grad_(), locations.requires_grad_(), weights.requires_grad_()


def attend(value: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """As mmcv's module does on a GPU."""
    starts = torch.tensor([0, SHAPES[0][0] * SHAPES[0][1]])
    return MultiScaleDeformableAttnFunction.apply(value, torch.tensor(SHAPES), starts, locations, weights, 64)


@pytest.mark.parametrize("part", [1, 80, attention.PART])
def test_attention(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "PART", part)
    tensors = inputs()
    out, expected = attend(*tensors), by_loops(*tensors)
    torch.testing.assert_close(out, expected)
    grad = torch.randn_like(out)
    torch.testing.assert_close(*(torch.autograd.grad(t, tensors, grad) for t in (out, expected)))


def test_few_bits_are_computed_in_float32() -> None:
    value, locations, weights = inputs()
    few = value.detach().bfloat16().requires_grad_()
    out = attend(few, locations, weights)
    expected = attend(few.float(), locations.bfloat16().float(), weights.bfloat16().float())
    assert torch.equal(out, expected.bfloat16())
    assert torch.autograd.grad(out.sum(), few)[0].dtype == torch.bfloat16


def test_no_queries() -> None:
    value, locations, weights = inputs()
    assert attend(value, locations[:, :0], weights[:, :0]).shape == (2, 0, 6)
