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

from swinv2_dense.cpu.linear import bfloat16_is_faster
from swinv2_dense.cpu.native import library
from swinv2_dense.layers.log_cpb import at_least_float32
from swinv2_dense.layers.window_attention import cosine_attention_plain
from swinv2_dense.layers.windows import WindowGrid, partition, window_grid

__all__ = ["MAX_AXES", "AttentionCall", "Group", "cpu_attention", "flops_of_products", "groups_of", "holds_offsets"]

MAX_AXES = 4
_SUFFIX = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float64: "float64"}


class Group(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("first", "windows", "tokens")),
        ("shape", ctypes.c_int64 * MAX_AXES),
    )


_TENSORS = ("rows", "qkv", "scale", "table", "out", "lse", "grad_out", "grad_qkv", "grad_scale", "grad_table")


class AttentionCall(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("axes", "groups", "heads", "channels", "threads")),
        ("window", ctypes.c_int64 * MAX_AXES),
        ("group", ctypes.POINTER(Group)),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    )


@lru_cache(maxsize=64)
def groups_of(grid: WindowGrid, batch: int) -> tuple[Any, Tensor]:
    """The groups of windows, and of every token, window after window, its row in the batch of maps."""
    groups, first = (Group * len(grid.groups))(), 0
    for struct, group in zip(groups, grid.groups, strict=True):
        struct.first, struct.windows, struct.tokens = first, batch * group.windows, group.tokens
        struct.shape[: len(group.shape)] = group.shape
        first += struct.windows * struct.tokens
    rows = torch.arange(first, dtype=torch.int32, device="cpu").view(batch, *grid.size, 1)
    return groups, partition(rows, grid).flatten()


def _check(tensors: dict[str, Tensor], size: Sequence[int], window: Sequence[int]) -> None:
    """The C++ reads memory as these tensors say it lies, so they must fit each other.

    Raises:
        ValueError: they do not; names the tensor.
    """
    qkv, axes = tensors["qkv"], len(size)
    if qkv.ndim != axes + 4 or qkv.shape[1:-2] != (*size, 3) or len(window) != axes or not 1 <= axes <= MAX_AXES:
        raise ValueError(
            f"swinv2_dense::window_attention: qkv of shape {tuple(qkv.shape)} must be B x *size x 3 x H x D, with "
            f"size={tuple(size)} and window={tuple(window)} of the same 1 to {MAX_AXES} axes"
        )
    if qkv.dtype not in _SUFFIX:
        raise ValueError(f"swinv2_dense::window_attention takes {', '.join(map(str, _SUFFIX))}, not {qkv.dtype}")
    rows, heads, channels = qkv.shape[:-3], *qkv.shape[-2:]
    shapes = dict(qkv=qkv.shape, scale=(heads,), lse=(*rows, heads)) | dict.fromkeys(
        ("out", "grad_out"), (*rows, heads, channels)
    )
    for name, tensor in tensors.items():
        dtype = at_least_float32(qkv) if name in ("scale", "table", "lse") else qkv.dtype
        fits = holds_offsets(tensor, heads, size, window) if name == "table" else tensor.shape == shapes[name]
        if not fits or tensor.dtype != dtype or not tensor.is_contiguous() or tensor.device.type != "cpu":
            raise ValueError(
                f"swinv2_dense::window_attention: {name}, {tensor.dtype} of shape {tuple(tensor.shape)}, must be "
                f"contiguous {dtype} on the CPU and fit qkv, {tuple(qkv.shape)}, in windows of {tuple(window)}"
            )


def holds_offsets(table: Tensor, heads: int, size: Sequence[int], window: Sequence[int]) -> bool:
    """Whether a table has all offsets of the windows. It may be that of a larger window than any in this map."""
    offsets = table.shape[1:]
    return (
        len(offsets) == len(size)
        and table.shape[0] == heads
        and all(n % 2 and n >= 2 * min(s, w) - 1 for n, s, w in zip(offsets, size, window, strict=True))
    )


def _run(direction: str, grid: WindowGrid, qkv: Tensor, table: Tensor, threads: int, **tensors: Tensor) -> None:
    native = library()
    if native is None:
        raise RuntimeError("swinv2_dense::window_attention: the CPU kernels are not compiled here")
    groups, rows = groups_of(grid, qkv.shape[0])
    call = AttentionCall(len(grid.size), len(grid.groups), *qkv.shape[-2:], threads)
    call.window[: len(grid.size)] = [(offsets + 1) // 2 for offsets in table.shape[1:]]
    call.group = groups
    for name, tensor in {"rows": rows, "qkv": qkv, "table": table, **tensors}.items():
        setattr(call, name, tensor.data_ptr())
    pairs = "_pairs" if qkv.dtype == torch.bfloat16 and bfloat16_is_faster() else ""
    native[f"{direction}_{_SUFFIX[qkv.dtype]}{pairs}"](ctypes.byref(call))


@torch.library.custom_op("swinv2_dense::window_attention", mutates_args=(), device_types="cpu")
def _forward(
    qkv: Tensor, scale: Tensor, table: Tensor, size: Sequence[int], window: Sequence[int], shifted: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """The output, B x *size x H x D, and the binary log-sum-exp of every row of logits, B x *size x H."""
    _check(dict(qkv=qkv, scale=scale, table=table), size, window)
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
    tensors = dict(scale=scale, out=out, lse=lse, grad_out=grad_out.contiguous())
    _check(dict(qkv=qkv, table=table, **tensors), size, window)
    threads = torch.get_num_threads()
    # every thread adds up its own, and they are added in a fixed order
    grads = {"grad_qkv": torch.empty_like(qkv)}
    grads |= {f"grad_{name}": t.new_zeros(threads, *t.shape) for name, t in (("scale", scale), ("table", table))}
    grid = window_grid(size, window, shifted=shifted)
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
    if torch.is_grad_enabled():  # these gradients are to be differentiated again, which the kernel's cannot be
        return *_differentiable_gradients(ctx, saved[:3], grad_out), None, None, None
    grads = _backward(*saved, grad_out, *ctx.grid)
    return *grads, None, None, None


def _differentiable_gradients(ctx: Any, inputs: Sequence[Tensor], grad_out: Tensor) -> tuple[Tensor | None, ...]:
    """Those of the formula: operators that autograd differentiates as often as it is asked to."""
    qkv, scale, table = inputs
    size, window, shifted = ctx.grid
    out = cosine_attention_plain(qkv, scale, table, window_grid(size, window, shifted=shifted)).view_as(grad_out)
    wanted = [t for t, wants in zip(inputs, ctx.needs_input_grad, strict=False) if wants]
    grads = iter(torch.autograd.grad(out, wanted, grad_out, create_graph=True))
    return tuple(next(grads) if wants else None for wants in ctx.needs_input_grad[:3])


_forward.register_autograd(_gradients, setup_context=_save)


def flops_of_products(products: int, batch: int, channels: int, grid: WindowGrid) -> int:
    """Floating-point operations of so many products of N x N and N x D in every window and head."""
    pairs = batch * sum(group.windows * group.tokens**2 for group in grid.groups)
    return 2 * products * int(pairs) * channels


def _flops(products: int) -> Callable[..., int]:
    def count(*shapes: Any, out_shape: Any = None, **_: Any) -> int:
        qkv, (size, window, shifted) = shapes[0], shapes[-3:]
        grid = window_grid(size, window, shifted=shifted)
        return flops_of_products(products, qkv[0], math.prod(qkv[-2:]), grid)

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
