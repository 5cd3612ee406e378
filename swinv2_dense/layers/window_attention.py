"""Scaled cosine attention inside windows, equation 2: ``softmax(cos(q, k) / tau + B) v``.

There is one formula and three ways to evaluate it, chosen in :func:`cosine_attention`:

- :func:`cosine_attention_plain`, the formula as the paper writes it: the reference, and what attention dropout,
  ``torch.func`` and forward-mode AD need;
- :func:`cosine_attention_fused`, torch's fused kernel and its own gradients, on accelerators, in training a group of
  windows after another (section 3.5): the kernel writes the bias's gradient out for every window before it is summed;
- :func:`~swinv2_dense.cpu.attention.cpu_attention`, this package's own kernel, on CPUs.

How many axes the maps have is the concern of ``windows.py`` alone.

Shapes: B maps of *size tokens, T tokens in all, n windows of one group, N tokens of a window, H heads, D channels of a
head, C = H * D.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.cpu import kernels_for
from swinv2_dense.layers.dispatch import is_transformed, wants_gradients
from swinv2_dense.layers.linear import apply_linear
from swinv2_dense.layers.log_cpb import at_least_float32, expand_bias
from swinv2_dense.layers.patch import pad_to_multiple
from swinv2_dense.layers.position_bias import position_bias as make_position_bias
from swinv2_dense.layers.windows import WindowGrid, merge, partition, window_grid, windows_of

__all__ = ["WindowAttention", "cosine_attention", "cosine_attention_fused", "cosine_attention_plain"]

# Logits of a group of windows when the fused kernel gives their bias a gradient: 1 GiB in float32. At 1536 x 1536 with
# windows of 32 the first stage of SwinV2-G has nine times as many. A single window and head is never divided.
FUSED_ENTRIES = 2**28

_EPS = 1e-6


def cosine_attention(qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid, *, dropout: float = 0.0) -> Tensor:
    """Attention of every token of a batch of maps to the tokens of its window.

    Args:
        qkv: B x *size x 3 x H x D.
        scale: H, 1 / tau.
        table: position bias of every offset, H x (2W_1 - 1) x ....
        grid: how a map is cut into windows.
        dropout: of the attention weights.

    Returns:
        B x *size x C, in qkv's dtype.
    """
    if dropout or is_transformed(qkv, scale, table):  # fused kernels have no tangents
        return cosine_attention_plain(qkv, scale, table, grid, dropout=dropout)
    if (kernels := kernels_for(qkv, scale, table)) is not None:
        return kernels.attention(qkv, scale, table, grid)
    return cosine_attention_fused(qkv, scale, table, grid)


def _unit(x: Tensor) -> Tensor:
    """x / |x| over the last axis, in float32 or wider. A zero vector (a padding token's key) stays, with a zero
    gradient: ``F.normalize`` would give it 1/eps, which is infinite in float16."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=at_least_float32(x))
    return x * torch.where(norm > 0, norm.clamp_min(_EPS).reciprocal(), 0)


class _Attend(Protocol):
    def __call__(self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        """n x H x N x D, with queries over tau and keys of unit length, and H x N x N -> n x H x N x D."""


def _by_group(qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid, attend: _Attend) -> Tensor:
    """``attend`` for the windows of every group in turn."""
    tokens = partition(qkv.flatten(-3), grid).unflatten(-1, qkv.shape[-3:])
    q, k, v = tokens.unbind(1)
    q, k = (_unit(q) * scale[:, None]).to(v.dtype), _unit(k).to(v.dtype)
    parts = []
    for group, q_nHND, k_nHND, v_nHND in zip(
        grid.groups, *(windows_of(t, grid.groups) for t in (q, k, v)), strict=True
    ):
        out_nHND = attend(q_nHND, k_nHND, v_nHND, expand_bias(table, group.shape))
        parts.append(out_nHND.transpose(1, 2).reshape(-1, out_nHND.shape[1] * out_nHND.shape[3]))
    return merge(parts[0] if len(parts) == 1 else torch.cat(parts), grid, qkv.shape[0])


def _groups(n: int, heads: int, room: int) -> Iterator[tuple[slice, list[slice]]]:
    """Some heads, and for these the windows, so that a group has ``room`` pairs of the two, or a single one."""
    heads_at_once = min(heads, max(1, room))
    windows_at_once = max(1, room // heads_at_once)
    # of an empty batch one empty slice, so that there is something to concatenate
    windows = [slice(i, i + windows_at_once) for i in range(0, max(n, 1), windows_at_once)]
    for h in range(0, heads, heads_at_once):
        yield slice(h, h + heads_at_once), windows


def cosine_attention_fused(qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid) -> Tensor:
    """:func:`cosine_attention` by torch's fused kernel and its gradients."""

    def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        bias = bias.to(q.dtype)[None]
        if not (wants_gradients() and table.requires_grad):
            return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        by_heads = []
        for h, windows in _groups(len(q), q.shape[1], FUSED_ENTRIES // bias[0, 0].numel()):
            of_windows = [
                F.scaled_dot_product_attention(q[w, h], k[w, h], v[w, h], attn_mask=bias[:, h], scale=1.0)
                for w in windows
            ]
            by_heads.append(of_windows[0] if len(of_windows) == 1 else torch.cat(of_windows))
        return by_heads[0] if len(by_heads) == 1 else torch.cat(by_heads, dim=1)

    return _by_group(qkv, scale, table, grid, attend)


def cosine_attention_plain(
    qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid, *, dropout: float = 0.0
) -> Tensor:
    """:func:`cosine_attention` by the formula, holding every n x H x N x N matrix. The reference for the fast ways."""

    def attend(q: Tensor, k: Tensor, v: Tensor, bias: Tensor) -> Tensor:
        weights = (q @ k.mT + bias).softmax(-1)
        return F.dropout(weights, dropout).to(v.dtype) @ v

    return _by_group(qkv, scale, table, grid, attend)


class WindowAttention(nn.Module):
    """Window attention of a block: qkv, cosine attention inside windows, projection.

    Args:
        dim: channels C, ``heads`` times D.
        heads: attention heads H.
        window: tokens per axis.
        shifted: cut the map half a window further, as every second block does.
        pretrained_window: window that the weights are pre-trained with, see
            :class:`~swinv2_dense.layers.log_cpb.LogCPB`.
        pad_attention: ``'mask'``: tokens attend to tokens only. ``'zeros'``: the map is padded with zeros up to full
            windows and the padding takes part, as in Hugging Face's and MMPretrain's models.
        position_bias: a key of :data:`~swinv2_dense.layers.position_bias.POSITION_BIASES`.
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
        position_bias: str = "log_cpb",
    ) -> None:
        super().__init__()
        self.heads, self.window, self.shifted, self.pad_attention = heads, window, shifted, pad_attention
        self.attn_drop = attn_drop
        self.logit_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))
        self.cpb_mlp = make_position_bias(position_bias, heads, window, pretrained_window)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.v_bias = nn.Parameter(torch.zeros(dim)) if qkv_bias else None
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(proj_drop)

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same."""
        size = x.shape[1:-1]
        grid = self.grid(size)
        if self.pad_attention == "zeros":
            x = pad_to_multiple(x, grid.window, first_axis=1)

        bias, scale, table = self.operands(grid)
        qkv = apply_linear(self.qkv, x, bias).unflatten(-1, (3, self.heads, -1))
        dropout = self.attn_drop if self.training else 0.0
        x = apply_linear(self.proj, cosine_attention(qkv, scale, table, grid, dropout=dropout))
        x = self.proj_drop(x)
        for axis, s in enumerate(size, start=1):
            x = x.narrow(axis, 0, s)
        return x

    def grid(self, size: Sequence[int]) -> WindowGrid:
        """How a map of ``size`` tokens is cut into windows; ``grid.size`` is larger where zeros fill the last ones."""
        if self.pad_attention == "zeros":
            # an axis within one window is never padded: its window shrinks to it
            size = [s + -s % min(s, w) for s, w in zip(size, self.window, strict=True)]
        return window_grid(size, self.window, shifted=self.shifted)

    def operands(self, grid: WindowGrid) -> tuple[Tensor | None, Tensor, Tensor]:
        """The bias of qkv, 3C or None, and scale and table of :func:`cosine_attention`."""
        bias = None
        if self.q_bias is not None and self.v_bias is not None:
            bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        scale = self.logit_scale.flatten().to(at_least_float32(self.logit_scale)).clamp(max=math.log(100)).exp()
        return bias, scale, self.cpb_mlp.table(grid.window)
