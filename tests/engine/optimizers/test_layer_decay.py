"""LayerDecayOptimWrapperConstructor: every trainable parameter in one group, with the rate and decay of its role."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

import swinv2_dense.engine  # noqa: F401  registers
from swinv2_dense.engine.optimizers.layer_decay import layer_of
from swinv2_dense.errors import UserError
from swinv2_dense.models import SwinTransformerV2

DEPTHS = (1, 2)
TYPE = "swinv2_dense.LayerDecayOptimWrapperConstructor"


class Detector(nn.Module):
    """Anything with our backbone at `backbone`."""

    def __init__(self, **options: object) -> None:
        super().__init__()
        arch = {"embed_dims": 8, "depths": DEPTHS, "num_heads": (1, 2)}
        self.backbone = SwinTransformerV2(arch, window_size=2, out_indices=(0, 1), drop_path_rate=0.0, **options)
        self.head = nn.Conv2d(16, 3, 1)


def groups_by_name(model: nn.Module, **paramwise_cfg: object) -> dict[str, dict]:
    wrapper = build_optim_wrapper(
        model,
        {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 1.0, "weight_decay": 0.05},
            "constructor": TYPE,
            "paramwise_cfg": paramwise_cfg,
        },
    )
    names = {id(param): name for name, param in model.named_parameters()}
    listed = [(names[id(param)], group) for group in wrapper.optimizer.param_groups for param in group["params"]]
    assert len(listed) == len(dict(listed))
    return dict(listed)


def test_every_trainable_parameter_once_and_no_frozen_one() -> None:
    model = Detector(frozen_stages=1)
    trainable = {name for name, param in model.named_parameters() if param.requires_grad}
    assert 0 < len(trainable) < len(list(model.parameters()))
    assert set(groups_by_name(model, decay_rate=0.9)) == trainable


def test_rates_follow_the_layers() -> None:
    groups = groups_by_name(Detector(), decay_rate=0.5, backbone_lr_mult=0.1)
    # Layers: patch embedding 0, blocks 1, 2, 3, head 4.
    expected = {
        "backbone.patch_embed.proj.weight": 0.1 * 0.5**4,
        "backbone.layers.0.blocks.0.attn.qkv.weight": 0.1 * 0.5**3,
        "backbone.norm0.weight": 0.1 * 0.5**3,
        "backbone.layers.0.downsample.reduction.weight": 0.1 * 0.5**3,
        "backbone.layers.1.blocks.0.mlp.fc1.weight": 0.1 * 0.5**2,
        "backbone.layers.1.blocks.1.mlp.fc2.bias": 0.1 * 0.5,
        "backbone.norm1.bias": 0.1 * 0.5,
        "head.weight": 1.0,
    }
    for name, lr in expected.items():
        assert groups[name]["lr"] == pytest.approx(lr), name


def test_rate_one_leaves_only_the_multiplier() -> None:
    groups = groups_by_name(Detector(), backbone_lr_mult=0.1)
    for name, group in groups.items():
        assert group["lr"] == pytest.approx(0.1 if name.startswith("backbone.") else 1.0), name
    assert len({id(group) for group in groups.values()}) == 4


def test_weights_of_layers_decay_and_nothing_else() -> None:
    groups = groups_by_name(Detector())
    decaying = {name for name, group in groups.items() if group["weight_decay"] > 0}
    assert {groups[name]["weight_decay"] for name in decaying} == {0.05}
    ends = ("qkv.weight", "proj.weight", "fc1.weight", "fc2.weight", "reduction.weight")
    assert decaying == {name for name in groups if name.endswith(ends)} | {"head.weight"}


def test_layers_count_up_to_the_number_of_blocks() -> None:
    names = [name.removeprefix("backbone.") for name, _ in Detector().backbone.named_parameters()]
    assert {layer_of(name, DEPTHS) for name in names} == set(range(sum(DEPTHS) + 1))


def test_mistakes_name_the_key() -> None:
    with pytest.raises(UserError, match="'decay_rat': did you mean 'decay_rate'"):
        groups_by_name(Detector(), decay_rat=0.9)
    with pytest.raises(UserError, match="no SwinV2 at the backbone"):
        groups_by_name(nn.Linear(2, 2))
    with pytest.raises(UserError, match="needs lr and weight_decay"):
        build_optim_wrapper(Detector(), {"optimizer": {"type": "AdamW", "lr": 1.0}, "constructor": TYPE})


def test_a_step_moves_all_of_it() -> None:
    model = Detector()
    for norm in [module for module in model.modules() if isinstance(module, nn.LayerNorm)]:
        nn.init.normal_(norm.weight, 1.0, 0.1)  # residual norms may start at zero, and hide what is behind them
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    wrapper = build_optim_wrapper(
        model, {"optimizer": {"type": "AdamW", "lr": 1e-2, "weight_decay": 0.05}, "constructor": TYPE}
    )
    features = model.backbone(torch.randn(1, 3, 24, 24))
    # Plain sums would be blind to what comes before a LayerNorm.
    loss = model.head(features[1]).square().mean() + (features[0] * torch.randn_like(features[0])).mean()
    wrapper.update_params(loss)
    still = {name for name, param in model.named_parameters() if torch.equal(param, before[name])}
    assert still == set()
