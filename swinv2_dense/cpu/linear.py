"""Linear layers. On CPUs float32 takes ``linear.cpp``, as an operator that autograd, fake tensors and the counter of
operations know. The kernel also does what follows a layer in a block, see :class:`Layer`.

Its products may be of bfloat16, summed up in float32. Processors differ by a factor of four in what they gain or lose
by that, see :func:`bfloat16_is_faster`.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.flop_counter import register_flop_formula

from swinv2_dense.cpu.native import library

__all__ = ["Layer", "bfloat16_is_faster", "layer_of", "linear"]

# From which on conversions are worth while. Real processors are far from it: see below.
_GAIN = 1.25


class Layer(ctypes.Structure):
    """A layer, then a GELU, or a norm and a residual that is added to it: ``Linear`` of ``calls.h``."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "inputs", "outputs", "gelu")),
        *((name, ctypes.c_int64) for name in ("x_half", "weight_half", "y_half", "threads")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "norm_weight", "norm_bias", "residual", "y")),
    )


def layer_of(
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    gelu: bool = False,
    norm: tuple[Tensor, Tensor, float] | None = None,
    pairs: bool = False,
) -> Layer:
    """A layer without its x, y, residual and tokens. It has the memory of these tensors, and does not keep it.

    Args:
        norm: weight, bias and epsilon of a LayerNorm.
        pairs: whether the weight may be bfloat16.

    Raises:
        ValueError: they are not contiguous tensors that fit each other, float32 but for the weight.
    """
    layer = Layer(inputs=weight.shape[-1], outputs=len(weight), gelu=gelu, threads=torch.get_num_threads())
    small = dict(bias=bias) if norm is None else dict(bias=bias, norm_weight=norm[0], norm_bias=norm[1])
    for name, tensor in {"weight": weight, **small}.items():
        if tensor is None:
            continue
        shape = (layer.outputs, layer.inputs) if name == "weight" else (layer.outputs,)
        half = pairs and name == "weight" and tensor.dtype == torch.bfloat16
        if not (half or tensor.dtype == torch.float32) or not tensor.is_contiguous() or tensor.shape != shape:
            found = f"{name}, {tensor.dtype} of {tuple(tensor.shape)}"
            raise ValueError(f"swinv2_dense::linear takes contiguous float32 that fits: {found}")
        setattr(layer, name, tensor.data_ptr())
    layer.weight_half = weight.dtype == torch.bfloat16
    layer.eps = 0.0 if norm is None else norm[2]
    return layer


@torch.library.custom_op("swinv2_dense::linear", mutates_args=(), device_types="cpu")
def _linear(x: Tensor, weight: Tensor, bias: Optional[Tensor]) -> Tensor:  # noqa: UP045
    y = _fake(x, weight)
    layer = layer_of(weight, bias)
    if x.dtype != torch.float32 or not x.is_contiguous() or x.shape[-1:] != weight.shape[1:]:
        raise ValueError(f"swinv2_dense::linear takes contiguous float32 that fits: x, {x.dtype} of {tuple(x.shape)}")
    native = library()
    if native is None:
        raise RuntimeError("swinv2_dense::linear: the CPU kernels are not compiled here")
    layer.tokens, layer.x, layer.y = x.numel() // layer.inputs, x.data_ptr(), y.data_ptr()
    native.linear_float32(ctypes.byref(layer))
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


@lru_cache(maxsize=1)
def bfloat16_is_faster() -> bool:
    """Whether this processor computes more products of bfloat16 than of float32 in a second: measured, in a
    millisecond, as names and flags do not tell. A Zen 4 computes twice as many, a Sapphire Rapids without AMX half."""
    native = library()
    if native is None:
        return False
    native.rate_of_pairs.restype = ctypes.c_double
    return bool(native.rate_of_pairs() > _GAIN)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, ... x C -> ... x C_out, of operands that :func:`swinv2_dense.cpu.kernels_for` takes."""
    if not torch.is_autocast_enabled("cpu") and _fit(x, weight, bias):
        return _linear(x.contiguous(), weight.contiguous(), None if bias is None else bias.contiguous())
    return F.linear(x, weight, bias)


def _fit(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel takes operands as they are."""
    given = [t for t in (weight, bias) if t is not None]
    return (
        x.numel() > 0
        and all(t.dtype == x.dtype == torch.float32 and not is_traceable_wrapper_subclass(t) for t in given)
        # else torch says what is wrong
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or bias.shape == weight.shape[:1])
    )
