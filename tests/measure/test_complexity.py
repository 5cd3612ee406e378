"""The counter against the authors' published figures (their table counts attention products, in multiply-adds)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swinv2_dense.measure.complexity import complexity
from swinv2_dense.models import SwinTransformerV2


@pytest.mark.parametrize(
    ("arch", "side", "window", "giga"),
    [("t", 256, 8, 5.9), ("t", 256, 16, 6.6), ("s", 256, 8, 11.5), ("b", 256, 16, 21.8), ("l", 384, 24, 115.4)],
)
def test_backbones_do_what_the_authors_table_says(arch: str, side: int, window: int, giga: float) -> None:
    counted = complexity(lambda: SwinTransformerV2(arch, window_size=window, out_indices=(3,)), 1, 3, side, side)
    assert counted.flops / 2e9 == pytest.approx(giga, rel=0.01)


def test_a_multiply_add_is_two_operations() -> None:
    assert complexity(lambda: nn.Linear(10, 20, bias=False), 3, 10).flops == 2 * 3 * 10 * 20
    assert complexity(lambda: nn.Linear(10, 20), 3, 10).parameters == 220
    assert torch.empty(0).device.type == "cpu"
