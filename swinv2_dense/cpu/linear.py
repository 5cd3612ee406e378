"""Linear layers. On CPUs float32 takes ``linear.cpp``, where GELU, or a norm and a residual, that follow cost no
further pass over memory: an operator that autograd, fake tensors and the counter of operations know.
"""

from __future__ import annotations

import ctypes
from typing import Any, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils.flop_counter import register_flop_formula

from swinv2_dense.cpu.native import library

__all__ = ["linear"]

_TENSORS = ("x", "weight", "bias", "norm_weight", "norm_bias", "residual", "y")


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("tokens", "inputs", "outputs", "gelu", "threads")),
        ("eps", ctypes.c_double),
        *((name, ctypes.c_void_p) for name in _TENSORS),
    )


@torch.library.custom_op("swinv2_dense::linear", mutates_args=(), device_types="cpu")
def _linear(
    x: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],  # noqa: UP045 (torch reads these annotations, and knows no other)
    gelu: bool,
    norm_weight: Optional[Tensor],  # noqa: UP045
    norm_bias: Optional[Tensor],  # noqa: UP045
    eps: float,
    residual: Optional[Tensor],  # noqa: UP045
) -> Tensor:
    native = library()
    if native is None:
        raise RuntimeError("swinv2_dense::linear: the CPU kernels are not compiled here")
    outputs, inputs = weight.shape
    y = x.new_empty(*x.shape[:-1], outputs)
    call = _Call(x.numel() // inputs, inputs, outputs, gelu, torch.get_num_threads(), eps)
    row, together = (outputs,), (norm_weight is None) == (norm_bias is None) == (residual is None)
    shapes = ((*x.shape[:-1], inputs), weight.shape, row, row, row, y.shape, y.shape)
    for name, tensor, shape in zip(
        _TENSORS, (x, weight, bias, norm_weight, norm_bias, residual, y), shapes, strict=True
    ):
        if tensor is not None:
            if not (together and tensor.is_contiguous() and tensor.dtype == torch.float32 and tensor.shape == shape):
                raise ValueError(f"swinv2_dense::linear takes float32, contiguous tensors that fit each other: {name}")
            setattr(call, name, tensor.data_ptr())
    native.linear_float32(ctypes.byref(call))
    return y


@_linear.register_fake
def _fake(x: Tensor, weight: Tensor, *_: Any) -> Tensor:
    return x.new_empty(*x.shape[:-1], len(weight))


def _save(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, weight, bias, gelu, norm_weight, *_ = inputs
    if gelu or norm_weight is not None:
        raise NotImplementedError("what follows a linear layer is not differentiated with it")
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
        *[None] * 5,
    )


_linear.register_autograd(_gradients, setup_context=_save)


@register_flop_formula(torch.ops.swinv2_dense.linear)
def _flops(x: Any, weight: Any, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return 2 * int(torch.Size(x).numel()) * int(weight[0])


def linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    gelu: bool = False,
    norm: nn.LayerNorm | None = None,
    residual: Tensor | None = None,
) -> Tensor:
    """``F.linear``, ... x C -> ... x C_out, then, if asked for, GELU, or a norm with ``residual`` added to it, of
    operands that :func:`swinv2_dense.cpu.kernels_for` takes. By the kernel, what follows has no gradients."""
    of_norm = (None, None, 0.0) if norm is None else (norm.weight, norm.bias, norm.eps)
    given = [t for t in (weight, bias, *of_norm[:2], residual) if t is not None]
    if (
        x.numel()
        and not torch.is_autocast_enabled("cpu")
        and all(t.dtype == x.dtype == torch.float32 and not is_traceable_wrapper_subclass(t) for t in given)
        # else torch says what is wrong
        and x.shape[-1:] == weight.shape[1:]
        and (bias is None or bias.shape == weight.shape[:1])
        # a norm with weights and a residual, or neither
        and (residual is None) == (norm is None) == (of_norm[0] is None) == (of_norm[1] is None)
    ):
        bias, norm_weight, norm_bias, residual = (
            None if t is None else t.contiguous() for t in (bias, *of_norm[:2], residual)
        )
        return _linear(x.contiguous(), weight.contiguous(), bias, gelu, norm_weight, norm_bias, of_norm[2], residual)
    y = F.linear(x, weight, bias)
    if gelu:
        y = F.gelu(y)
    if norm is not None:
        y = norm(y)
    return y if residual is None else y + residual
