"""Linear layers that others have replaced, wrapped, hooked or quantised take part as what they are."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import prune

from swinv2_dense.layers import apply_linear
from swinv2_dense.models import SwinTransformerV2
from tests.models.oracles import ARCH, randomize, relative_error

LAYERS = ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "attn.cpb_mlp.0", "attn.cpb_mlp.2"]


def small() -> SwinTransformerV2:
    arch = {**ARCH, "depths": [2, 1, 1, 1]}
    return randomize(SwinTransformerV2(arch, window_size=4, out_indices=(0, 3)))  # type: ignore[return-value]


class OneArgument(nn.Module):
    """As adapters wrap a layer: called with tokens alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def _copied(layer: nn.Module) -> nn.Module:
    copy = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    copy.load_state_dict(layer.state_dict())
    return copy


CHANGES: list[Callable[[nn.Module], nn.Module]] = [
    OneArgument,
    _copied,
    lambda layer: nn.Sequential(layer, nn.Identity()),
    nn.utils.parametrizations.weight_norm,
    lambda layer: prune.l1_unstructured(layer, "weight", 0),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", LAYERS)
def test_a_replaced_layer_that_does_the_same_gives_the_same(
    name: str, change: Callable[[nn.Module], nn.Module]
) -> None:
    model, x = small(), torch.randn(1, 3, 44, 60)
    with torch.no_grad():
        expected = list(model(x))
    place = f"layers.0.blocks.1.{name}"
    model.set_submodule(place, change(model.get_submodule(place)))
    with torch.no_grad():
        assert relative_error(model(x), expected) < 1e-5
    model(x)[1].square().sum().backward()
    assert all(p.grad is not None for p in model.get_submodule(place).parameters())


@pytest.mark.parametrize("grad", [False, True])
def test_a_bias_of_the_layer_is_added_to_those_of_queries_and_values(grad: bool) -> None:
    model, x = small(), torch.randn(1, 3, 32, 32)
    attn = model.layers[0].blocks[1].attn
    other = _copied(nn.Linear(32, 96))
    with torch.no_grad():
        other.weight.copy_(attn.qkv.weight)
        other.bias[32:64] = 0  # keys have none in the model
    attn.qkv = other
    with torch.set_grad_enabled(grad):
        found = model(x)
    attn.qkv = nn.Linear(32, 96, bias=False)
    with torch.no_grad():
        attn.qkv.weight.copy_(other.weight)
        attn.q_bias += other.bias[:32]
        attn.v_bias += other.bias[64:]
        assert relative_error(found, list(model(x))) < 1e-5


@pytest.mark.parametrize("hooked", [False, True])
@pytest.mark.parametrize("own", [False, True])
def test_apply_linear(own: bool, hooked: bool) -> None:
    layer, x, bias = nn.Linear(5, 6, bias=own), torch.randn(3, 5), torch.randn(6)
    seen: list[Tensor] = []
    if hooked:
        layer.register_forward_hook(lambda *args: seen.append(args[-1]))
    for given in (None, bias):
        total = sum(b for b in (layer.bias, given) if b is not None)
        torch.testing.assert_close(apply_linear(layer, x, given), F.linear(x, layer.weight) + total)
    assert len(seen) == 2 * hooked


def test_dynamic_quantisation_replaces_every_linear_layer() -> None:
    model, x = small(), torch.randn(1, 3, 44, 60)
    with torch.no_grad():
        expected = list(model(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces that another package takes this over
        quantised = torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)
    assert not [name for name, m in quantised.named_modules() if type(m) is nn.Linear]
    with torch.no_grad():
        found = quantised(x)
        # eight bits of weights and activations; the sizes of maps do not matter
        assert 0 < relative_error(found, expected) < 0.1
        assert relative_error(quantised(x), list(found)) == 0


def test_lora_of_peft() -> None:
    peft = pytest.importorskip("peft")
    model, x = small().double(), torch.randn(1, 3, 44, 60, dtype=torch.float64)
    with torch.no_grad():
        expected = list(model(x))
    config = peft.LoraConfig(r=2, target_modules=["qkv", "proj", "fc1", "fc2", "cpb_mlp.0", "reduction"], lora_alpha=8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adapted = peft.inject_adapter_in_model(config, model)
    trainable = {name: p for name, p in adapted.named_parameters() if "lora" in name}
    assert {name for name, p in adapted.named_parameters() if p.requires_grad} == set(trainable)
    assert any("qkv" in name for name in trainable) and any("cpb_mlp" in name for name in trainable)
    with torch.no_grad():
        assert relative_error(adapted(x), expected) < 1e-5  # adapters begin at zero
        for p in trainable.values():
            nn.init.normal_(p, std=0.3)
        changed = list(adapted.eval()(x))
        assert relative_error(tuple(changed), expected) > 1e-2
    adapted(x)[1].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in trainable.values())
    with torch.no_grad():
        for module in adapted.modules():
            if isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer):
                module.merge()
        assert relative_error(adapted(x), changed) < 1e-9
