"""BackboneAmpOptimWrapper: bfloat16 inside the backbone, float32 around it, the same gradients up to rounding."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn

import swinv2_dense.engine  # noqa: F401  registers


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        (self.features,) = self.backbone(x)
        self.output = self.head(self.features)
        return self.output.square().mean()


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        self.inside = self.proj(x)
        return (self.inside,)


def wrapper_of(model: nn.Module, kind: str) -> object:
    return build_optim_wrapper(model, {"type": kind, "optimizer": {"type": "SGD", "lr": 0.0}})


def test_only_the_backbone_is_in_bfloat16() -> None:
    torch.manual_seed(0)
    model = Net()
    x = torch.randn(3, 4)
    wrapper = wrapper_of(model, "swinv2_dense.BackboneAmpOptimWrapper")
    with wrapper.optim_context(model):
        loss = model(x)
    assert model.backbone.inside.dtype == torch.bfloat16
    assert model.features.dtype == model.output.dtype == torch.float32
    wrapper.backward(loss)
    mixed = model.backbone.proj.weight.grad.clone()
    model.zero_grad()
    model(x).backward()  # outside of the context
    assert model.backbone.inside.dtype == torch.float32
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed, model.backbone.proj.weight.grad, rtol=0.05, atol=0.02)


def test_an_error_inside_leaves_no_autocast_behind() -> None:
    model = Net()
    wrapper = wrapper_of(model, "swinv2_dense.BackboneAmpOptimWrapper")
    with pytest.raises(RuntimeError), wrapper.optim_context(model):
        model(torch.randn(3, 5))
    assert not torch.is_autocast_enabled("cpu")
    model(torch.randn(3, 4))
    assert model.backbone.inside.dtype == torch.float32
