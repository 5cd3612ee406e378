"""Derivatives of every kind through a whole backbone, against the plain formula: what the kernels cannot do, torch's
operators do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.func import functional_call, grad, hessian, jacrev, jvp, vjp, vmap

from swinv2_dense import cpu
from swinv2_dense.layers import cosine_attention_plain, window_attention
from swinv2_dense.models import SwinTransformerV2, VideoSwinTransformerV2
from tests.models.oracles import randomize

ARCH = dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2])
SIZE = (28, 44)  # windows of 4 and of other sizes at the border


def make(video: bool = False) -> SwinTransformerV2:
    kind = VideoSwinTransformerV2 if video else SwinTransformerV2
    model = kind(ARCH, window_size=4, out_indices=(1,), patch_size=(1, 4, 4) if video else 4)
    return randomize(model).double()  # type: ignore[return-value]


def features(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Tensor:
    (out,) = functional_call(model, parameters, (x,))
    return out


Question = Callable[[SwinTransformerV2, dict[str, Tensor], Tensor], Any]


def _drawn_like(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(t.shape, generator=generator, dtype=t.dtype) for name, t in tensors.items()}


def of_input_forward(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    return jvp(lambda x: features(model, parameters, x), (x,), (x.cos(),))


def of_weights_forward(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    return jvp(lambda p: features(model, p, x), (parameters,), (_drawn_like(parameters),))


def of_dual_numbers(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    with forward_ad.dual_level():
        out = forward_ad.unpack_dual(features(model, parameters, forward_ad.make_dual(x, x.cos())))
        return out.primal, out.tangent


def of_dual_weights(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    tangents = _drawn_like(parameters)
    with forward_ad.dual_level():
        dual = {name: forward_ad.make_dual(p, tangents[name]) for name, p in parameters.items()}
        out = forward_ad.unpack_dual(features(model, dual, x))
        return out.primal, out.tangent


def gradients(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    return grad(lambda p, x: features(model, p, x).square().mean(), argnums=(0, 1))(parameters, x)


def pullback(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    out, back = vjp(lambda x: features(model, parameters, x), x)
    return out, back(out.cos())


def of_an_ensemble(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    stacked = {name: torch.stack([p, p * 1.1]) for name, p in parameters.items()}
    return vmap(lambda p: features(model, p, x))(stacked)


def per_sample_gradients(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    one = grad(lambda p, x: features(model, p, x[None]).square().mean())
    return vmap(one, in_dims=(None, 0))(parameters, x)


def twice(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    """A gradient penalty, as ordinary autograd computes it."""
    weights = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    x = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(features(model, weights, x).square().sum(), x, create_graph=True)
    return slope, torch.autograd.grad(slope.square().sum(), [*weights.values(), x])


def times_a_vector_twice(model: SwinTransformerV2, parameters: dict[str, Tensor], x: Tensor) -> Any:
    """A product with the Hessian, forward over reverse."""
    return jvp(grad(lambda x: features(model, parameters, x).square().sum()), (x,), (x.cos(),))


def leaves(tree: Any) -> list[Tensor]:
    if isinstance(tree, Tensor):
        return [tree]
    return [leaf for branch in (tree.values() if isinstance(tree, dict) else tree) for leaf in leaves(branch)]


QUESTIONS: list[Question] = [
    *(of_input_forward, of_weights_forward, of_dual_numbers, of_dual_weights, gradients, pullback),
    *(of_an_ensemble, per_sample_gradients, twice, times_a_vector_twice),
]


CASES = [(question, dtype, False) for question in QUESTIONS for dtype in (torch.float64, torch.float32)]
# tangents do not ask whether gradients are on
CASES += [(question, torch.float32, True) for question in QUESTIONS[:4]]


@pytest.mark.parametrize(("question", "dtype", "no_grad"), CASES)
def test_equal_those_of_the_formula(
    question: Question, dtype: torch.dtype, no_grad: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make().to(dtype).requires_grad_(not no_grad)
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    x = torch.randn(2, 3, *SIZE, dtype=dtype)
    with torch.set_grad_enabled(not no_grad):
        found = leaves(question(model, parameters, x))
        monkeypatch.setattr(cpu, "_kernels", lambda: cpu.Kernels(*[lambda *_: False] * 5))
        monkeypatch.setattr(window_attention, "cosine_attention", lambda *args, dropout: cosine_attention_plain(*args))
        expected = leaves(question(model, parameters, x))
    assert len(found) == len(expected) >= 1
    for a, b in zip(found, expected):
        assert b.norm() > 0
        assert (a - b).norm() <= (1e-8 if dtype == torch.float64 else 1e-3) * b.norm()


def test_of_clips() -> None:
    """Forward and reverse mode agree: w . (J v) = (w J) . v."""
    model = make(video=True).requires_grad_(False)
    x, v = torch.randn(2, 1, 3, 5, *SIZE, dtype=torch.float64)
    out, along = jvp(lambda x: model(x)[0], (x,), (v,))
    w = torch.randn_like(out)
    _, back = vjp(lambda x: model(x)[0], x)
    torch.testing.assert_close((w * along).sum(), (back(w)[0] * v).sum())


def test_whole_jacobians_and_hessians_of_one_attention() -> None:
    attn = window_attention.WindowAttention(4, 1, (2, 2), shifted=True, pretrained_window=(2, 2)).double()
    x = torch.randn(1, 3, 3, 4, dtype=torch.float64)
    jacobian = jacrev(attn)(x)
    assert jacobian.shape == (1, 3, 3, 4, 1, 3, 3, 4)
    torch.testing.assert_close(jacobian, torch.autograd.functional.jacobian(attn, x))
    second = hessian(lambda x: attn(x).square().sum())(x)
    torch.testing.assert_close(second, second.permute(4, 5, 6, 7, 0, 1, 2, 3))


def test_gradgradcheck() -> None:
    attn = window_attention.WindowAttention(4, 1, (2, 2), shifted=True, pretrained_window=(2, 2)).double()
    x = torch.randn(1, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(attn, x)
    assert torch.autograd.gradcheck(attn, x, check_forward_ad=True, check_batched_grad=True)
