"""Pre-norm blocks by a plain recomputation, in both modes; the default block is not changed by their being there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from swinv2_dense.cpu import kernels_for
from swinv2_dense.cpu.block import only_infers
from swinv2_dense.errors import UserError
from swinv2_dense.export.traceable import traceable
from swinv2_dense.layers import SwinBlock
from swinv2_dense.measure.pre_norm import PreNormBlock, use_pre_norm
from swinv2_dense.models import SwinTransformerV2
from tests.models.oracles import ARCH, randomize

EXTRA: dict[str, Any] = {**ARCH, "extra_norm_every_n_blocks": 2}


def pre_norm(arch: dict[str, Any] = ARCH) -> SwinTransformerV2:
    model = SwinTransformerV2(arch, window_size=4, drop_path_rate=0.0)
    use_pre_norm(model)
    return randomize(model)


def plain_block(block: Any, x: Tensor) -> Tensor:
    """Swin V1's equation 3, ``z + attn(LN(z))`` then ``z + mlp(LN(z))``, in double precision, but for attention."""

    def norm(of: Any, y: Tensor) -> Tensor:
        y = y - y.mean(-1, keepdim=True)
        return y / (y.square().mean(-1, keepdim=True) + 1e-5).sqrt() * of.weight + of.bias

    x = x + block.attn(norm(block.norm1, x))
    hidden = norm(block.norm2, x) @ block.mlp.fc1.weight.T + block.mlp.fc1.bias
    x = x + F.gelu(hidden) @ block.mlp.fc2.weight.T + block.mlp.fc2.bias
    return x if block.norm3 is None else norm(block.norm3, x)


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.parametrize("arch", [ARCH, EXTRA])
def test_blocks_compute_the_equation(arch: dict[str, Any], grad: bool) -> None:
    model = pre_norm(arch)
    for block in model.layers[1].blocks:
        x = torch.randn(2, 7, 9, 64) * 3
        with torch.set_grad_enabled(grad):
            found = block(x)
        wanted = plain_block(block.double(), x.double())
        torch.testing.assert_close(found.double(), wanted, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(SwinBlock.forward(block.float(), x), found, atol=0.1)


@torch.no_grad()
def test_the_kernels_leave_such_a_block_to_torch() -> None:
    x = torch.randn(1, 8, 8, 64)
    if kernels_for(x) is None:
        pytest.skip("no C++ compiler")
    post = SwinTransformerV2(ARCH, window_size=4).eval().requires_grad_(False).layers[1].blocks[0]
    assert only_infers(post, x)
    assert not only_infers(PreNormBlock(post).eval(), x)


def test_it_has_the_same_parameters_and_open_branches() -> None:
    torch.manual_seed(0)
    post = SwinTransformerV2(ARCH, window_size=4)
    names = list(post.state_dict())
    assert all((block.norm1.weight == 0).all() for stage in post.layers for block in stage.blocks)
    use_pre_norm(post)
    blocks = [block for stage in post.layers for block in stage.blocks]
    assert all(type(block) is PreNormBlock and (block.norm2.weight == 1).all() for block in blocks)
    assert list(post.state_dict()) == names
    assert [block.attn.shifted for block in blocks] == [False, True] * 4


def test_it_is_not_exported_as_if_its_norms_closed_the_branches() -> None:
    with pytest.raises(UserError, match="a PreNormBlock stands in for a block of SwinV2"):
        traceable(pre_norm())
