"""The kernel of linear layers, and what it takes along, against torch's own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from swinv2_dense.cpu import linear as module
from swinv2_dense.cpu.linear import fused_linear, linear
from swinv2_dense.layers import apply_linear

# Tokens, inputs, outputs: less than a tile, several with a rest, more outputs than tokens, more weights than a panel.
SIZES = [(1, 1, 1), (5, 7, 9), (64, 32, 32), (200, 17, 31), (7, 64, 200), (35, 4500, 70), (90, 4500, 70)]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Of the kernel."""
    calls: list[object] = []
    kernel = module._compute
    monkeypatch.setattr(module, "_compute", lambda *args: calls.append(args) or kernel(*args))
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
def test_what_follows_equals_torchs(tokens: int, inputs: int, outputs: int, calls: list[object]) -> None:
    layer, norm = nn.Linear(inputs, outputs), nn.LayerNorm(outputs, eps=1e-3)
    for p in norm.parameters():
        nn.init.normal_(p)
    x, residual = torch.randn(tokens, inputs), torch.randn(tokens, outputs)
    y = F.linear(x, layer.weight, layer.bias)
    out = fused_linear(x, layer.weight, layer.bias, gelu=True)
    torch.testing.assert_close(out, F.gelu(y), rtol=1e-5, atol=2e-6)
    out = fused_linear(x, layer.weight, layer.bias, norm=norm, residual=residual)
    torch.testing.assert_close(out, norm(y) + residual, rtol=1e-4, atol=1e-4)
    assert len(calls) == 2


@torch.no_grad()
@pytest.mark.kernels
def test_operands_in_any_order_of_memory(calls: list[object]) -> None:
    x, weight, norm = torch.randn(9, 5), torch.randn(5, 6).T, nn.LayerNorm(6)
    bias, residual = torch.zeros(1).expand(6), torch.randn(6, 9).T
    out = fused_linear(x, weight, bias, norm=norm, residual=residual)
    torch.testing.assert_close(out, norm(F.linear(x, weight, bias)) + residual)
    assert len(calls) == 1


@pytest.mark.kernels
def test_gelu_everywhere() -> None:
    x = torch.cat([torch.linspace(-12, 12, 100_001), torch.tensor([1e30, -1e30, torch.inf, -torch.inf])])
    out = fused_linear(x[:, None], torch.ones(1, 1), gelu=True)[:, 0]
    torch.testing.assert_close(out, F.gelu(x.double()).float(), rtol=3e-7, atol=1e-6, equal_nan=True)
    assert fused_linear(torch.full((1, 1), torch.nan), torch.ones(1, 1), gelu=True).isnan().all()


@pytest.mark.parametrize(
    "norm", [nn.LayerNorm(6, elementwise_affine=False), nn.LayerNorm(6, bias=False), nn.LayerNorm(6)]
)
@torch.no_grad()
@pytest.mark.kernels
def test_norms_without_weights_and_without_residual(norm: nn.LayerNorm) -> None:
    x, weight, residual = torch.randn(9, 5), torch.randn(6, 5), torch.randn(9, 6)
    torch.testing.assert_close(fused_linear(x, weight, norm=norm), norm(F.linear(x, weight)))
    torch.testing.assert_close(
        fused_linear(x, weight, norm=norm, residual=residual), norm(F.linear(x, weight)) + residual
    )
    torch.testing.assert_close(fused_linear(x, weight, residual=residual), F.linear(x, weight) + residual)


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
    x, weight, norm = torch.randn(3, 5), torch.randn(6, 5), torch.randn(6)
    y = torch.empty(3, 6)
    for wrong in (torch.randn(3, 7), torch.randn(6, 3).T, torch.randn(3, 6).double(), None):
        with pytest.raises(ValueError, match="fit each other"):
            torch.ops.swinv2_dense.linear_into(y, x, weight, None, False, norm, norm, 1e-5, wrong, False)


@pytest.mark.kernels
def test_the_operator_is_as_torch_wants_it() -> None:
    x, weight, bias = (torch.randn(shape, requires_grad=True) for shape in ((2, 4, 5), (6, 5), (6,)))
    torch.library.opcheck(torch.ops.swinv2_dense.linear, (x, weight, bias))
    x, weight, bias, y = x.detach(), weight.detach(), bias.detach(), torch.empty(2, 4, 6)
    into = torch.ops.swinv2_dense.linear_into
    torch.library.opcheck(into, (y, x, weight, None, True, None, None, 0.0, None, False))
    torch.library.opcheck(into, (y, x, weight, bias, False, bias, bias, 1e-5, torch.randn(2, 4, 6), False))


def test_the_counter_of_operations_sees_the_kernel() -> None:
    counts = []
    for call in (apply_linear, nn.Linear.__call__):
        with FlopCounterMode(display=False) as counter:
            call(nn.Linear(5, 6), torch.randn(3, 7, 5, requires_grad=True)).sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] == 3 * 2 * 3 * 7 * 5 * 6


@pytest.fixture(params=[True, False])
def faster(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the processor gains by products of bfloat16. It may not; those are computed all the same."""
    monkeypatch.setattr(module, "bfloat16_is_faster", lambda: request.param)
    return bool(request.param)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("tokens", "inputs", "outputs"), [(1, 2, 1), (64, 32, 32), (7, 64, 200), (35, 4500, 70), (90, 46, 70)]
)
@torch.no_grad()
@pytest.mark.kernels
def test_products_of_bfloat16(
    tokens: int, inputs: int, outputs: int, dtype: torch.dtype, weights: torch.dtype, faster: bool
) -> None:
    x, weight, bias = (
        torch.randn(tokens, inputs).to(dtype),
        torch.randn(outputs, inputs).to(weights),
        torch.randn(outputs),
    )
    norm, residual = nn.LayerNorm(outputs), torch.randn(tokens, outputs)
    for p in norm.parameters():
        nn.init.normal_(p)
    # what remains are sums of float32, and the result's rounding
    factors = (x.bfloat16(), weight.bfloat16()) if faster else (x, weight)
    y = F.linear(*(t.double() for t in factors), bias.double())
    scale = y.square().mean().sqrt().item()
    for gelu in (False, True):
        out = fused_linear(x, weight, bias, gelu=gelu, half=True)
        assert out.dtype == (torch.bfloat16 if faster else torch.float32)
        expected = (F.gelu(y) if gelu else y).float()
        torch.testing.assert_close(out, expected.to(out.dtype), rtol=2**-7, atol=1e-5 * scale)
    out = fused_linear(x, weight, bias, norm=norm, residual=residual, half=True)
    assert out.dtype == torch.float32
    if outputs > 1:
        torch.testing.assert_close(out.double(), norm.double()(y) + residual, rtol=1e-4, atol=1e-4)


@torch.no_grad()
@pytest.mark.kernels
def test_bfloat16_of_an_odd_number_of_inputs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "bfloat16_is_faster", lambda: True)
    with pytest.raises(ValueError, match="even number of inputs"):
        fused_linear(torch.randn(3, 5), torch.randn(6, 5), half=True)


@torch.no_grad()
@pytest.mark.kernels
def test_the_result_is_where_it_was_asked_for() -> None:
    memory = torch.full((4, 6), torch.nan)
    x, weight = torch.randn(3, 5), torch.randn(6, 5)
    out = fused_linear(x, weight, room=lambda shape, dtype: memory[:3].view(dtype).view(*shape))
    assert out.data_ptr() == memory.data_ptr()
    torch.testing.assert_close(memory[:3], x @ weight.T)
    assert memory[3].isnan().all()
