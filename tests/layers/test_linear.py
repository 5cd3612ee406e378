"""Linear layers by either library of products: the same outputs and gradients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F

from swinv2_dense.layers import Linear


@pytest.fixture
def two_threads() -> Iterator[None]:
    """With one, torch's convolutions are not oneDNN's, and are not taken."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5,), (2, 7, 5), (2, 3, 4, 5), (0, 4, 5)])
def test_equals_torchs(shape: tuple[int, ...], bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Linear(5, 6, bias=bias)
    convolutions = []
    monkeypatch.setattr(F, "conv2d", lambda *args, of=F.conv2d: convolutions.append(1) or of(*args))
    for x in (torch.randn(shape), torch.randn(shape[::-1]).permute(*reversed(range(len(shape))))):
        x.requires_grad_()
        out, expected = layer(x), F.linear(x, layer.weight, layer.bias)
        torch.testing.assert_close(out, expected)
        inputs, grad = (x, *layer.parameters()), torch.randn_like(expected)
        for a, b in zip(torch.autograd.grad(out, inputs, grad), torch.autograd.grad(expected, inputs, grad)):
            torch.testing.assert_close(a, b)
    assert bool(convolutions) == (0 not in shape)


@pytest.mark.usefixtures("two_threads")
def test_other_dtypes_and_autocast_are_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(F, "conv2d")
    assert Linear(5, 6).double()(torch.randn(3, 5).double()).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert Linear(5, 6)(torch.randn(3, 5)).dtype == torch.bfloat16
