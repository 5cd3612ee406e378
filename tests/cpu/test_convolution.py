"""The kernel of 3 x 3 convolutions against torch's, and what it leaves to torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.cpu import convolution as cpu

pytestmark = pytest.mark.kernels


def operands(batch: int = 1, inputs: int = 64, outputs: int = 96, size: tuple[int, int] = (36, 41)) -> list[Tensor]:
    x = torch.randn(batch, inputs, *size).relu()
    return [x, torch.randn(outputs, inputs, 3, 3) / (3 * inputs**0.5), torch.randn(outputs)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("batch", "inputs", "outputs", "size"),
    [
        (1, 64, 64, (32, 32)),
        (3, 80, 112, (37, 29)),  # no multiple of a tile, outputs no multiple of two vectors
        (100, 64, 64, (7, 5)),  # regions
        (1, 320, 64, (1, 1100)),
        (2, 64, 320, (600, 2)),
        (1, 1024, 64, (90, 90)),  # more than one chunk of tiles, and more than one panel of filters
    ],
)
@torch.no_grad()
def test_torchs_result(batch: int, inputs: int, outputs: int, size: tuple[int, int], bias: bool) -> None:
    x, weight, b = operands(batch, inputs, outputs, size)
    b = b if bias else None
    assert cpu.kernel_takes(x, weight, b)
    expected = F.conv2d(x.double(), weight.double(), None if b is None else b.double(), padding=1)
    for layout in (torch.contiguous_format, torch.channels_last):
        found = cpu.convolution(x.contiguous(memory_format=layout), weight, b)
        torch.testing.assert_close(found.double(), expected, rtol=0, atol=1e-5 * expected.abs().max().item())
        assert (found - expected).norm() < 5e-6 * expected.norm()


@pytest.mark.parametrize("threads", [1, 2, 5])
@torch.no_grad()
def test_threads_give_the_same_bits(threads: int) -> None:
    given = operands(2, 64, 96)
    expected = cpu.convolution(*given)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert torch.equal(cpu.convolution(*given), expected)
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def test_parts_of_tensors() -> None:
    whole, weight, bias = operands(1, 160)
    x, weight = whole[:, 32:96, 1:], weight[:, 32:96]
    torch.testing.assert_close(
        cpu.convolution(x, weight, bias), F.conv2d(x, weight, bias, padding=1), rtol=0, atol=1e-4
    )


def count(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    taken: list[tuple[int, ...]] = []
    original = cpu.convolution
    monkeypatch.setattr(cpu, "convolution", lambda *given: (taken.append(tuple(given[0].shape)), original(*given))[1])
    return taken


@torch.no_grad()
def test_modules_are_taken_over_inside_the_context_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    wrappers = pytest.importorskip("mmcv.cnn.bricks.wrappers", reason="needs mmcv")
    taken, x = count(monkeypatch), operands()[0]
    module = nn.Sequential(
        nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), wrappers.Conv2d(64, 80, 3, padding=1, bias=False)
    )
    expected = module(x)
    assert not taken
    with cpu.fast_convolutions(module):
        found = module(x)
    with pytest.raises(RuntimeError, match="expected input"), cpu.fast_convolutions(module):
        module(x[:, :32])
    assert len(taken) == 2
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4)
    assert torch.equal(module(x), expected)
    assert len(taken) == 2


class _Own(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@torch.no_grad()
def test_small_maps_lie_channels_last_too() -> None:
    module = nn.Conv2d(64, 64, 3, padding=1)
    with cpu.fast_convolutions(module):
        assert module(torch.randn(1, 64, 8, 8)).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("module", "change"),
    [
        (nn.Conv2d(64, 64, 3, stride=2, padding=1), lambda x: x),
        (nn.Conv2d(64, 64, 3, padding=2, dilation=2), lambda x: x),
        (nn.Conv2d(64, 64, 3), lambda x: x),
        (nn.Conv2d(64, 64, 3, padding="same"), lambda x: x),
        (nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"), lambda x: x),
        (nn.Conv2d(64, 128, 3, padding=1, groups=2), lambda x: x),
        (nn.Conv2d(64, 64, 1), lambda x: x),
        (_Own(64, 64, 3, padding=1), lambda x: x),
        (nn.utils.parametrizations.weight_norm(nn.Conv2d(64, 64, 3, padding=1)), lambda x: x),
        (nn.Conv2d(24, 64, 3, padding=1), lambda x: x[:, :24]),
        (nn.Conv2d(64, 64, 3, padding=1), lambda x: x[0]),
        (nn.Conv2d(64, 64, 3, padding=1), lambda x: x[:, :, :8, :8]),
        (nn.Conv2d(64, 64, 3, padding=1).double(), lambda x: x.double()),
        (nn.Conv2d(64, 64, 3, padding=1), lambda x: x.clone().requires_grad_()),
    ],
)
def test_all_else_is_torchs(
    module: nn.Module, change: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, x = count(monkeypatch), change(operands()[0])
    module.requires_grad_(False)
    expected = module(x)
    with cpu.fast_convolutions(module):
        assert torch.equal(module(x), expected)
    assert not taken


def test_gradients_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, module = count(monkeypatch), nn.Conv2d(64, 64, 3, padding=1)
    with cpu.fast_convolutions(module):
        module(operands()[0]).sum().backward()
    assert not taken
    assert module.weight.grad is not None


@torch.no_grad()
def test_a_mistake_is_torchs_message() -> None:
    module, x = nn.Conv2d(64, 64, 3, padding=1), operands()[0]
    with cpu.fast_convolutions(module):
        with pytest.raises(RuntimeError, match="expected input"):
            module(x[:, :32])
        module.bias = nn.Parameter(torch.zeros(3))
        with pytest.raises(RuntimeError, match="bias"):
            module(x)


@torch.no_grad()
def test_under_autocast_torch_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, module = count(monkeypatch), nn.Conv2d(64, 64, 3, padding=1)
    with cpu.fast_convolutions(module), torch.autocast("cpu", torch.bfloat16):
        assert module(operands()[0]).dtype == torch.bfloat16
    assert not taken
