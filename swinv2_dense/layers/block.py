"""The SwinV2 block (res-post-norm, figure 1 and section 3.2), its MLP, and a stage of blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.ops import StochasticDepth

from swinv2_dense.cpu import kernels_for
from swinv2_dense.layers.dispatch import inside_a_mode, is_transformed, version
from swinv2_dense.layers.linear import apply_linear
from swinv2_dense.layers.patch import PatchMerging
from swinv2_dense.layers.window_attention import WindowAttention

__all__ = ["Mlp", "SwinBlock", "SwinStage"]


class Mlp(nn.Module):
    """Linear - GELU - Linear on every token."""

    def __init__(self, dim: int, hidden: int, drop: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop)

    def forward(self, x: Tensor) -> Tensor:
        """... x C -> the same."""
        x = self.drop(self.act(apply_linear(self.fc1, x)))
        return cast(Tensor, self.drop(apply_linear(self.fc2, x)))


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
        kernels = kernels_for(x)
        if kernels is not None and kernels.takes_block(self, x):
            return kernels.block(self, x)
        x = x + self.drop_path(self.norm1(self.attn(x)))
        x = x + self.drop_path(self.norm2(self.mlp(x)))
        return x if self.norm3 is None else self.norm3(x)


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
    _read: tuple[int, int] | None = None  # the state of the buffer that was last read

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
        self.pretrained_window = pretrained_window

    def set_pretrained_window(self, window: tuple[int, ...]) -> None:
        self.pretrained_window_size.copy_(torch.tensor(window))
        self._use(window)

    def _use(self, window: tuple[int, ...]) -> None:
        self.pretrained_window = window
        for module in self.blocks.modules():  # a block may be wrapped
            if "pretrained_window" in vars(module):
                cast(Any, module).pretrained_window = window

    def _follow_buffer(self) -> None:
        """Use the window that the buffer holds, which others write as they write all buffers: DDP with the first
        process's, averages of models with a model's. Where reading waits for the device, it is read when changed."""
        saved = self.pretrained_window_size
        if torch.compiler.is_compiling() or torch.jit.is_tracing() or inside_a_mode():
            return
        if type(saved) is not Tensor or saved.is_meta or is_transformed(saved):
            return
        read = (saved.data_ptr(), version(saved))
        if saved.device.type == "cpu" or read != self._read:
            window = tuple(saved.tolist())
            if window != self.pretrained_window:
                self._use(window)
        self._read = read

    def train(self, mode: bool = True) -> SwinStage:
        self._read = None
        self._follow_buffer()
        return super().train(mode)

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> SwinStage:
        was_meta = self.pretrained_window_size.is_meta
        super()._apply(fn, recurse)
        self._read = None
        if was_meta and not self.pretrained_window_size.is_meta:  # new memory, which holds anything
            self.set_pretrained_window(self.pretrained_window)
        return self

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same, before patch merging."""
        self._follow_buffer()
        for block in self.blocks:
            with_cp = self.with_cp and torch.is_grad_enabled()
            x = checkpoint(block, x, use_reentrant=False) if with_cp else block(x)
        return x
