"""Scaled cosine attention inside windows, equation 2: ``softmax(cos(q, k) / tau + B) v``.

Windows come as a list of tokens, kind after kind (see ``windows.py``); how many axes the map had is no concern here.
There is one formula and three ways to evaluate it, chosen in :func:`cosine_attention`:

- :func:`cosine_attention_plain`, the formula as the paper writes it: the reference, and what attention dropout needs;
- torch's fused kernel and its own gradients, on accelerators and for the compiler, in training a group of windows after
  another (section 3.5): the kernel writes the bias's gradient out for every window before it is summed;
- :func:`~swinv2_dense.layers.cpu_attention.cpu_attention` on the CPU, in both directions.

Shapes: T all tokens, n windows of one kind, N tokens of a window, H heads, D channels of a head, C = H * D.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.layers.cpu_attention import cpu_attention, groups, unit_qk
from swinv2_dense.layers.log_cpb import LogCPB, at_least_float32, expand_bias
from swinv2_dense.layers.patch import pad_to_multiple
from swinv2_dense.layers.windows import Kind, WindowGrid, merge, partition, window_grid, windows_of

__all__ = ["WindowAttention", "cosine_attention", "cosine_attention_plain"]

# Logits of a group of windows when the fused kernel gives their bias a gradient: 1 GiB in float32. At 1536 x 1536 with
# windows of 32 the first stage of SwinV2-G has nine times as many. A single window and head is never divided.
FUSED_ENTRIES = 2**28


def _tokens_of(windows: Sequence[Tensor]) -> Tensor:
    """The way back: n x H x N x D of every kind -> T x C."""
    parts = [w.transpose(1, 2).reshape(-1, w.shape[1] * w.shape[3]) for w in windows]
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def cosine_attention(
    qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind], *, dropout: float = 0.0
) -> Tensor:
    """Attention of all windows of a batch of maps.

    Args:
        qkv: T x 3 x H x D, tokens in the order of :func:`~swinv2_dense.layers.windows.partition`.
        scale: H, 1 / tau.
        table: position bias of every offset, H x (2W_1 - 1) x ....
        kinds: the kinds of window of one map.
        dropout: of the attention weights.

    Returns:
        T x C, in qkv's dtype.
    """
    if dropout:
        return cosine_attention_plain(qkv, scale, table, kinds, dropout=dropout)
    if qkv.device.type == "cpu" and not torch.compiler.is_compiling():
        return cpu_attention(qkv, scale, table, kinds)
    return cosine_attention_fused(qkv, scale, table, kinds)


def cosine_attention_fused(qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """:func:`cosine_attention` by torch's fused kernel and its gradients."""
    out = []
    for kind, q_nHND, k_nHND, v_nHND in zip(kinds, *(windows_of(t, kinds) for t in unit_qk(qkv, scale)), strict=True):
        bias = expand_bias(table, kind.shape).to(q_nHND.dtype)[None]
        entries = FUSED_ENTRIES if torch.is_grad_enabled() and table.requires_grad else q_nHND.shape[0] * bias.numel()
        by_heads = []
        for h, windows in groups(len(q_nHND), q_nHND.shape[1], entries // kind.tokens**2):
            of_windows = [
                F.scaled_dot_product_attention(
                    q_nHND[w, h], k_nHND[w, h], v_nHND[w, h], attn_mask=bias[:, h], scale=1.0
                )
                for w in windows
            ]
            by_heads.append(of_windows[0] if len(of_windows) == 1 else torch.cat(of_windows))
        out.append(by_heads[0] if len(by_heads) == 1 else torch.cat(by_heads, dim=1))
    return _tokens_of(out)


def cosine_attention_plain(
    qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind], *, dropout: float = 0.0
) -> Tensor:
    """:func:`cosine_attention` by the formula, holding every n x H x N x N matrix. The reference for the fast ways."""
    out = []
    for kind, q_nHND, k_nHND, v_nHND in zip(kinds, *(windows_of(t, kinds) for t in unit_qk(qkv, scale)), strict=True):
        logits = q_nHND @ k_nHND.mT + expand_bias(table, kind.shape)
        out.append(F.dropout(logits.softmax(-1), dropout).to(v_nHND.dtype) @ v_nHND)
    return _tokens_of(out)


class WindowAttention(nn.Module):
    """Window attention of a block: partition, qkv, cosine attention, projection, merge.

    Args:
        dim: channels C, ``heads`` times D.
        heads: attention heads H.
        window: tokens per axis.
        shifted: cut the map half a window further, as every second block does.
        pretrained_window: window that the weights are pre-trained with, see :class:`LogCPB`.
        pad_attention: ``'mask'``: tokens attend to tokens only. ``'zeros'``: the map is padded with zeros up to full
            windows and the padding takes part, as in Hugging Face's and MMPretrain's models.
    """

    def __init__(
        self,
        dim: int,
        heads: int,
        window: tuple[int, ...],
        *,
        shifted: bool,
        pretrained_window: tuple[int, ...],
        qkv_bias: bool = True,
        attn_drop: float = 0.0,
        proj_drop: float = 0.0,
        pad_attention: str = "mask",
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shifted, self.pad_attention = heads, window, shifted, pad_attention
        self.attn_drop = attn_drop
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))
        self.cpb_mlp = LogCPB(heads, pretrained_window)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def grid(self, size: tuple[int, ...]) -> WindowGrid:
        return window_grid(size, self.window, shifted=self.shifted)

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same."""
        batch, size = x.shape[0], x.shape[1:-1]
        if self.pad_attention == "zeros":
            # an axis within one window is never padded: its window shrinks to it
            x = pad_to_multiple(x, tuple(map(min, size, self.window)), first_axis=1)
        grid = self.grid(tuple(x.shape[1:-1]))

        bias = None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        qkv_TC = F.linear(partition(x, grid), self.qkv.weight, bias)
        out_TC = cosine_attention(
            qkv_TC.unflatten(-1, (3, self.heads, -1)),
            self.logit_scale.flatten().to(at_least_float32(self.logit_scale)).clamp(max=math.log(100)).exp(),
            self.cpb_mlp.table(grid.window),
            grid.kinds,
            dropout=self.attn_drop if self.training else 0.0,
        )
        x = merge(self.proj_drop(self.proj(out_TC)), grid, batch)
        for axis, s in enumerate(size, start=1):
            x = x.narrow(axis, 0, s)
        return x
