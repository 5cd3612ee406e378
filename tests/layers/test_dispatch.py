"""Modules and tensors that faster ways may stand in for, and those that they may not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import grad, jvp, vmap

from swinv2_dense.layers.dispatch import call_with, inside_a_mode, is_transformed, is_untouched


def _seen(transform: Callable[..., object], *args: object) -> list[tuple[bool, bool]]:
    """What is said of the argument and of a mode inside a transform."""
    seen: list[tuple[bool, bool]] = []

    def f(x: Tensor) -> Tensor:
        seen.append((is_transformed(None, torch.zeros(1), x), inside_a_mode()))
        return x.square().sum()

    out = transform(f)
    if callable(out):
        out(*args)
    return seen


def test_transforms_of_torch_func_are_seen() -> None:
    x = torch.randn(3)
    assert _seen(grad, x)[0][0]
    assert _seen(vmap, torch.randn(2, 3))[0][0]
    assert _seen(lambda f: jvp(f, (x,), (x,)))[0][0]
    assert _seen(lambda f: f(x)) == [(False, False)]
    assert not is_transformed(nn.Parameter(x), x.requires_grad_(), None)


def test_tangents_are_seen_where_they_are() -> None:
    x = torch.randn(3)
    with forward_ad.dual_level():
        assert is_transformed(x, forward_ad.make_dual(x, x))
        assert not is_transformed(x)
    assert not is_transformed(x)


def test_fake_tensors_are_seen() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    assert not inside_a_mode()
    with FakeTensorMode():
        assert inside_a_mode()


@pytest.mark.parametrize(
    "touch",
    [
        lambda m: m.register_forward_hook(lambda *_: None),
        lambda m: m.register_forward_pre_hook(lambda *_: None),
        lambda m: m.register_full_backward_hook(lambda *_: None),
        lambda m: m.register_full_backward_pre_hook(lambda *_: None),
        lambda m: setattr(m, "forward", lambda x: x),
        lambda m: nn.utils.parametrizations.weight_norm(m),
    ],
)
def test_a_touched_module_is_no_longer_untouched(touch: Callable[[nn.Module], object]) -> None:
    layer = nn.Linear(2, 2)
    assert is_untouched(layer, nn.Linear)
    assert not is_untouched(nn.modules.linear.NonDynamicallyQuantizableLinear(2, 2), nn.Linear)
    touch(layer)
    assert not is_untouched(layer, nn.Linear)


def test_other_parameters_for_one_call() -> None:
    layer, bias = nn.Linear(2, 3, bias=False), torch.randn(3, requires_grad=True)
    out = call_with(layer, {"bias": bias}, torch.zeros(1, 2))
    assert torch.equal(out[0], bias)
    assert layer.bias is None
    out.sum().backward()
    assert bias.grad is not None
