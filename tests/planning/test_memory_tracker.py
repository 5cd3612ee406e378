"""Storages counted once, from when they are made until they are freed, gradients apart."""

from __future__ import annotations

import torch
from torch import nn

from swinv2_dense.planning.memory_tracker import MemoryTracker, Moment

KIB = 1024


class Attention(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def test_views_are_counted_once_and_freed_tensors_no_more() -> None:
    with MemoryTracker(nn.Module()) as live:
        a = torch.zeros(KIB // 4)
        b = a.view(2, -1)[0]
        assert live.now == Moment(activations=KIB)
        del a
        assert live.now.activations == KIB
        c = b + 1
        assert live.now.activations == KIB + KIB // 2
        del b, c
        assert live.now.activations == 0
    assert [m.activations for m in live.moments] == [KIB + KIB // 2]


def test_gradients_are_told_from_activations_and_weights_are_not_counted() -> None:
    model = nn.Linear(16, 16, bias=False)
    x = torch.ones(16, 16)
    with MemoryTracker(model) as live:
        loss = model(x).sum()
        loss.backward()
        del loss
        assert live.now == Moment(gradients=KIB)
    # once before the gradient is there, once after
    assert sorted(m.gradients for m in live.moments) == [0, KIB]


def test_what_attention_makes_is_told_from_the_rest() -> None:
    model = nn.Sequential(nn.Linear(16, 16, bias=False), Attention())
    with MemoryTracker(model, (Attention,)) as live:
        kept = model(torch.ones(16, 16))
        assert live.now.attention == KIB
        assert live.now.activations > KIB
        del kept
    assert live.now.attention == 0
