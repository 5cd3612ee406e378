"""Window attention against loops over tokens, its fast ways against the formula, and finite gradients everywhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from swinv2_dense.layers import (
    WindowAttention,
    cosine_attention,
    cosine_attention_plain,
    cpu_attention,
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


@pytest.mark.parametrize("attend", [cosine_attention, window_attention.cosine_attention_fused])
@pytest.mark.parametrize("entries", [1, 40, 600, 2**20])
@pytest.mark.parametrize(("size", "window"), [((6, 8), (4, 4)), ((3, 4, 5), (2, 3, 4))])
def test_fused_gradients_equal_those_of_the_formula_whatever_the_group(
    monkeypatch: pytest.MonkeyPatch,
    size: tuple[int, ...],
    window: tuple[int, ...],
    entries: int,
    attend: Callable[..., Tensor],
) -> None:
    monkeypatch.setattr(cpu_attention, "GROUP_ENTRIES", entries)
    monkeypatch.setattr(window_attention, "FUSED_ENTRIES", entries)
    grid = window_grid(size, window, shifted=True)
    qkv = torch.randn(2 * math.prod(size), 3, HEADS, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([3.0, 40.0], dtype=torch.float64, requires_grad=True)
    table = torch.randn(HEADS, *(2 * w - 1 for w in window), dtype=torch.float64, requires_grad=True)
    fast = attend(qkv, scale, table, grid.kinds)
    plain = cosine_attention_plain(qkv, scale, table, grid.kinds)
    torch.testing.assert_close(fast, plain)
    grad = torch.randn_like(fast)
    for a, b in zip(
        torch.autograd.grad(fast, (qkv, scale, table), grad), torch.autograd.grad(plain, (qkv, scale, table), grad)
    ):
        torch.testing.assert_close(a, b)


def test_gradcheck() -> None:
    grid = window_grid((3, 4), (2, 3), shifted=True)
    qkv = torch.randn(12, 3, HEADS, 4, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor([1.0, 4.0], dtype=torch.float64, requires_grad=True)
    table = torch.randn(HEADS, 3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *args: cosine_attention(*args, grid.kinds), (qkv, scale, table))


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
    assert largest <= max(3 * x.numel(), 2 * cpu_attention.GROUP_ENTRIES * torch.get_num_threads(), meta_network)
