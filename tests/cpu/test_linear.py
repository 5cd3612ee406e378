"""The kernel of linear layers, and what it takes along, against torch's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swinv2_dense.cpu import linear as module
from swinv2_dense.cpu.linear import linear
from swinv2_dense.layers import apply_linear
from tests.cpu.one_layer import one_layer

# Tokens, inputs, outputs: less than a tile, several with a rest, more outputs than tokens, more weights than a panel.
SIZES = [(1, 1, 1), (5, 7, 9), (64, 32, 32), (200, 17, 31), (7, 64, 200), (35, 4500, 70), (90, 4500, 70)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Of the kernel."""
    calls: list[object] = []
    made = module.layer_of
    monkeypatch.setattr(module, "layer_of", lambda *args: calls.append(args) or made(*args))
    return calls


@pytest.fixture(params=[1, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SIZES)
@pytest.mark.kernels
def test_equals_torchs(tokens: int, inputs: int, outputs: int, bias: bool, calls: list[object]) -> None:
    layer, x = nn.Linear(inputs, outputs, bias=bias), torch.randn(tokens, inputs, requires_grad=True)
    in_double = [None if t is None else t.double() for t in (x, layer.weight, layer.bias)]
    out, expected = apply_linear(layer, x), F.linear(*in_double)  # type: ignore[arg-type]
    torch.testing.assert_close(out, expected.float(), rtol=1e-5, atol=1e-5)
    wanted, grad = (x, *layer.parameters()), torch.randn_like(out)
    for a, b in zip(torch.autograd.grad(out, wanted, grad), torch.autograd.grad(expected, wanted, grad.double())):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    assert len(calls) == 1


@pytest.mark.parametrize("shape", [(5,), (2, 7, 5), (2, 3, 4, 5), (0, 4, 5)])
def test_any_number_of_axes_in_any_order_of_memory(shape: tuple[int, ...]) -> None:
    layer = nn.Linear(5, 6)
    for x in (torch.randn(shape), torch.randn(shape[::-1]).permute(*reversed(range(len(shape))))):
        x.requires_grad_()
        out, expected = apply_linear(layer, x), F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(out, expected)
        inputs, grad = (x, *layer.parameters()), torch.randn_like(expected)
        for a, b in zip(torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad)):
            torch.testing.assert_close(a, b)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize(("tokens", "inputs", "outputs"), SIZES)
@torch.no_grad()
@pytest.mark.kernels
def test_what_follows_equals_torchs(tokens: int, inputs: int, outputs: int) -> None:
    layer, norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs, eps=1e-3)
    for p in norm.parameters():
        nn.init.normal_(p)
    x, residual = torch.randn(tokens, inputs), torch.randn(tokens, outputs)
    y = F.linear(x, layer.weight, layer.bias)
    out = one_layer(x, layer.weight, layer.bias, gelu=True)
    torch.testing.assert_close(out, F.gelu(y), rtol=1e-5, atol=2e-6)
    out = one_layer(x, layer.weight, layer.bias, norm=norm, residual=residual)
    torch.testing.assert_close(out, norm(y) + residual, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.kernels
def test_operands_in_any_order_of_memory(calls: list[object]) -> None:
    x, weight, bias = torch.randn(5, 9).T, torch.randn(5, 6).T, torch.zeros(1).expand(6)
    torch.testing.assert_close(linear(x, weight, bias), F.linear(x, weight, bias))
    assert len(calls) == 1


@torch.no_grad()
@pytest.mark.kernels
def test_gelu_everywhere() -> None:
    x = torch.cat([torch.linspace(-12, 12, 100_001), torch.tensor([1e30, -1e30, torch.inf, -torch.inf])])
    out = one_layer(x[:, None], torch.ones(1, 1), gelu=True)[:, 0]
    torch.testing.assert_close(out, F.gelu(x.double()).float(), rtol=3e-7, atol=1e-6, equal_nan=True)
    assert one_layer(torch.full((1, 1), torch.nan), torch.ones(1, 1), gelu=True).isnan().all()


def test_other_dtypes_and_autocast_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_linear", lambda *_: pytest.fail("by the kernel"))
    assert apply_linear(nn.Linear(5, 6).double(), torch.randn(3, 5).double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert apply_linear(nn.Linear(5, 6), torch.randn(3, 5)).dtype == torch.bfloat16


@pytest.mark.kernels
def test_operands_that_do_not_fit_are_errors() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        apply_linear(nn.Linear(5, 6), torch.randn(3, 4))
    with pytest.raises(RuntimeError, match="expand"):
        linear(torch.randn(3, 5), torch.randn(6, 5), torch.randn(7))
    x, weight, bias = torch.randn(3, 5), torch.randn(6, 5), torch.randn(6)
    for operands in (
        (x[:, :4].contiguous(), weight, bias),
        (x.T.contiguous().T, weight, bias),
        (x.double(), weight, bias),
        (x, weight.double(), bias),
        (x, weight.bfloat16(), bias),
        (x, weight.T.contiguous().T, bias),
        (x, weight, bias[:5]),
        (x, weight, bias.double()),
        (x, weight, bias.repeat(2)[::2]),
    ):
        with pytest.raises(ValueError, match="contiguous float32 that fits"):
            torch.ops.swinv2_dense.linear(*operands)


@pytest.mark.kernels
def test_the_operator_is_as_torch_wants_it() -> None:
    operands = (torch.randn(shape, requires_grad=True) for shape in ((2, 4, 5), (6, 5), (6,)))
    torch.library.opcheck(torch.ops.swinv2_dense.linear, tuple(operands))


def test_the_counter_of_operations_sees_the_kernel() -> None:
    counts = []
    for call in (apply_linear, nn.Linear.__call__):
        with FlopCounterMode(display=False) as counter:
            call(nn.Linear(5, 6), torch.randn(3, 7, 5, requires_grad=True)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] == 3 * 2 * 3 * 7 * 5 * 6


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs"), [(1, 2, 1), (64, 32, 32), (7, 64, 200), (35, 4500, 70), (90, 46, 70)]
)
@torch.no_grad()
@pytest.mark.kernels
def test_products_of_bfloat16(tokens: int, inputs: int, outputs: int, dtype: torch.dtype, weights: torch.dtype) -> None:
    x, weight, bias = (
        torch.randn(tokens, inputs).to(dtype),
        torch.randn(outputs, inputs).to(weights),
        torch.randn(outputs),
    )
    norm, residual = nn.LayerNorm(outputs), torch.randn(tokens, outputs)
    for p in norm.parameters():
        nn.init.normal_(p)
    # what remains are sums of float32, and the result's rounding
    y = F.linear(x.bfloat16().double(), weight.bfloat16().double(), bias.double())
    scale = y.square().mean().sqrt().item()
    for gelu in (False, True):
        out = one_layer(x, weight, bias, gelu=gelu, pairs=True, dtype=torch.bfloat16)
        expected = (F.gelu(y) if gelu else y).float()
        torch.testing.assert_close(out, expected.bfloat16(), rtol=2**-7, atol=1e-5 * scale)
    out = one_layer(x, weight, bias, norm=norm, residual=residual, pairs=True)
    if outputs > 1:
        torch.testing.assert_close(out.double(), norm.double()(y) + residual, rtol=1e-4, atol=1e-4)
