"""Cosine attention on CPUs: group after group of logits, in the caches (sequential attention, section 3.5).

torch's fused kernel for CPUs gives the bias no gradient and wants it expanded to the pairs of tokens. So: forward, the
fused kernel, which also returns the log-sum-exp of every row, on a group of queries at a time, whose bias alone is
expanded; backward, groups again, whose probabilities are computed again from the log-sum-exp. No N x N matrix of all
windows or heads is ever held. In the backward pass exponentials are powers of two, which vectorised code has at a third
of the price: 1 / ln 2 is multiplied into queries, bias and log-sum-exp.

Shapes: T all tokens, n windows of one kind, N tokens of a window, H heads, D channels of a head, C = H * D; g pairs of
window and head of a group and R its queries of each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from swinv2_dense.layers.log_cpb import add_rows_to_strips, at_least_float32, bias_of_rows, bias_strips
from swinv2_dense.layers.windows import Kind, windows_of

__all__ = ["cpu_attention", "groups", "unit_qk"]

# Logits of a group, for each thread. Of 2^17 to 2^21 the fastest: one pass after the other finds them in the cache.
GROUP_ENTRIES = 2**19

_LN2 = math.log(2)
_EPS = 1e-6


def _inverse_norm(x: Tensor) -> Tensor:
    """1 / |x| over the last axis, in float32 or wider, keepdim. A zero vector (a padding token's key) has a zero
    gradient: ``F.normalize`` would give it 1/eps, which is infinite in float16."""
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=at_least_float32(x))
    return torch.where(norm > 0, norm.clamp_min(_EPS).reciprocal(), 0)


def unit_qk(qkv: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """T x 3 x H x D -> unit queries over tau, unit keys, values, each T x H x D in qkv's dtype."""
    q, k, v = qkv.unbind(1)
    inverse = _inverse_norm(qkv[:, :2])
    q = (q * (inverse[:, 0] * scale[:, None])).to(v.dtype)
    return q, (k * inverse[:, 1]).to(v.dtype), v


def cpu_attention(qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> Tensor:
    """T x 3 x H x D, H, H x (2W_1 - 1) x ... -> T x C. See ``window_attention.cosine_attention``."""
    with torch.autocast("cpu", enabled=False):
        if torch.is_grad_enabled() and (qkv.requires_grad or scale.requires_grad or table.requires_grad):
            out: Tensor = _CPUAttention.apply(qkv, scale, table, kinds)
            return out
        return _forward(qkv, scale, table, kinds)[0].flatten(1)


class _CPUAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> Tensor:
        out, lse = _forward(qkv, scale, table, kinds)
        ctx.save_for_backward(qkv, scale, table, out, lse)
        ctx.kinds = kinds
        return out.flatten(1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        with torch.autocast("cpu", enabled=False):
            qkv, scale, table, out, lse = ctx.saved_tensors
            return *_backward(qkv, scale, table, out, lse, grad_out, ctx.kinds), None


def groups(n: int, heads: int, room: int) -> Iterator[tuple[slice, list[slice]]]:
    """Some heads, and for these the windows, so that a group has ``room`` pairs of the two, or a single one."""
    heads_at_once = min(heads, max(1, room))
    windows_at_once = max(1, room // heads_at_once)
    windows = [slice(i, i + windows_at_once) for i in range(0, n, windows_at_once)]
    for h in range(0, heads, heads_at_once):
        yield slice(h, h + heads_at_once), windows


def _rows(kind: Kind, entries: int) -> Iterator[slice]:
    """Rows along a window's first axis, so that their queries have at most so many logits, in parts alike."""
    rows = kind.shape[0]
    parts = math.ceil(rows / max(1, entries * rows // kind.tokens**2))
    step = math.ceil(rows / parts)
    for row in range(0, rows, step):
        yield slice(row, min(row + step, rows))


def _queries(rows: slice, kind: Kind) -> slice:
    tokens_of_a_row = kind.tokens // kind.shape[0]
    return slice(rows.start * tokens_of_a_row, rows.stop * tokens_of_a_row)


def _with_column(x: Tensor, factor: Tensor | float, column: Tensor | float) -> Tensor:
    """``x * factor`` and one more column, n x H x N x (D + 1), contiguous and in float32 or wider: what is subtracted
    from a matrix product's rows rides along in the product."""
    wider = x.new_empty(*x.shape[:-1], x.shape[-1] + 1, dtype=at_least_float32(x))
    torch.mul(x, factor, out=wider[..., :-1])
    wider[..., -1:] = column
    return wider


def _flat(x: Tensor) -> Tensor:
    """n x H x R x D -> g x R x D, of a group: always a view."""
    return x.view(-1, *x.shape[2:])


def _logits_like(queries: Tensor, keys: int, buffers: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Two g x R x N for the queries g x R x D of a group, in memory that the next group uses again. Rows that lie
    powers of two apart would share their places in the cache, which halves the speed."""
    g, r, _ = queries.shape
    row = keys if keys % 512 else keys + 16
    if not buffers or buffers[0].numel() < 2 * g * r * row:
        buffers[:] = [queries.new_empty(2 * g * r * row)]
    p, ds = buffers[0][: 2 * g * r * row].view(2, g, r, row)[..., :keys]
    return p, ds


def _forward(qkv: Tensor, scale: Tensor, table: Tensor, kinds: Sequence[Kind]) -> tuple[Tensor, Tensor]:
    """The output T x H x D, and the log-sum-exp of every row of logits, T x H x 1."""
    q, k, v = unit_qk(qkv, scale)
    out, lse = torch.empty_like(q), q.new_empty(*q.shape[:2], 1, dtype=at_least_float32(q))
    entries = GROUP_ENTRIES * torch.get_num_threads()
    for kind, *views in zip(kinds, *(windows_of(t, kinds) for t in (q, k, v, out, lse)), strict=True):
        q, k, v, out_nHND, lse_nHN1 = views
        strips = bias_strips(table, kind.shape)
        for (h, _), rows in product(groups(1, q.shape[1], entries // kind.tokens**2), _rows(kind, entries)):
            bias = bias_of_rows(strips[h], kind.shape, rows).expand(len(q), -1, -1, -1)
            queries = _queries(rows, kind)
            out_nHND[:, h, queries], lse_nHN1[:, h, queries, 0] = (
                torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
                    q[:, h, queries], k[:, h], v[:, h], attn_mask=bias, scale=1.0
                )
            )
    return out, lse


def _backward(
    qkv: Tensor, scale: Tensor, table: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor, kinds: Sequence[Kind]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of qkv, scale and table. With P the probabilities and dO the gradient of the output,

    dV = P' dO,   dS = P * (dO V' - rowsum(dO * O)),   dQ = dS K,   dK = dS' Q,   dB = sum of dS over windows.

    Both subtractions, that of the row sums and that of the log-sum-exp in P, are one more column: [Q, -lse] [K, 1]'.
    """
    inverse = _inverse_norm(qkv[:, :2])
    scale = scale[:, None, None].to(lse.dtype)
    grad_out = grad_out.view(out.shape)
    minus_delta = -(grad_out.to(lse.dtype) * out).sum(-1, keepdim=True)
    grad_qkv, grad_scale, grad_table = torch.empty_like(qkv), torch.zeros_like(scale), torch.zeros_like(table)
    table = table.detach().requires_grad_()
    entries = GROUP_ENTRIES * torch.get_num_threads()
    buffers: list[Tensor] = []
    tensors = (*qkv.unbind(1), *inverse.unbind(1), lse / -_LN2, grad_out, minus_delta, *grad_qkv.unbind(1))
    for kind, *views in zip(kinds, *(windows_of(t, kinds) for t in tensors), strict=True):
        q, k, v, q_inverse, k_inverse, minus_lse, do, minus_delta_nHN1, *grad_views = views
        q1 = _with_column(q, q_inverse * (scale / _LN2), minus_lse)
        k1, v1, do1 = _with_column(k, k_inverse, 1), _with_column(v, 1, 1), _with_column(do, 1, minus_delta_nHN1)
        q, k = q1[..., :-1], k1[..., :-1]
        dq, dk, dv = q.new_empty(3, *q.shape)
        with torch.enable_grad():
            strips = bias_strips(table, kind.shape)
        scaled, grad_strips = strips.detach().to(lse.dtype) / _LN2, torch.zeros_like(strips, dtype=lse.dtype)
        for (h, windows), rows in product(groups(len(q), q.shape[1], entries // kind.tokens**2), _rows(kind, entries)):
            bias = bias_of_rows(scaled[h], kind.shape, rows)
            queries, seen = _queries(rows, kind), float(rows.start > 0)
            for w in windows:
                lq, ldo = _flat(q1[w, h, queries]), _flat(do1[w, h, queries])
                p_gRN, ds_gRN = _logits_like(lq, kind.tokens, buffers)
                torch.bmm(lq, _flat(k1[w, h]).mT, out=p_gRN)
                p_gRN.unflatten(0, (-1, len(bias))).add_(bias).exp2_()
                torch.bmm(ldo, _flat(v1[w, h]).mT, out=ds_gRN)
                ds_nHRN = ds_gRN.mul_(p_gRN).unflatten(0, (-1, len(bias)))
                ds_HRN = ds_nHRN.sum(0) if len(ds_nHRN) > 1 else ds_nHRN[0]
                add_rows_to_strips(ds_HRN, kind.shape, rows, grad_strips[h])
                torch.bmm(ds_gRN, _flat(k[w, h]), out=_flat(dq[w, h, queries]))
                _flat(dk[w, h]).baddbmm_(ds_gRN.mT, lq[..., :-1], beta=seen)
                _flat(dv[w, h]).baddbmm_(p_gRN.mT, ldo[..., :-1], beta=seen)
        grad_table += torch.autograd.grad(strips, table, grad_strips.to(strips.dtype))[0]

        # through q / (tau |x| ln 2) and k / |x|: only what is orthogonal to x turns it
        along = torch.linalg.vecdot(dq, q)[..., None] * (_LN2 / scale)
        grad_scale += along.sum((0, 2), keepdim=True)[0]
        dq.sub_(q * along.mul_(_LN2 / scale)).mul_(q_inverse * scale)
        dk.sub_(k * torch.linalg.vecdot(dk, k)[..., None]).mul_(k_inverse * _LN2)
        for view, grad in zip(grad_views, (dq, dk, dv), strict=True):
            view.copy_(grad)
    return grad_qkv, grad_scale.flatten(), grad_table
