"""Window attention against loops over tokens, its fast ways against the formula, and finite gradients everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from swinv2_dense.cpu.attention import cpu_attention
from swinv2_dense.layers import (
    WindowAttention,
    WindowGrid,
    cosine_attention,
    cosine_attention_plain,
    window_attention,
    window_grid,
)

HEADS, DIM = 2, 8


def make(
    window: tuple[int, ...], *, shifted: bool, pad: str = "mask", pretrained: tuple[int, ...] | None = None
) -> WindowAttention:
    attn = WindowAttention(
        DIM, HEADS, window, shifted=shifted, pretrained_window=pretrained or window, pad_attention=pad
    ).double()
    for p in attn.parameters():
        torch.nn.init.normal_(p, std=0.5)
    torch.nn.init.uniform_(attn.logit_scale, 0, 5)  # some beyond the clamp at log 100
    return attn


def by_loops(attn: WindowAttention, x: Tensor) -> Tensor:
    """Every token with every token of its cell, one pair at a time."""
    size = x.shape[:-1]
    padded = [s if s <= w or attn.pad_attention == "mask" else math.ceil(s / w) * w for s, w in zip(size, attn.window)]
    shifts = [w // 2 if attn.shifted and s > w else 0 for s, w in zip(padded, attn.window)]
    cells: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for p in product(*map(range, padded)):
        cells.setdefault(tuple((a - s) // w for a, s, w in zip(p, shifts, attn.window)), []).append(p)
    first, _, last = attn.cpb_mlp

    def project(p: tuple[int, ...]) -> list[Tensor]:
        token = x[p] if all(a < s for a, s in zip(p, size)) else torch.zeros_like(x.reshape(-1, DIM)[0])
        q, k, v = F.linear(token, attn.qkv.weight).view(3, -1)
        return [q + attn.q_bias, k, v + attn.v_bias]

    def bias(p: tuple[int, ...], q: tuple[int, ...]) -> Tensor:
        t = [8 * (a - b) / max(w - 1, 1) for a, b, w in zip(p, q, attn.cpb_mlp.pretrained_window)]
        coordinates = x.new_tensor([math.copysign(math.log2(1 + abs(v)) / 3, v) for v in t])
        return 16 * torch.sigmoid(last(torch.relu(first(coordinates))))

    out = torch.zeros(*padded, DIM, dtype=x.dtype)
    for cell in cells.values():
        for i in cell:
            q = project(i)[0].view(HEADS, -1)
            scale = attn.logit_scale.clamp(max=math.log(100)).exp().flatten()
            logits, values = [], []
            for j in cell:
                _, k, v = (t.view(HEADS, -1) for t in project(j))
                logits.append(F.cosine_similarity(q, k, dim=-1, eps=1e-12) * scale + bias(i, j))
                values.append(v)
            weights = torch.stack(logits).softmax(0)
            out[i] = attn.proj((weights[..., None] * torch.stack(values)).sum(0).flatten())
    return out[tuple(slice(s) for s in size)]


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(
    ("size", "window", "pad"),
    [
        ((6, 6), (3, 3), "mask"),
        ((5, 7), (4, 2), "mask"),
        ((5, 7), (4, 2), "zeros"),
        ((3, 9), (4, 4), "zeros"),
        ((4, 3), (1, 1), "mask"),
        ((3, 4, 5), (2, 3, 4), "mask"),
        ((9,), (4,), "mask"),
    ],
)
@torch.no_grad()
def test_attention_equals_loops_over_tokens(
    size: tuple[int, ...], window: tuple[int, ...], pad: str, shifted: bool
) -> None:
    attn = make(window, shifted=shifted, pad=pad, pretrained=tuple(w + 2 for w in window))
    x = torch.randn(2, *size, DIM, dtype=torch.float64)
    expected = torch.stack([by_loops(attn, image) for image in x])
    torch.testing.assert_close(attn(x), expected, rtol=1e-5, atol=1e-5)


def drawn(size: tuple[int, ...], window: tuple[int, ...], heads: int, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """qkv of two maps, scale and table of biases."""
    qkv = torch.randn(2, *size, 3, heads, channels, dtype=torch.float64, requires_grad=True)
    scale = torch.linspace(3, 40, heads, dtype=torch.float64, requires_grad=True)
    table = torch.randn(heads, *(2 * w - 1 for w in window), dtype=torch.float64, requires_grad=True)
    return qkv, scale, table


def assert_equals_the_formula(
    attend: Callable[..., Tensor],
    inputs: Sequence[Tensor],
    grid: WindowGrid,
    dtype: torch.dtype = torch.float64,
    tolerance: float = 1e-9,
) -> None:
    """Output and gradients, computed in ``dtype``; relative to their norms."""
    fast, plain = attend(*(t.to(dtype) for t in inputs), grid), cosine_attention_plain(*inputs, grid)
    assert fast.dtype == dtype
    grad = torch.randn_like(plain)
    grads = torch.autograd.grad(fast, inputs, grad.to(dtype))
    for a, b in zip((fast, *grads), (plain, *torch.autograd.grad(plain, inputs, grad))):
        assert (a - b).norm() <= tolerance * b.norm().clamp_min(0.1)


@pytest.mark.parametrize("entries", [1, 40, 600, 2**20])
@pytest.mark.parametrize(("size", "window"), [((6, 8), (4, 4)), ((3, 4, 5), (2, 3, 4))])
def test_fused_gradients_equal_those_of_the_formula_whatever_the_group(
    monkeypatch: pytest.MonkeyPatch, size: tuple[int, ...], window: tuple[int, ...], entries: int
) -> None:
    monkeypatch.setattr(window_attention, "FUSED_ENTRIES", entries)
    inputs = drawn(size, window, HEADS, 4)
    assert_equals_the_formula(window_attention.cosine_attention_fused, inputs, window_grid(size, window, shifted=True))


# Channels and tokens that fill vectors, tiles and blocks of keys, and that do not; windows of every rank.
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("size", "window", "heads", "channels"),
    [
        ((8, 8), (8, 8), 3, 32),
        ((6, 8), (4, 4), 1, 4),
        ((13, 17), (7, 5), 2, 20),
        ((27, 25), (25, 25), 1, 8),  # 625 tokens: more than a block
        ((40,), (12,), 2, 40),
        ((3, 4, 5), (2, 3, 4), 2, 16),
        ((2, 3, 4, 5), (2, 2, 3, 3), 2, 8),
        ((1, 1), (4, 4), 2, 8),
    ],
)
@pytest.mark.kernels
def test_cpu_kernel_equals_the_formula_in_both_directions(
    size: tuple[int, ...], window: tuple[int, ...], heads: int, channels: int, threads: int
) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for shifted in (False, True):
            grid = window_grid(size, window, shifted=shifted)
            inputs = drawn(size, grid.window, heads, channels)
            assert_equals_the_formula(cpu_attention, inputs, grid)
            assert_equals_the_formula(cpu_attention, inputs, grid, torch.float32, 3e-5)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.02)])
@pytest.mark.kernels
def test_cpu_kernel_in_lower_precision(dtype: torch.dtype, tolerance: float) -> None:
    grid = window_grid((9, 20), (8, 16), shifted=True)
    qkv, scale, table = drawn((9, 20), (8, 16), 3, 32)

    def attend(qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid) -> Tensor:
        return cpu_attention(qkv, scale.float(), table.float(), grid)

    assert_equals_the_formula(attend, (qkv, scale, table), grid, dtype, tolerance)


@pytest.mark.kernels
def test_large_logits_neither_overflow_nor_vanish() -> None:
    """Logits of one row from -100 to 116, the largest that tau >= 0.01 and a bias below 16 allow."""
    grid = window_grid((4, 16), (4, 16), shifted=False)
    qkv, _, table = (t.detach().float() for t in drawn((4, 16), (4, 16), HEADS, 4))
    qkv[:, 0, 0, 0] = qkv[:, 0, 0, 1]
    scale, table = torch.full((HEADS,), 100.0), 16 * torch.rand_like(table)
    for t in (qkv, scale, table):
        t.requires_grad_()
    out = cpu_attention(qkv, scale, table, grid)
    torch.testing.assert_close(out, cosine_attention_plain(qkv, scale, table, grid), rtol=1e-3, atol=1e-4)
    assert all(g.isfinite().all() for g in torch.autograd.grad(out.sum(), (qkv, scale, table)))


@pytest.mark.parametrize("scale", [0.01, 10.0, 19.0, 22.0, 30.0, 60.0, -19.0, -60.0])
@pytest.mark.parametrize("size", [(3, 3), (8, 8)])
@pytest.mark.kernels
def test_rows_far_below_the_bound_of_their_head(scale: float, size: tuple[int, ...]) -> None:
    """Narrow heads are exponentiated below a common bound, wide ones below each row's highest: both are exact, with
    padding keys too, also for a query opposite to all keys."""
    grid = window_grid(size, size, shifted=False)
    qkv, _, table = (t.detach() for t in drawn(size, size, HEADS, 4))
    qkv[:, :, :, 1] = qkv[:, :1, :1, 1]
    qkv[:, 0, 0, 0] = -qkv[:, 0, 0, 1]
    inputs = (qkv, torch.full((HEADS,), scale, dtype=torch.float64), 12 * torch.rand_like(table))
    for t in inputs:
        t.requires_grad_()
    assert_equals_the_formula(cpu_attention, inputs, grid)
    assert_equals_the_formula(cpu_attention, inputs, grid, torch.float32, 1e-4)


@pytest.mark.kernels
def test_a_number_that_is_none_stays_visible() -> None:
    grid = window_grid((4, 4), (4, 4), shifted=False)
    qkv, scale, table = (t.detach().float() for t in drawn((4, 4), (4, 4), HEADS, 4))
    # with other bits than most have
    qkv[0, 1, 2, 1] = torch.tensor([0x7FC00001], dtype=torch.int32).view(torch.float32)
    out = cpu_attention(qkv, scale, table, grid)
    assert out[0].isnan().all()
    assert out[1].isfinite().all()


@pytest.mark.kernels
def test_a_bias_beyond_what_float32_raises_e_to() -> None:
    """The meta network's is below 16; anybody may call the function."""
    grid = window_grid((3, 3), (3, 3), shifted=False)
    qkv, scale, _ = drawn((3, 3), (3, 3), HEADS, 4)
    inputs = (qkv, scale, torch.full((HEADS, 5, 5), 200.0, dtype=torch.float64, requires_grad=True))
    fast, plain = cpu_attention(*(t.float() for t in inputs), grid), cosine_attention_plain(*inputs, grid)
    for a, b in zip(torch.autograd.grad(fast.sum(), inputs), torch.autograd.grad(plain.sum(), inputs)):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("attend", [cosine_attention, cosine_attention_plain, window_attention.cosine_attention_fused])
@pytest.mark.parametrize("size", [(6, 6), (3, 5), (2, 9, 4)])
@pytest.mark.parametrize("grad", [False, True])
def test_an_empty_batch(attend: Callable[..., Tensor], size: tuple[int, ...], grad: bool) -> None:
    window = (4,) * len(size)
    qkv, scale, table = (t.detach().requires_grad_(grad) for t in drawn(size, window, HEADS, 4))
    out = attend(qkv[:0], scale, table, window_grid(size, window, shifted=True))
    assert out.shape == (0, *size, HEADS * 4)
    if grad:
        assert not any(g.any() for g in torch.autograd.grad(out.sum(), (qkv, scale, table)))


def test_a_module_takes_an_empty_batch() -> None:
    assert make((4, 4), shifted=True)(torch.zeros(0, 6, 6, DIM, dtype=torch.float64)).shape == (0, 6, 6, DIM)


def test_gradcheck() -> None:
    grid = window_grid((3, 4), (2, 3), shifted=True)
    inputs = drawn((3, 4), (2, 3), HEADS, 4)
    assert torch.autograd.gradcheck(lambda *args: cosine_attention(*args, grid), inputs)


@pytest.mark.kernels
def test_the_operators_are_as_torch_wants_them() -> None:
    """Schemas, fake tensors, autograd registration and what torch.compile needs."""
    qkv, scale, table = drawn((5, 6), (4, 4), HEADS, 4)
    torch.library.opcheck(torch.ops.swinv2_dense.window_attention, (qkv, scale, table, (5, 6), (4, 4), (True, True)))


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("qkv", lambda a: {**a, "qkv": a["qkv"][:, :4]}),  # another size
        ("qkv", lambda a: {**a, "qkv": a["qkv"][..., :2, :, :]}),
        ("qkv", lambda a: {**a, "size": (5, 6, 1)}),
        ("window", lambda a: {**a, "window": (4,)}),
        ("float16", lambda a: {**a, "qkv": a["qkv"].half()}),
        ("scale", lambda a: {**a, "scale": a["scale"].double()}),
        ("scale", lambda a: {**a, "scale": a["scale"][:1]}),
        ("table", lambda a: {**a, "table": a["table"][:, :5].contiguous()}),  # of a window of 3: read beyond its end
        ("table", lambda a: {**a, "table": a["table"][:, :, :6].contiguous()}),
        ("table", lambda a: {**a, "table": a["table"][:1]}),
        ("table", lambda a: {**a, "table": a["table"].mT}),
        ("table", lambda a: {**a, "table": a["table"].flatten(1)}),
    ],
)
def test_operands_that_do_not_fit_are_errors(
    name: str, change: Callable[[dict[str, object]], dict[str, object]]
) -> None:
    """And never memory read beyond a tensor's end."""
    qkv, scale, table = (t.detach().float() for t in drawn((5, 6), (4, 4), HEADS, 4))
    operands = change(dict(qkv=qkv, scale=scale, table=table, size=(5, 6), window=(4, 4), shifted=(True, True)))
    with pytest.raises(ValueError, match=f"swinv2_dense::window_attention.*{name}"):
        torch.ops.swinv2_dense.window_attention(*operands.values())


@pytest.mark.kernels
def test_operands_of_the_backward_operator_are_checked_too() -> None:
    qkv, scale, table = (t.detach().float() for t in drawn((5, 6), (4, 4), HEADS, 4))
    grid = ((5, 6), (4, 4), (True, True))
    out, lse = torch.ops.swinv2_dense.window_attention(qkv, scale, table, *grid)
    backward = torch.ops.swinv2_dense.window_attention_backward
    assert backward(qkv, scale, table, out, lse, out, *grid)[0].shape == qkv.shape
    for wrong in ((out, lse[:1], out), (out[:1], lse, out), (out, lse, out[..., :2]), (out, lse, out.double())):
        with pytest.raises(ValueError, match="fit qkv"):
            backward(qkv, scale, table, *wrong, *grid)


@pytest.mark.kernels
def test_a_table_of_a_larger_window_fits() -> None:
    qkv, scale, table = (t.detach().float() for t in drawn((3, 6), (8, 8), HEADS, 4))
    grid = window_grid((3, 6), (4, 4), shifted=True)
    torch.testing.assert_close(cpu_attention(qkv, scale, table, grid), cosine_attention_plain(qkv, scale, table, grid))


@pytest.mark.kernels
def test_the_counter_of_operations_sees_the_kernel() -> None:
    grid = window_grid((8, 8), (4, 4), shifted=False)
    counts = []
    for attend in (cpu_attention, cosine_attention_plain):
        inputs = drawn((8, 8), (4, 4), HEADS, 4)
        with FlopCounterMode(display=False) as counter:
            attend(*inputs, grid).sum().backward()
        counts.append(counter.get_total_flops())
    # the kernel computes the logits again in the backward pass: 7 products against 6
    assert counts[0] * 6 == counts[1] * 7


@torch.no_grad()
def test_a_hook_of_qkv_sees_its_output_with_the_bias_and_may_change_it() -> None:
    """As adapters of low rank do."""
    attn, x = make((4, 4), shifted=False), torch.randn(1, 4, 4, DIM, dtype=torch.float64)
    expected = F.linear(x, attn.qkv.weight, torch.cat([attn.q_bias, torch.zeros(DIM), attn.v_bias]))
    before = attn(x)

    def double(module: torch.nn.Module, args: tuple[Tensor, ...], out: Tensor) -> Tensor:
        torch.testing.assert_close(out, expected)
        return out * 2

    attn.qkv.register_forward_hook(double)
    # queries and keys have length 1, values are doubled
    torch.testing.assert_close(attn(x) - attn.proj.bias, 2 * (before - attn.proj.bias))


def test_dropout_of_attention_keeps_the_mean() -> None:
    attn = make((4, 4), shifted=False)
    x = torch.randn(1, 8, 8, DIM, dtype=torch.float64)
    with torch.no_grad():
        expected = attn(x)
        attn.attn_drop = 0.3
        drawn = torch.stack([attn(x) for _ in range(400)])
        assert not torch.equal(drawn[0], drawn[1])
        assert (drawn.mean(0) - expected).norm() < 0.2 * expected.norm()
        attn.eval()
        torch.testing.assert_close(attn(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pad", ["mask", "zeros"])
def test_gradients_stay_finite_where_a_whole_map_is_zero(dtype: torch.dtype, pad: str) -> None:
    attn = make((4, 4), shifted=True, pad=pad).float()
    x = torch.zeros(1, 5, 6, DIM, requires_grad=True)
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        out = attn(x)
    out.float().square().sum().backward()
    for p in (x, *attn.parameters()):
        assert p.grad is not None and p.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_close_to_float32(dtype: torch.dtype) -> None:
    attn = make((4, 4), shifted=True).float()
    torch.nn.init.constant_(attn.logit_scale, math.log(10))
    x = torch.randn(2, 9, 10, DIM)
    expected = attn(x)
    expected_grads = torch.autograd.grad(expected.square().sum(), list(attn.parameters()))
    with torch.autocast("cpu", dtype):
        out = attn(x)
    grads = torch.autograd.grad(out.float().square().sum(), list(attn.parameters()))
    for a, b in zip((out, *grads), (expected, *expected_grads)):
        assert (a - b).norm() < 0.1 * b.norm()


@pytest.mark.kernels
def test_no_matrix_of_all_windows_is_ever_held() -> None:
    """The largest tensor of a training step grows with tokens, not with tokens times window."""
    attn = make((16, 16), shifted=True).float()
    meta_network = 31 * 31 * 512
    largest = 0

    class Spy(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for t in out if isinstance(out, tuple | list) else (out,):
                if isinstance(t, Tensor):
                    largest = max(largest, t.untyped_storage().nbytes() // t.element_size())
            return out

    x = torch.randn(1, 160, 160, DIM)
    with Spy():
        attn(x).sum().backward()
    assert largest <= max(3 * x.numel(), meta_network)
