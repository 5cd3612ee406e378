"""Log-CPB: equations 3 and 4 by loops, the expansion of the table, a cache that follows every change of a weight."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
def test_eval_computes_once_and_again_after_a_change(
    change: Callable[[LogCPB], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    cpb = LogCPB(2, (3, 3)).eval()
    calls: list[object] = []
    forward = LogCPB.forward
    monkeypatch.setattr(LogCPB, "forward", lambda self, window: calls.append(1) or forward(self, window))

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


def test_windows_that_take_turns_are_computed_once_and_few_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cpb = LogCPB(2, (3, 3)).eval()
    windows = [(n, 3) for n in range(1, 12)]
    with torch.no_grad():
        first = [cpb.table(window) for window in windows[:4]]
        assert all(cpb.table(window) is table for window, table in zip(windows, first))
        for window in windows:
            assert torch.equal(cpb.table(window), cpb(window))
    assert cpb._cached is not None and len(cpb._cached.tables) == 8


def test_a_table_of_inference_mode_serves_a_later_backward_pass() -> None:
    cpb = LogCPB(2, (3, 3)).eval().requires_grad_(False)
    with torch.inference_mode():
        table = cpb.table((3, 3))
    assert not table.is_inference()
    x = torch.randn(2, 5, 5, requires_grad=True)
    (cpb.table((3, 3)) * x).sum().backward()
    with torch.inference_mode():
        own = LogCPB(2, (3, 3)).eval()
        assert torch.equal(own.table((3, 3)), own((3, 3)))


def test_a_table_of_fake_tensors_is_not_kept() -> None:
    from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

    cpb = LogCPB(2, (3, 3)).eval()
    with torch.no_grad():
        for _ in range(2):  # without a real table beforehand and with one
            with FakeTensorMode(allow_non_fake_inputs=True):
                assert isinstance(cpb.table((3, 3)), FakeTensor)
            assert torch.equal(cpb.table((3, 3)), cpb((3, 3)))


def test_tables_of_transforms_are_not_kept() -> None:
    """Tangents and batches of weights are in the table, and nothing of them afterwards."""
    cpb = LogCPB(2, (3, 3)).eval().requires_grad_(False)
    weights = {name: p.detach() for name, p in cpb.named_parameters()}
    tangents = {name: torch.randn_like(p) for name, p in weights.items()}

    class Table(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cpb = cpb

        def forward(self, cached: bool) -> Tensor:
            return self.cpb.table((3, 3)) if cached else self.cpb((3, 3))

    def table(cached: bool, of: dict[str, Tensor]) -> Tensor:
        return torch.func.functional_call(Table(), {f"cpb.{name}": p for name, p in of.items()}, (cached,))

    before = cpb.table((3, 3))
    found, expected = (torch.func.jvp(partial(table, cached), (weights,), (tangents,)) for cached in (True, False))
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found[0], before)
    assert found[1].norm() > 0
    stacked = {name: torch.stack([p, p + 1]) for name, p in weights.items()}
    batched = torch.func.vmap(lambda of: table(True, of))(stacked)
    torch.testing.assert_close(batched[0], before)
    assert not torch.allclose(batched[1], before)
    assert cpb.table((3, 3)) is before


@pytest.mark.parametrize("name", ["", "0", "1", "2"])
def test_hooks_see_every_call(name: str) -> None:
    cpb, calls = LogCPB(2, (3, 3)).eval(), []
    with torch.no_grad():
        before = cpb.table((3, 3))
        cpb.get_submodule(name).register_forward_hook(lambda *args: calls.append(1) or args[-1] + 1)
        for n in (1, 2):
            assert not torch.equal(cpb.table((3, 3)), before)
            assert len(calls) == n


def test_a_hook_that_only_looks_changes_nothing_in_half_precision() -> None:
    cpb = LogCPB(2, (8, 8)).bfloat16()
    before = cpb((8, 8))
    cpb[0].register_forward_hook(lambda *_: None)
    assert torch.equal(cpb((8, 8)), before)


@pytest.mark.parametrize(
    "change",
    [
        lambda cpb: cpb.insert(2, torch.nn.Dropout(0.0)),
        lambda cpb: torch.nn.utils.parametrizations.weight_norm(cpb[0]),
        lambda cpb: cpb.__setitem__(2, torch.nn.Sequential(cpb[2], torch.nn.Identity())),
    ],
)
def test_replaced_layers_take_part(change: Callable[[LogCPB], object]) -> None:
    cpb = LogCPB(2, (3, 3))
    before = cpb((3, 3))
    change(cpb)
    torch.testing.assert_close(cpb((3, 3)), before)
    with torch.no_grad():
        cpb.eval().table((3, 3))
        for p in cpb.parameters():
            p.mul_(2)
        assert torch.equal(cpb.table((3, 3)), cpb((3, 3)))
        assert not torch.allclose(cpb.table((3, 3)), before)


def test_threads_with_maps_of_two_sizes_get_their_own_table() -> None:
    cpb = LogCPB(2, (8, 8)).eval()
    with torch.no_grad():
        expected = {n: cpb((n, n)) for n in (3, 5, 8)}

    def ask(n: int) -> bool:
        with torch.no_grad():
            return all(torch.equal(cpb.table((n, n)), expected[n]) for _ in range(200))

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as pool:
            assert all(pool.map(ask, (3, 5, 8, 3, 5, 8)))
    finally:
        sys.setswitchinterval(interval)
