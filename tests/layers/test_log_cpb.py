"""Log-CPB: equations 3 and 4 by loops, the expansion of the table, a cache that follows every change of a weight."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from swinv2_dense.layers import LogCPB, expand_bias
from swinv2_dense.layers.log_cpb import log_coordinates


@pytest.mark.parametrize(
    ("window", "pretrained"), [((4, 4), (4, 4)), ((3, 5), (7, 7)), ((2, 3, 4), (2, 7, 7)), ((5,), (1,))]
)
def test_coordinates_are_equation_4(window: tuple[int, ...], pretrained: tuple[int, ...]) -> None:
    table = log_coordinates(window, pretrained)
    for offset in product(*(range(1 - w, w) for w in window)):
        for axis, (delta, w_pre) in enumerate(zip(offset, pretrained)):
            t = 8 * delta / max(w_pre - 1, 1)
            expected = math.copysign(math.log2(1 + abs(t)) / math.log2(8), t)
            index = tuple(d + w - 1 for d, w in zip(offset, window))
            assert table[index][axis].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("window", "shape"), [((4, 4), (4, 4)), ((4, 5), (2, 5)), ((3, 4, 5), (3, 2, 4)), ((6,), (1,))]
)
def test_expansion_reads_the_table_at_every_offset(window: tuple[int, ...], shape: tuple[int, ...]) -> None:
    table = torch.randn(2, *(2 * w - 1 for w in window), dtype=torch.float64)
    bias = expand_bias(table, shape)
    tokens = list(product(*map(range, shape)))
    for (i, p), (j, q) in product(enumerate(tokens), enumerate(tokens)):
        index = tuple(a - b + w - 1 for a, b, w in zip(p, q, window))
        assert torch.equal(bias[:, i, j], table[(slice(None), *index)])


def test_bias_lies_between_0_and_16_and_is_float32_under_autocast() -> None:
    cpb = LogCPB(3, (8, 8))
    with torch.autocast("cpu", torch.bfloat16):
        table = cpb((8, 8))
    assert table.shape == (3, 15, 15)
    assert table.dtype == torch.float32
    assert torch.equal(table, cpb((8, 8)))
    assert table.min() > 0 and table.max() < 16


@torch.no_grad()
def _optimizer_step(cpb: LogCPB) -> None:
    with torch.enable_grad():
        optimizer = torch.optim.SGD(cpb.parameters(), lr=1.0)
        cpb((3, 3)).sum().backward()
        optimizer.step()


def _in_place(cpb: LogCPB) -> None:
    with torch.no_grad():
        cpb[2].weight.mul_(2)


def _ema_swap(cpb: LogCPB) -> None:
    cpb[0].weight.data.copy_(torch.randn_like(cpb[0].weight))


def _load(cpb: LogCPB) -> None:
    cpb.load_state_dict({k: v + 1 for k, v in cpb.state_dict().items()})


def _pretrained(cpb: LogCPB) -> None:
    cpb.pretrained_window = (9, 9)


CHANGES: list[Callable[[LogCPB], object]] = [
    _optimizer_step,
    _in_place,
    _ema_swap,
    _load,
    _pretrained,
    LogCPB.double,
    LogCPB.bfloat16,
]


@pytest.mark.parametrize("change", CHANGES)
def test_eval_computes_once_and_again_after_a_change(change: Callable[[LogCPB], object]) -> None:
    cpb = LogCPB(2, (3, 3)).eval()
    calls: list[object] = []
    cpb.register_forward_hook(lambda *_: calls.append(1))

    def table() -> Tensor:
        with torch.no_grad():
            return cpb.table((3, 3))

    before = table()
    assert torch.equal(table(), before) and len(calls) == 1
    change(cpb)
    calls.clear()
    after = table()
    assert len(calls) == 1
    assert torch.equal(after, cpb((3, 3)))
    assert not torch.equal(after.double(), before.double()) or change is LogCPB.double


def test_a_copy_has_a_table_of_its_own() -> None:
    cpb = LogCPB(2, (3, 3)).eval()
    with torch.no_grad():
        before = cpb.table((3, 3)).clone()
        other = copy.deepcopy(cpb)
        other[2].weight.add_(1)
        assert not torch.equal(other.table((3, 3)), before)
        assert torch.equal(cpb.table((3, 3)), before)


def test_eval_with_gradients_still_reaches_the_weights() -> None:
    cpb = LogCPB(2, (3, 3)).eval()
    cpb.table((3, 3)).sum().backward()
    assert cpb[0].weight.grad is not None


def test_larger_window_continues_the_smaller_ones_table() -> None:
    cpb = LogCPB(2, (8, 8))
    assert torch.allclose(cpb((12, 12))[:, 4:-4, 4:-4], cpb((8, 8)))
