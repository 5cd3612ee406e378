"""Scaled cosine attention inside windows, equation 2: ``softmax(cos(q, k) / tau + B) v``.

Windows come as a list of tokens, kind after kind (see ``windows.py``); how many axes the map had is no concern here.
There is one formula and three ways to evaluate it, chosen in :func:`cosine_attention`:

- :func:`cosine_attention_plain`, the formula as the paper writes it: the reference, and what attention dropout needs;
- torch's fused kernel and its own gradients, on accelerators and for the compiler, in training a group of windows after
  another (section 3.5): the kernel writes the bias's gradient out for every window before it is summed;
- on the CPU, where the fused kernel cannot give the bias a gradient: the fused kernel forwards, which also returns the
  log-sum-exp of each row, and a backward pass that computes the probabilities again from it, a group of windows at a
  time (the paper's sequential attention, section 3.5, for both directions). No N x N matrix outlives its group.

Shapes: T all tokens, n windows of one kind, N tokens of a window, H heads, D channels of a head, C = H * D.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.layers.log_cpb import LogCPB, at_least_float32, expand_bias, fold_bias
from swinv2_dense.layers.patch import pad_to_multiple
from swinv2_dense.layers.windows import Kind, WindowGrid, merge, partition, window_grid

__all__ = ["WindowAttention", "cosine_attention", "cosine_attention_plain"]

# Entries of the N x N matrices that are alive at a time. Of 2^18 to 2^24 the fastest on CPUs: the passes over one
# group's matrix then stay in the cache. A single window and head is never divided.
GROUP_ENTRIES = 2**20
# The same for the fused kernel's gradient of the bias: 1 GiB in float32. At 1536 x 1536 with windows of 32 the first
# stage of SwinV2-G has nine times as many.
FUSED_ENTRIES = 2**28

_EPS = 1e-6


def _inverse_norm(x: Tensor) -> Tensor:
    """1 / |x| over the last axis, in float32 or wider, keepdim. A zero vector (a padding token's key) has a zero
    gradient: ``F.normalize`` would give it 1/eps, which is infinite in float16."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=at_least_float32(x))
    return torch.where(norm > 0, norm.clamp_min(_EPS).reciprocal(), 0)


def _windows_of(tokens: Tensor, kinds: Sequence[Kind], batch: int) -> Iterator[tuple[Kind, Tensor]]:
    """T x H x D -> for every kind n x H x N x D, a view."""
    row = 0
    for kind in kinds:
        n = batch * kind.windows
        rows = tokens.narrow(0, row, n * kind.tokens)
        yield kind, rows.view(n, kind.tokens, *tokens.shape[1:]).transpose(1, 2)
        row += n * kind.tokens


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
        if torch.is_grad_enabled() and (qkv.requires_grad or scale.requires_grad or table.requires_grad):
            return _FusedCPU.apply(qkv, scale, table, kinds)
        return _forward_cpu(qkv, scale, table, kinds)[0]
    return cosine_attention_fused(qkv, scale, table, kinds)


class _ExpandBias(torch.autograd.Function):
    """``expand_bias``, and ``fold_bias`` for its gradient: autograd's own fills a whole bias for every slice of it."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, shape: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(table)
        ctx.shape = shape
        return expand_bias(table, shape)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (table,) = ctx.saved_tensors
        grad_table = torch.zeros_like(table)
        fold_bias(grad, ctx.shape, grad_table)
        return grad_table, None


def cosine_attention_fused(qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """:func:`cosine_attention` by torch's fused kernel and its gradients."""
    batch = qkv.shape[0] // sum(kind.windows * kind.tokens for kind in kinds)
    q, k, v = _unit_qk(qkv, scale)
    out = []
    for (kind, q_nHND), (_, k_nHND), (_, v_nHND) in zip(
        *(_windows_of(t, kinds, batch) for t in (q, k, v)), strict=True
    ):
        bias = _ExpandBias.apply(table, kind.shape).to(q.dtype)[None]
        entries = FUSED_ENTRIES if torch.is_grad_enabled() and table.requires_grad else q_nHND.shape[0] * bias.numel()
        by_heads = []
        for h, windows in _groups(q_nHND.shape[0], q_nHND.shape[1], kind.tokens, entries):
            groups = [
                F.scaled_dot_product_attention(
                    q_nHND[w, h], k_nHND[w, h], v_nHND[w, h], attn_mask=bias[:, h], scale=1.0
                )
                for w in windows
            ]
            by_heads.append(groups[0] if len(groups) == 1 else torch.cat(groups))
        out.append(by_heads[0] if len(by_heads) == 1 else torch.cat(by_heads, dim=1))
    return _tokens_of(out)


def _unit_qk(qkv: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """T x 3 x H x D -> unit queries over tau, unit keys, values, each T x H x D in qkv's dtype."""
    q, k, v = qkv.unbind(1)
    inverse = _inverse_norm(qkv[:, :2])
    q = (q * (inverse[:, 0] * scale[:, None])).to(v.dtype)
    return q, (k * inverse[:, 1]).to(v.dtype), v


def cosine_attention_plain(
    qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind], *, dropout: float = 0.0
) -> Tensor:
    """:func:`cosine_attention` by the formula, holding every n x H x N x N matrix. The reference for the fast ways."""
    batch = qkv.shape[0] // sum(kind.windows * kind.tokens for kind in kinds)
    q, k, v = _unit_qk(qkv, scale)
    out = []
    for (kind, q_nHND), (_, k_nHND), (_, v_nHND) in zip(
        *(_windows_of(t, kinds, batch) for t in (q, k, v)), strict=True
    ):
        logits = q_nHND @ k_nHND.mT + expand_bias(table, kind.shape)
        out.append(F.dropout(logits.softmax(-1), dropout).to(v.dtype) @ v_nHND)
    return _tokens_of(out)


def _groups(n: int, heads: int, tokens: int, entries: int) -> Iterator[tuple[slice, list[slice]]]:
    """Heads, and for these the windows, whose N x N matrices together have at most so many ``entries``."""
    room = max(1, entries // tokens**2)
    heads_at_once = min(heads, room)
    windows_at_once = max(1, room // heads_at_once)
    windows = [slice(i, i + windows_at_once) for i in range(0, n, windows_at_once)]
    for h in range(0, heads, heads_at_once):
        yield slice(h, h + heads_at_once), windows


def _forward_cpu(qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> tuple[Tensor, Tensor]:
    """The output T x C, and the log-sum-exp of every row of logits, T x H."""
    batch = qkv.shape[0] // sum(kind.windows * kind.tokens for kind in kinds)
    q, k, v = _unit_qk(qkv, scale)
    out, lse = torch.empty_like(q), q.new_empty(q.shape[:2], dtype=at_least_float32(q))
    views = (_windows_of(t, kinds, batch) for t in (q, k, v, out, lse[..., None]))
    for (kind, q_nHND), (_, k_nHND), (_, v_nHND), (_, out_nHND), (_, lse_nHN1) in zip(*views, strict=True):
        for h, _ in _groups(1, q.shape[1], kind.tokens, GROUP_ENTRIES):
            bias = expand_bias(table[h], kind.shape).expand(q_nHND.shape[0], -1, -1, -1)
            out_nHND[:, h], lse_nHN = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                q_nHND[:, h], k_nHND[:, h], v_nHND[:, h], attn_mask=bias, scale=1.0
            )
            lse_nHN1[:, h, :, 0] = lse_nHN
    return out.flatten(1), lse


class _FusedCPU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> Tensor:
        out, lse = _forward_cpu(qkv, scale, table, kinds)
        ctx.save_for_backward(qkv, scale, table, out, lse)
        ctx.kinds = kinds
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        qkv, scale, table, out, lse = ctx.saved_tensors
        with torch.autocast("cpu", enabled=False):
            return *_backward_cpu(qkv, scale, table, out, lse, grad_out, ctx.kinds), None


def _backward_cpu(
    qkv: Tensor, scale: Tensor, table: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor, kinds: Sequence[Kind]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, scale and table. With P = exp(logits - lse) and dO the gradient of the output,

    dV = P' dO,   dS = P * (dO V' - rowsum(dO * O)),   dQ = dS K,   dK = dS' Q,   dB = sum of dS over windows.

    Both subtractions ride along in the matrix products, as one more channel: [Q, -lse] [K, 1]'.
    """
    heads, channels = qkv.shape[2:]
    batch = qkv.shape[0] // sum(kind.windows * kind.tokens for kind in kinds)
    work = at_least_float32(qkv)
    inverse = _inverse_norm(qkv[:, :2]).to(work)
    unit = qkv[:, :2] * inverse
    ones = unit.new_ones(qkv.shape[0], heads, 1)
    grad_out = grad_out.view(out.shape).unflatten(1, (heads, channels)).to(work)
    delta = (grad_out * out.unflatten(1, (heads, channels))).sum(-1, keepdim=True)
    left = torch.cat([unit[:, 0] * scale[:, None], -lse[..., None]], -1)
    right = torch.cat([unit[:, 1], ones], -1)
    left_out = torch.cat([grad_out, -delta], -1)
    right_out = torch.cat([qkv[:, 2].to(work), ones], -1)

    grad_qkv = unit.new_empty(qkv.shape)
    grad_table = torch.zeros_like(table, dtype=work)
    views = (_windows_of(t, kinds, batch) for t in (left, right, left_out, right_out, *grad_qkv.unbind(1)))
    for each in zip(*views, strict=True):
        kind = each[0][0]
        for h, windows in _groups(each[0][1].shape[0], heads, kind.tokens, GROUP_ENTRIES):
            bias = expand_bias(table[h], kind.shape).to(work)
            grad_bias = torch.zeros_like(bias)
            for w in windows:
                # g = windows x heads of this group
                lq, rk, ldo, rv = (view[w, h].flatten(0, 1) for _, view in each[:4])
                p_gNN = torch.bmm(lq, rk.mT)
                p_HnNN = p_gNN.view(-1, *bias.shape)
                p_HnNN.add_(bias).exp_()
                ds_gNN = torch.bmm(ldo, rv.mT).mul_(p_gNN)
                grad_bias += ds_gNN.view(p_HnNN.shape).sum(0)
                for (_, grad), product in zip(
                    each[4:],
                    (ds_gNN @ rk[..., :-1], ds_gNN.mT @ lq[..., :-1], p_gNN.mT @ ldo[..., :-1]),
                    strict=True,
                ):
                    grad[w, h] = product.view(grad[w, h].shape)
            fold_bias(grad_bias, kind.shape, grad_table[h])

    # through q = scale * x / |x|: only what is orthogonal to x turns it
    grad_q, grad_k, _ = grad_qkv.unbind(1)
    along = (grad_q * unit[:, 0]).sum(-1, keepdim=True)
    grad_scale = along.sum((0, 2))
    grad_q.sub_(unit[:, 0] * along).mul_(inverse[:, 0] * scale[:, None])
    grad_k.sub_(unit[:, 1] * (grad_k * unit[:, 1]).sum(-1, keepdim=True)).mul_(inverse[:, 1])
    return grad_qkv.to(qkv.dtype), grad_scale.to(scale.dtype), grad_table.to(table.dtype)


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
