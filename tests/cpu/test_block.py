"""Blocks without gradients, band by band, against the same block's modules; and when they are taken so."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from swinv2_dense import cpu
from swinv2_dense.cpu import attention as cpu_attention
from swinv2_dense.cpu import block as cpu_block
from swinv2_dense.layers import SwinBlock, WindowAttention

DIM, HEADS = 24, 3


def make(window: tuple[int, ...], *, shifted: bool = True, extra_norm: bool = False, pad: str = "mask") -> SwinBlock:
    attn = WindowAttention(DIM, HEADS, window, shifted=shifted, pretrained_window=window, pad_attention=pad)
    block = SwinBlock(attn, DIM, mlp_ratio=4, drop=0.1, drop_path=0.2, extra_norm=extra_norm)
    for p in block.parameters():
        nn.init.normal_(p, std=0.5)
    return block.eval()


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """What went by bands."""
    inputs: list[Tensor] = []
    kernels = cpu._kernels()
    seen = kernels._replace(block=lambda block, x: inputs.append(x) or kernels.block(block, x))
    monkeypatch.setattr(cpu, "_kernels", lambda: seen)
    return inputs


def by_modules(block: SwinBlock, x: Tensor) -> Tensor:
    hook = block.register_forward_hook(lambda *_: None)
    try:
        return block(x)
    finally:
        hook.remove()


# Tokens of a band and of an MLP's part: fewer than a row of windows, several rows, some images, all.
@pytest.mark.parametrize("tokens", [(1, 1), (100, 30), (145, 50), (300, 200), (4096, 1024)])
@pytest.mark.parametrize("extra_norm", [False, True])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize(
    ("size", "window"), [((8, 8), (4, 4)), ((19, 13), (5, 4)), ((3, 9, 10), (2, 4, 4)), ((3, 4), (8, 8)), ((70,), (8,))]
)
@torch.no_grad()
@pytest.mark.kernels
def test_bands_equal_the_modules(
    size: tuple[int, ...],
    window: tuple[int, ...],
    shifted: bool,
    extra_norm: bool,
    tokens: tuple[int, int],
    taken: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cpu_block, "BAND_TOKENS", tokens[0])
    monkeypatch.setattr(cpu_block, "MLP_TOKENS", tokens[1])
    block, x = make(window, shifted=shifted, extra_norm=extra_norm), torch.randn(3, *size, DIM)
    before = x.clone()
    torch.testing.assert_close(block(x), by_modules(block, x), rtol=1e-4, atol=1e-4)
    strided = x.transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(block(strided), by_modules(block, x), rtol=1e-4, atol=1e-4)
    assert len(taken) == 2
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    ("dtype", "autocast"),
    [
        (torch.float64, False),
        (torch.bfloat16, False),
        (torch.bfloat16, True),
        (torch.float16, False),
        (torch.float16, True),
    ],
)
@pytest.mark.parametrize("faster", [True, False])
@pytest.mark.parametrize("extra_norm", [False, True])
@torch.no_grad()
@pytest.mark.kernels
def test_other_dtypes_equal_the_modules(
    dtype: torch.dtype,
    autocast: bool,
    extra_norm: bool,
    faster: bool,
    taken: list[Tensor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (cpu_block, cpu_attention):
        monkeypatch.setattr(module, "bfloat16_is_faster", lambda: faster)
    block, x = make((4, 4), extra_norm=extra_norm), torch.randn(2, 9, 10, DIM).to(dtype)
    if not autocast:
        block = block.to(dtype)
    with torch.autocast("cpu", dtype) if autocast else nullcontext():
        out, expected = block(x), by_modules(block, x)
    assert bool(taken) == (dtype == torch.bfloat16)
    assert out.dtype == expected.dtype
    tolerance = 1e-9 if dtype == torch.float64 else 0.02
    torch.testing.assert_close(out, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("faster", [True, False])
@torch.no_grad()
@pytest.mark.kernels
def test_bfloat16_is_nearer_to_float32_than_torchs(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (cpu_block, cpu_attention):
        monkeypatch.setattr(module, "bfloat16_is_faster", lambda: faster)
    block, x = make((8, 8)), torch.randn(1, 32, 32, DIM)
    exact = block(x)
    with torch.autocast("cpu", torch.bfloat16):
        errors = [(f(x) - exact).norm() / exact.norm() for f in (block, lambda x: by_modules(block, x))]
    assert errors[0] < errors[1] < 2.5e-2
    assert faster or errors[0] < 1e-6


@pytest.mark.parametrize("norm", [nn.LayerNorm(DIM, bias=False), nn.LayerNorm(DIM, elementwise_affine=False)])
@torch.no_grad()
@pytest.mark.kernels
def test_bfloat16_with_norms_that_lack_parameters(norm: nn.LayerNorm, taken: list[Tensor]) -> None:
    block, x = make((4, 4)), torch.randn(1, 8, 8, DIM)
    block.norm1 = block.norm2 = norm.eval()
    with torch.autocast("cpu", torch.bfloat16):
        out, expected = block(x), by_modules(block, x)
    assert not taken
    torch.testing.assert_close(out, expected, rtol=0.02, atol=0.02)


@torch.no_grad()
@pytest.mark.kernels
def test_an_empty_batch(taken: list[Tensor]) -> None:
    assert make((4, 4))(torch.zeros(0, 6, 6, DIM)).shape == (0, 6, 6, DIM)
    assert taken


def operands(pairs: bool) -> dict[str, object]:
    """Of a block of 4 channels, 2 heads and 8 hidden channels on a map of 5 x 6."""
    return dict(
        y=torch.empty(2, 5, 6, 4),
        x=torch.randn(2, 5, 6, 4),
        weights=[torch.randn(shape) for shape in ((12, 4), (4, 4), (8, 4), (4, 8))],
        biases=[None, torch.randn(4), torch.randn(8), None],
        norms=[torch.randn(4) for _ in range(4)],
        eps=[1e-5, 1e-5],
        scale=torch.rand(2),
        table=torch.randn(2, 7, 7),
        size=[5, 6],
        window=[4, 4],
        shifted=[True, True],
        pairs=pairs,
    )


@pytest.mark.kernels
def test_the_operator_is_as_torch_wants_it_and_counts_its_operations() -> None:
    for pairs in (False, True):
        torch.library.opcheck(torch.ops.swinv2_dense.block_into, tuple(operands(pairs).values()))
    block, x = make((4, 4)), torch.randn(2, 5, 6, DIM)
    counts = []
    for call in (block, lambda x: by_modules(block, x)):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            block.attn.cpb_mlp.train()  # whose table is computed each time
            call(x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {**a, "x": a["x"][:1]},
        lambda a: {**a, "x": a["x"].double()},
        lambda a: {**a, "x": a["x"].transpose(1, 2).contiguous().transpose(1, 2)},
        lambda a: {**a, "y": a["y"].bfloat16()},
        lambda a: {**a, "size": [6, 5]},
        lambda a: {**a, "size": [30]},
        lambda a: {**a, "scale": a["scale"][:1]},
        lambda a: {**a, "scale": torch.rand(3)},
        lambda a: {**a, "table": a["table"][:, :5].contiguous()},
        lambda a: {**a, "table": a["table"].double()},
        lambda a: {**a, "norms": [*a["norms"][:3], torch.randn(5)]},
        lambda a: {**a, "norms": [*a["norms"][:3], torch.randn(8)[::2]]},
        lambda a: {**a, "biases": [torch.randn(4), *a["biases"][1:]]},
        lambda a: {**a, "biases": [*a["biases"][:3], torch.randn(4).double()]},
        *(
            lambda a, i=i: {**a, "weights": [torch.randn(9, 4) if i == j else w for j, w in enumerate(a["weights"])]}
            for i in range(4)
        ),
        lambda a: {**a, "weights": [w.T.contiguous().T for w in a["weights"]]},
        lambda a: {**a, "weights": [w.bfloat16() for w in a["weights"]]},
        lambda a: {
            **a,
            "pairs": True,
            "weights": [a["weights"][0], a["weights"][1], torch.randn(7, 4), torch.randn(4, 7)],
        },
    ],
)
@pytest.mark.kernels
def test_operands_that_do_not_fit_are_errors(change: Callable[[dict[str, object]], dict[str, object]]) -> None:
    """And never memory read beyond a tensor's end."""
    torch.ops.swinv2_dense.block_into(*operands(False).values())
    with pytest.raises(ValueError, match="fit"):
        torch.ops.swinv2_dense.block_into(*change(operands(False)).values())


class Adapted(nn.Linear):
    """As adapters of low rank replace layers: a layer and something more."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1


def replace(name: str, new: Callable[[], nn.Module]) -> Callable[[SwinBlock], None]:
    def change(block: SwinBlock) -> None:
        block.set_submodule(name, new().eval())

    return change


def hook(name: str) -> Callable[[SwinBlock], None]:
    return lambda block: block.get_submodule(name).register_forward_hook(lambda *args: args[-1] + 1) and None


def hook_before(block: SwinBlock) -> None:
    block.mlp.act.register_forward_pre_hook(lambda _, args: (args[0] + 1,))


def patch(block: SwinBlock) -> None:
    block.mlp.forward = lambda x: x + 1  # type: ignore[method-assign]


@pytest.mark.parametrize(
    "change",
    [
        hook("norm1"),
        hook("attn"),
        hook("attn.qkv"),
        hook_before,
        patch,
        replace("mlp.fc1", lambda: Adapted(DIM, 4 * DIM)),
        replace("attn.qkv", lambda: Adapted(DIM, 3 * DIM)),
        replace("attn", nn.Identity),
        replace("mlp.act", nn.ReLU),
        replace("mlp.act", lambda: nn.GELU("tanh")),
        replace("norm1", nn.GELU),
        replace("norm2", lambda: nn.LayerNorm(DIM, bias=False)),
        lambda block: block.mlp.drop.train() and None,
        lambda block: nn.utils.parametrizations.weight_norm(block.attn.proj) and None,
    ],
)
@torch.no_grad()
def test_what_is_no_longer_as_it_was_made_takes_part(change: Callable[[SwinBlock], None]) -> None:
    block, x = make((4, 4)), torch.randn(1, 6, 6, DIM)
    change(block)
    torch.manual_seed(1)
    out = block(x)
    torch.manual_seed(1)
    mixed = x + block.norm1(block.attn(x))
    torch.testing.assert_close(out, mixed + block.norm2(block.mlp(mixed)), rtol=1e-4, atol=1e-4)


def test_a_hook_of_all_modules_sees_them() -> None:
    seen: list[str] = []
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(type(module).__name__))
    with handle, torch.no_grad():
        make((4, 4))(torch.randn(1, 6, 6, DIM))
    assert {"WindowAttention", "Mlp", "Linear", "SwinBlock"} <= set(seen)


@pytest.mark.parametrize(
    ("training", "frozen", "grad", "bands"),
    [
        (False, False, False, True),
        (False, True, True, True),
        (False, False, True, False),
        (True, False, False, False),
    ],
)
@pytest.mark.kernels
def test_when_bands_are_taken(training: bool, frozen: bool, grad: bool, bands: bool, taken: list[Tensor]) -> None:
    block = make((4, 4)).train(training).requires_grad_(not frozen)
    with torch.set_grad_enabled(grad):
        block(torch.randn(1, 6, 6, DIM))
    assert bool(taken) == bands


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_trace_is_of_torchs_operators() -> None:
    """As exporters want it."""
    block, x = make((4, 4)), torch.randn(1, 6, 6, DIM)
    with torch.no_grad():
        traced = torch.jit.trace(block, x)
        assert "swinv2_dense::" not in str(traced.inlined_graph)
        torch.testing.assert_close(traced(x), block(x), rtol=1e-4, atol=1e-4)


def test_gradients_to_the_input_of_a_frozen_block(taken: list[Tensor]) -> None:
    block, x = make((4, 4)).requires_grad_(False), torch.randn(1, 6, 6, DIM, requires_grad=True)
    block(x).sum().backward()
    assert not taken
    assert x.grad is not None and x.grad.abs().sum() > 0


@torch.no_grad()
def test_padding_that_takes_part_is_left_to_the_modules(taken: list[Tensor]) -> None:
    make((4, 4), pad="zeros")(torch.randn(1, 6, 6, DIM))
    assert not taken
