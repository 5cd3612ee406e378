"""The SwinV2 block (res-post-norm, figure 1 and section 3.2), its MLP, and a stage of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from swinv2_dense.cpu.block import band_by_band
from swinv2_dense.cpu.linear import Linear
from swinv2_dense.cpu.native import kernels_take
from swinv2_dense.layers.patch import PatchMerging
from swinv2_dense.layers.window_attention import WindowAttention

__all__ = ["Mlp", "SwinBlock", "SwinStage"]


class Mlp(nn.Module):
    """Linear - GELU - Linear on every token."""

    def __init__(self, dim: int, hidden: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """... x C -> the same."""
        return cast(Tensor, self.drop(self.fc2(self.drop(self.act(self.fc1(x))))))


class SwinBlock(nn.Module):
    """``x + norm1(attn(x))``, then ``x + norm2(mlp(x))``; the norms close the residual branches, so that a block adds
    the same amplitude at every depth. With ``extra_norm`` one more LayerNorm follows on the main branch (H and G)."""

    def __init__(
        self, attn: WindowAttention, dim: int, *, mlp_ratio: float, drop: float, drop_path: float, extra_norm: bool
    ) -> None:
        super().__init__()
        self.attn = attn
        self.norm1 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio), drop)
        self.norm2 = nn.LayerNorm(dim)
        self.norm3 = nn.LayerNorm(dim) if extra_norm else None
        self.drop_path = StochasticDepth(drop_path, mode="row")
        self.reset_branches()

    def reset_branches(self) -> None:
        """Section 3.2's residual branches begin at zero, as the authors initialise them."""
        for norm in (self.norm1, self.norm2):
            nn.init.zeros_(norm.weight)

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same."""
        if kernels_take(x) and self._only_infers(x):
            return band_by_band(self, x)
        x = x + self.drop_path(self.norm1(self.attn(x)))
        x = x + self.drop_path(self.norm2(self.mlp(x)))
        return x if self.norm3 is None else self.norm3(x)

    def _only_infers(self, x: Tensor) -> bool:
        """Whether no gradients are wanted, nothing is dropped or padded, and the modules do what they were made for:
        none is replaced, hooked or patched."""
        if torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters())):
            return False
        return (
            all(
                type(m) is _PARTS.get(name)
                and not (m.training or m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m))
                for name, m in self.named_modules()
                if not name.startswith("attn.cpb_mlp")  # which both ways ask for its table
            )
            and self.attn.pad_attention == "mask"
            and self.mlp.act.approximate == "none"
            and not _has_any_global_hook()
        )


_PARTS = {
    "": SwinBlock,
    "attn": WindowAttention,
    "attn.qkv": Linear,
    "attn.proj": Linear,
    "attn.proj_drop": nn.Dropout,
    "norm1": nn.LayerNorm,
    "mlp": Mlp,
    "mlp.fc1": Linear,
    "mlp.act": nn.GELU,
    "mlp.fc2": Linear,
    "mlp.drop": nn.Dropout,
    "norm2": nn.LayerNorm,
    "norm3": nn.LayerNorm,
    "drop_path": StochasticDepth,
}


class SwinStage(nn.Module):
    """Blocks of one resolution, every second one shifted, and the patch merging that leads to the next stage.

    Args:
        dim: channels C.
        heads: attention heads.
        window, pretrained_window: tokens per axis.
        drop_path: one rate a block; their number is the stage's depth.
        extra_norm_every_n_blocks: 0 for none.
        downsample: whether the stage ends with a :class:`PatchMerging`.
        with_cp: compute each block's activations again in the backward pass instead of keeping them.
    """

    pretrained_window_size: Tensor

    def __init__(
        self,
        dim: int,
        heads: int,
        window: tuple[int, ...],
        pretrained_window: tuple[int, ...],
        *,
        drop_path: Sequence[float],
        mlp_ratio: float = 4.0,
        qkv_bias: bool = True,
        drop: float = 0.0,
        attn_drop: float = 0.0,
        pad_attention: str = "mask",
        position_bias: str = "log_cpb",
        extra_norm_every_n_blocks: int = 0,
        downsample: bool = True,
        with_cp: bool = False,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.blocks = nn.ModuleList()
        for i, rate in enumerate(drop_path):
            attn = WindowAttention(
                dim,
                heads,
                window,
                shifted=i % 2 == 1,
                pretrained_window=pretrained_window,
                qkv_bias=qkv_bias,
                attn_drop=attn_drop,
                proj_drop=drop,
                pad_attention=pad_attention,
                position_bias=position_bias,
            )
            extra_norm = extra_norm_every_n_blocks > 0 and (i + 1) % extra_norm_every_n_blocks == 0
            self.blocks.append(
                SwinBlock(attn, dim, mlp_ratio=mlp_ratio, drop=drop, drop_path=rate, extra_norm=extra_norm)
            )
        self.downsample = PatchMerging(dim) if downsample else None
        # Saved with the weights, which mean nothing without it (section 3.3).
        self.register_buffer("pretrained_window_size", torch.tensor(pretrained_window))

    @property
    def pretrained_window(self) -> tuple[int, ...]:
        return cast(SwinBlock, self.blocks[0]).attn.cpb_mlp.pretrained_window

    def set_pretrained_window(self, window: tuple[int, ...]) -> None:
        self.pretrained_window_size.copy_(torch.tensor(window))
        for block in self.blocks:
            cast(SwinBlock, block).attn.cpb_mlp.pretrained_window = window

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same, before patch merging."""
        for block in self.blocks:
            with_cp = self.with_cp and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if with_cp else block(x)
        return x
