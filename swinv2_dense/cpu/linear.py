"""Linear layers. On CPUs float32 takes ``linear.cpp``: an operator that autograd, fake tensors and the counter of
operations know, and without gradients one that does what follows, a GELU, or a norm and a residual, in the same pass.

Its products may be of bfloat16, summed up in float32. Processors differ by a factor of four in what they gain or lose
by that, see :func:`bfloat16_is_faster`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.flop_counter import register_flop_formula

from swinv2_dense.cpu.native import library

__all__ = ["Room", "bfloat16_is_faster", "fused_linear", "linear", "new_memory"]

Room = Callable[[Sequence[int], torch.dtype], Tensor]
"""Memory for a tensor of a shape and a dtype."""

# From which on conversions are worth while. Real processors are far from it: see below.
_GAIN = 1.25
_TENSORS = ("x", "weight", "bias", "norm_weight", "norm_bias", "residual", "y")


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "inputs", "outputs", "gelu")),
        *((name, ctypes.c_int64) for name in ("x_half", "weight_half", "y_half", "threads")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    )


# Without custom_op's autograd, which would take as long as the work of a small layer.
torch.library.define(
    "swinv2_dense::linear_into",
    "(Tensor(a!) y, Tensor x, Tensor weight, Tensor? bias, bool gelu, Tensor? norm_weight, Tensor? norm_bias, "
    "float eps, Tensor? residual, bool pairs) -> ()",
)
torch.library.register_fake("swinv2_dense::linear_into", lambda *_: None)


@torch.library.impl("swinv2_dense::linear_into", "cpu")
def _linear_into(*arguments: Any) -> None:
    _compute(*arguments)


def _compute(
    y: Tensor,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    gelu: bool,
    norm_weight: Tensor | None,
    norm_bias: Tensor | None,
    eps: float,
    residual: Tensor | None,
    pairs: bool,
) -> None:
    """``pairs``: whether products are of bfloat16; x, weight and, if no norm follows, y may be in it then."""
    native = library()
    if native is None:
        raise RuntimeError("swinv2_dense::linear: the CPU kernels are not compiled here")
    outputs, inputs = weight.shape
    if pairs and inputs % 2:
        raise ValueError(f"swinv2_dense::linear multiplies pairs of bfloat16, an even number of inputs, not {inputs}")
    halves = [t.dtype == torch.bfloat16 for t in (x, weight, y)]
    call = _Call(x.numel() // inputs, inputs, outputs, gelu, *halves, torch.get_num_threads(), eps)
    may_be_half = ("x", "weight", *(("y",) if norm_weight is None else ())) if pairs else ()
    row, together = (outputs,), (norm_weight is None) == (norm_bias is None) == (residual is None)
    out = (*x.shape[:-1], outputs)
    shapes = ((*x.shape[:-1], inputs), weight.shape, row, row, row, out, out)
    for name, tensor, shape in zip(
        _TENSORS, (x, weight, bias, norm_weight, norm_bias, residual, y), shapes, strict=True
    ):
        if tensor is not None:
            known = tensor.dtype == torch.float32 or (tensor.dtype == torch.bfloat16 and name in may_be_half)
            if not (together and tensor.is_contiguous() and known and tensor.shape == shape):
                raise ValueError(f"swinv2_dense::linear takes float32, contiguous tensors that fit each other: {name}")
            setattr(call, name, tensor.data_ptr())
    native["linear_bfloat16" if pairs else "linear_float32"](ctypes.byref(call))


@torch.library.custom_op("swinv2_dense::linear", mutates_args=(), device_types="cpu")
def _linear(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:  # noqa: UP045
    y = _fake(x, weight)
    _compute(y, x, weight, bias, False, None, None, 0.0, None, False)
    return y


@_linear.register_fake
def _fake(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias = inputs
    ctx.save_for_backward(x, weight)
    ctx.has_bias = bias is not None


def _gradients(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = ctx.saved_tensors
    wants = ctx.needs_input_grad
    rows = grad.reshape(-1, grad.shape[-1])
    return (
        grad @ weight if wants[0] else None,
        rows.mT @ x.reshape(-1, x.shape[-1]) if wants[1] else None,
        rows.sum(0) if ctx.has_bias and wants[2] else None,
    )


_linear.register_autograd(_gradients, setup_context=_save)


@register_flop_formula(torch.ops.swinv2_dense.linear)
def _flops(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * int(torch.Size(x).numel()) * int(weight[0])


@register_flop_formula(torch.ops.swinv2_dense.linear_into)
def _flops_into(_: Any, x: Any, weight: Any, *rest: Any, out_shape: Any = None, **__: Any) -> int:
    return _flops(x, weight)


@lru_cache(maxsize=1)
def bfloat16_is_faster() -> bool:
    """Whether this processor computes more products of bfloat16 than of float32 in a second: measured, in a
    millisecond, as names and flags do not tell. A Zen 4 computes twice as many, a Sapphire Rapids without AMX half."""
    native = library()
    if native is None:
        return False
    native.rate_of_pairs.restype = ctypes.c_double
    return bool(native.rate_of_pairs() > _GAIN)


def new_memory(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    return torch.empty(tuple(shape), dtype=dtype, device="cpu")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, ... x C -> ... x C_out, of operands that :func:`swinv2_dense.cpu.kernels_for` takes."""
    if not torch.is_autocast_enabled("cpu") and _fit(x, weight, bias):
        return _linear(x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous())
    return F.linear(x, weight, bias)


def fused_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    gelu: bool = False,
    norm: nn.LayerNorm | None = None,
    residual: Tensor | None = None,
    half: bool = False,
    room: Room = new_memory,
) -> Tensor:
    """:func:`linear`, then GELU, or a norm with ``residual`` added to it, in one pass and without gradients.

    Args:
        half: multiply in bfloat16, if the processor gains by it. x and weight may be bfloat16, C is even, and a norm
            has weights; the result is bfloat16 where no norm follows. Other processors work, and answer, in float32.
        room: gives the memory of the result where the kernel computes it.
    """
    pairs = half and bfloat16_is_faster()
    if half and not pairs:
        x, weight = x.float(), weight.float()
    small: list[Tensor | None] = [bias, *((None, None) if norm is None else (norm.weight, norm.bias)), residual]
    if half:
        small = [None if t is None else t.float() for t in small]
    whole = (residual is None) == (norm is None) == any(t is None for t in small[1:3])
    if half or (whole and not torch.is_autocast_enabled("cpu") and _fit(x, weight, *small)):
        bias, norm_weight, norm_bias, residual = (None if t is None else t.contiguous() for t in small)
        y = room((*x.shape[:-1], len(weight)), torch.bfloat16 if pairs and norm is None else torch.float32)
        x, weight, eps = x.contiguous(), weight.contiguous(), 0.0 if norm is None else norm.eps
        torch.ops.swinv2_dense.linear_into(y, x, weight, bias, gelu, norm_weight, norm_bias, eps, residual, pairs)
        return y
    y = F.linear(x, weight, bias)
    if gelu:
        y = F.gelu(y)
    if norm is not None:
        y = norm(y)
    return y if residual is None else y + residual


def _fit(x: Tensor, weight: Tensor, bias: Tensor | None, *others: Tensor | None) -> bool:
    """Whether the kernel takes operands as they are."""
    given = [t for t in (weight, bias, *others) if t is not None]
    return (
        x.numel() > 0
        and all(t.dtype == x.dtype == torch.float32 and not is_traceable_wrapper_subclass(t) for t in given)
        # else torch says what is wrong
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or bias.shape == weight.shape[:1])
    )
