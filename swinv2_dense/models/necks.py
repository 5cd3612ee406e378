"""What stands between backbone and feature pyramid."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.registry import MODELS

__all__ = ["GlobalAttentionNeck"]


@MODELS.register_module()
class GlobalAttentionNeck(BaseModule):
    """One layer of global self-attention on the last feature map, ``x + attention(LayerNorm(x))``.

    The extra layer that HTC++ of the Swin V1 paper (arXiv 2103.14030, system-level comparison) appends to the last
    stage, without further details. The V2 paper mentions none, so no recipe of ours uses it. It attends over the whole
    map, H_3 * W_3 tokens (2304 for 1536 x 1536), without position bias: windows and shifts have already
    given the tokens their place. Its output projection starts at zero, so that adding it leaves a trained detector
    unchanged.

    Stands before the pyramid as ``neck=[dict(type='swinv2_dense.GlobalAttentionNeck', channels=768, num_heads=24),
    dict(type='FPN', ...)]``.

    Args:
        channels: of the last feature map.
        num_heads: divides ``channels``.

    Raises:
        UserError: ``num_heads`` does not divide ``channels``.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        if channels % num_heads:
            raise UserError(f"GlobalAttentionNeck: num_heads={num_heads} must divide channels={channels}")
        self.norm = nn.LayerNorm(channels)
        self.attention = nn.MultiheadAttention(channels, num_heads, batch_first=True)
        nn.init.zeros_(self.attention.out_proj.weight)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """B x C_i x H_i x W_i of every stage -> the same, the last one changed."""
        *others, last = features
        # B x C x H x W -> B x HW x C
        tokens = last.flatten(2).transpose(1, 2)
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, normed, need_weights=False)[0]
        return *others, tokens.transpose(1, 2).reshape(last.shape)
