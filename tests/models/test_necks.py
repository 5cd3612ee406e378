"""Global attention before the pyramid: shapes, residual start, no sense of position, and building from a config."""

from __future__ import annotations

import pytest
import torch
from mmengine.registry import MODELS
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.models.necks import GlobalAttentionNeck


def features() -> list[Tensor]:
    return [torch.randn(2, 4, 12, 20), torch.randn(2, 8, 6, 10), torch.randn(2, 16, 3, 5)]


@pytest.fixture
def neck() -> GlobalAttentionNeck:
    """With weights as after training."""
    neck = GlobalAttentionNeck(16, 4)
    nn.init.normal_(neck.attention.out_proj.weight)
    nn.init.normal_(neck.norm.weight)
    return neck


def test_at_the_start_nothing_changes_and_everything_learns() -> None:
    neck, maps = GlobalAttentionNeck(16, 4), features()
    out = neck(maps)
    assert all(torch.equal(one, other) for one, other in zip(out, maps, strict=True))
    out[-1].square().sum().backward()
    assert neck.attention.out_proj.weight.grad.abs().sum() > 0


def test_only_the_last_map_changes(neck: GlobalAttentionNeck) -> None:
    maps = features()
    out = neck(maps)
    assert [o.shape for o in out] == [m.shape for m in maps]
    assert all(o is m for o, m in zip(out[:-1], maps[:-1], strict=True))
    assert (out[-1] - maps[-1]).abs().min(dim=1).values.min() > 0


def test_it_is_attention_over_all_tokens_of_a_image(neck: GlobalAttentionNeck) -> None:
    """Head by head and token by token."""
    last = features()[-1]
    expected = []
    weight, bias = neck.attention.in_proj_weight, neck.attention.in_proj_bias
    for image in last:
        tokens = neck.norm(image.flatten(1).T)
        query, key, value = (tokens @ weight.T + bias).chunk(3, dim=1)
        heads = []
        for part in torch.arange(16).chunk(4):
            heads.append((query[:, part] @ key[:, part].T / 4**0.5).softmax(dim=1) @ value[:, part])
        expected.append(image + neck.attention.out_proj(torch.cat(heads, dim=1)).T.reshape(image.shape))
    torch.testing.assert_close(neck([last])[0], torch.stack(expected))


def test_moving_tokens_moves_the_result(neck: GlobalAttentionNeck) -> None:
    last = features()[-1]
    order = torch.randperm(15)
    moved = neck([last.flatten(2)[..., order].reshape(last.shape)])[0]
    torch.testing.assert_close(moved.flatten(2), neck([last])[0].flatten(2)[..., order])


def test_stands_before_another_neck_in_a_config() -> None:
    config = [{"type": "swinv2_dense.GlobalAttentionNeck", "channels": 16, "num_heads": 4}] * 2
    assert [o.shape for o in MODELS.build(config)(features())] == [m.shape for m in features()]


def test_heads_must_divide_channels() -> None:
    with pytest.raises(UserError, match="num_heads=3 must divide channels=16"):
        GlobalAttentionNeck(16, 3)
