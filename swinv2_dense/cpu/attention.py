"""Cosine attention on CPUs: two operators of torch, forward and backward, whose arithmetic is in ``attention.cpp``.

What they save in bytes: queries and keys are read from the map where they lie, without partition and merge, and brought
to unit length on the way; the bias is read from the table of offsets; logits stay in the caches, some rows at a time
(sequential attention, section 3.5). Forward keeps a number a row, the log-sum-exp, from which backward computes the
probabilities again. As operators they are seen by autograd, by torch.compile, by fake tensors, by the counter of
floating-point operations and by the profiler.

Shapes: B maps of *size tokens, H heads, D channels of a head, C = H * D.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from swinv2_dense.cpu.native import library
from swinv2_dense.layers.log_cpb import at_least_float32
from swinv2_dense.layers.windows import WindowGrid, partition, window_grid

__all__ = ["cpu_attention"]

_MAX_AXES = 4
_SUFFIX = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}


class _Kind(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("first", "windows", "tokens")),
        ("shape", ctypes.c_int64 * _MAX_AXES),
    )


_TENSORS = ("rows", "qkv", "scale", "table", "out", "lse", "grad_out", "grad_qkv", "grad_scale", "grad_table")


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("axes", "kinds", "heads", "channels", "threads")),
        ("window", ctypes.c_int64 * _MAX_AXES),
        ("kind", ctypes.POINTER(_Kind)),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    )


@lru_cache(maxsize=64)
def _kinds(grid: WindowGrid, batch: int) -> tuple[Any, Tensor]:
    """The kinds of window, and of every token, window after window, its row in the batch of maps."""
    kinds, first = (_Kind * len(grid.kinds))(), 0
    for struct, kind in zip(kinds, grid.kinds, strict=True):
        struct.first, struct.windows, struct.tokens = first, batch * kind.windows, kind.tokens
        struct.shape[: len(kind.shape)] = kind.shape
        first += struct.windows * struct.tokens
    rows = torch.arange(first, dtype=torch.int32, device="cpu").view(batch, *grid.size, 1)
    return kinds, partition(rows, grid).flatten()


def _run(direction: str, grid: WindowGrid, qkv: Tensor, table: Tensor, threads: int, **tensors: Tensor) -> None:
    native = library()
    assert native is not None
    kinds, rows = _kinds(grid, qkv.shape[0])
    call = _Call(len(grid.size), len(grid.kinds), *qkv.shape[-2:], threads)
    # the table may be that of a larger window than any in this map
    call.window[: len(grid.size)] = [(offsets + 1) // 2 for offsets in table.shape[1:]]
    call.kind = kinds
    for name, tensor in {"rows": rows, "qkv": qkv, "table": table, **tensors}.items():
        assert tensor.is_contiguous()
        setattr(call, name, tensor.data_ptr())
    native[f"{direction}_{_SUFFIX[qkv.dtype]}"](ctypes.byref(call))


@torch.library.custom_op("swinv2_dense::window_attention", mutates_args=(), device_types="cpu")
def _forward(
    qkv: Tensor, scale: Tensor, table: Tensor, size: Sequence[int], window: Sequence[int], shifted: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """The output, B x *size x H x D, and the binary log-sum-exp of every row of logits, B x *size x H."""
    out, lse = _forward_fake(qkv, scale, table, size, window, shifted)
    grid = window_grid(size, window, shifted=shifted)
    _run("forward", grid, qkv, table, torch.get_num_threads(), scale=scale, out=out, lse=lse)
    return out, lse


@_forward.register_fake
def _forward_fake(
    qkv: Tensor, scale: Tensor, table: Tensor, size: Sequence[int], window: Sequence[int], shifted: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    out = qkv.new_empty(*qkv.shape[:-3], *qkv.shape[-2:])
    return out, qkv.new_empty(*out.shape[:-1], dtype=scale.dtype)


@torch.library.custom_op("swinv2_dense::window_attention_backward", mutates_args=(), device_types="cpu")
def _backward(
    qkv: Tensor,
    scale: Tensor,
    table: Tensor,
    out: Tensor,
    lse: Tensor,
    grad_out: Tensor,
    size: Sequence[int],
    window: Sequence[int],
    shifted: Sequence[bool],
) -> tuple[Tensor, Tensor, Tensor]:
    threads = torch.get_num_threads()
    # every thread adds up its own, and they are added in a fixed order
    grads = {"grad_qkv": torch.empty_like(qkv)}
    grads |= {f"grad_{name}": t.new_zeros(threads, *t.shape) for name, t in (("scale", scale), ("table", table))}
    grid = window_grid(size, window, shifted=shifted)
    tensors = dict(scale=scale, out=out, lse=lse, grad_out=grad_out.contiguous())
    _run("backward", grid, qkv, table, threads, **tensors, **grads)
    return grads["grad_qkv"], grads["grad_scale"].sum(0), grads["grad_table"].sum(0)


@_backward.register_fake
def _backward_fake(qkv: Tensor, scale: Tensor, table: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(qkv), torch.empty_like(scale), torch.empty_like(table)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    qkv, scale, table, *grid = inputs
    ctx.save_for_backward(qkv, scale, table, *output)
    ctx.grid = grid


def _gradients(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors  # read once: checkpointed activations are computed again for it
    grads = _backward(*saved, grad_out, *ctx.grid)
    return *grads, None, None, None


_forward.register_autograd(_gradients, setup_context=_save)


def _flops(products: int) -> Callable[..., int]:
    def count(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
        qkv, (size, window, shifted) = shapes[0], shapes[-3:]
        kinds = window_grid(size, window, shifted=shifted).kinds
        pairs = qkv[0] * sum(kind.windows * kind.tokens**2 for kind in kinds)
        return 2 * products * int(pairs) * int(math.prod(qkv[-2:]))

    return count


register_flop_formula(torch.ops.swinv2_dense.window_attention)(_flops(2))
register_flop_formula(torch.ops.swinv2_dense.window_attention_backward)(_flops(5))


def cpu_attention(qkv: Tensor, scale: Tensor, table: Tensor, grid: WindowGrid) -> Tensor:
    """B x *size x 3 x H x D, H, H x (2W_1 - 1) x ... -> B x *size x C. See ``window_attention.cosine_attention``."""
    with torch.autocast("cpu", enabled=False):
        dtype = qkv.dtype
        qkv = qkv.to(dtype if dtype in _SUFFIX else torch.float32).contiguous()
        wide = at_least_float32(qkv)
        out, _ = _forward(
            qkv, scale.to(wide).contiguous(), table.to(wide).contiguous(), grid.size, grid.window, grid.shifted
        )
        return out.flatten(-2).to(dtype)
