"""Swin V1's block, whose norms open the residual branches: what figure 2 of the paper compares res-post-norm with.

For experiments alone, so the backbone has no option of it: its blocks are replaced afterwards. The kernels for CPUs and
the export take blocks of :class:`~swinv2_dense.layers.SwinBlock` only, and leave these to torch or refuse them.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from swinv2_dense.layers import SwinBlock, SwinStage
from swinv2_dense.models import SwinTransformerV2

__all__ = ["PreNormBlock", "use_pre_norm"]


class PreNormBlock(SwinBlock):
    """``x + attn(norm1(x))``, then ``x + mlp(norm2(x))``."""

    def __init__(self, block: SwinBlock) -> None:
        """A block of the same parts; its norms begin at one, as no branch is to be closed."""
        nn.Module.__init__(self)
        for name, part in block.named_children():
            self.add_module(name, part)
        self.norm3 = block.norm3  # also where it is None
        for norm in (self.norm1, self.norm2):
            nn.init.ones_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x if self.norm3 is None else self.norm3(x)


def use_pre_norm(backbone: SwinTransformerV2) -> None:
    """Replace every block of a new backbone."""
    for stage in backbone.layers:
        blocks = cast(SwinStage, stage).blocks
        for i, block in enumerate(blocks):
            blocks[i] = PreNormBlock(cast(SwinBlock, block))
