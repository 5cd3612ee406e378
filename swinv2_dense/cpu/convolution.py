"""Convolutions of 3 x 3 in inference on CPUs: ``convolution.cpp``, a quarter of torch's multiplications.

Necks and heads are made of other libraries' modules, so these are taken over for the time of a context.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from swinv2_dense.cpu.native import kernels_take, library

__all__ = ["convolution", "fast_convolutions", "kernel_takes"]

_LEAST_CHANNELS = 64  # fewer, or fewer pixels, and the transforms take what the products save
_LEAST_PIXELS = 1024


class _Call(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in ("images", "height", "width", "inputs", "outputs", "threads")),
        *((name, ctypes.c_void_p) for name in ("x", "weight", "bias", "y")),
    )


def kernel_takes(x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
    """Whether the kernel is there and computes with these: B x C x H x W, C_out x C x 3 x 3 and C_out, without
    gradients."""
    operands = [t for t in (x, weight, bias) if t is not None]
    return (
        all(t.device.type == "cpu" and t.dtype == torch.float32 for t in operands)
        and weight.shape[2:] == (3, 3)
        and x.ndim == 4
        and x.shape[1] == weight.shape[1]
        and (bias is None or bias.shape == weight.shape[:1])
        and min(weight.shape[:2]) >= _LEAST_CHANNELS
        and x.numel() >= _LEAST_PIXELS * x.shape[1]
        and not (torch.is_grad_enabled() and any(t.requires_grad for t in operands))
        and not (torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling() or torch.jit.is_tracing())
        and kernels_take(*operands)
        and not any(channels % _channels() for channels in weight.shape[:2])
    )


def _channels() -> int:
    native = library()
    assert native is not None
    native.convolution_channels.restype = ctypes.c_int64
    return int(native.convolution_channels())


def convolution(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.conv2d(x, weight, bias, padding=1)`` of what :func:`kernel_takes`, channels last, to some 1e-5 of it.

    Beyond the result it takes 4 times the weights' memory, and 32 MiB.
    """
    native = library()
    assert native is not None
    x, weight = x.detach().contiguous(memory_format=torch.channels_last), weight.detach().contiguous()
    batch, inputs, height, width = x.shape
    y = torch.empty(batch, len(weight), height, width, memory_format=torch.channels_last)
    call = _Call(batch, height, width, inputs, len(weight), torch.get_num_threads())
    call.x, call.weight, call.y = x.data_ptr(), weight.data_ptr(), y.data_ptr()
    if bias is not None:
        bias = bias.detach().contiguous()
        call.bias = bias.data_ptr()
    native.convolution_float32(ctypes.byref(call))
    return y


def _forward(module: nn.Conv2d, x: Tensor) -> Tensor:
    if kernel_takes(x, module.weight, module.bias):
        return convolution(x, module.weight, module.bias)
    if x.ndim == 4 and x.device.type == "cpu" and not torch.is_grad_enabled():
        # a small map too, so that what it is joined with later need not be turned around
        x = x.contiguous(memory_format=torch.channels_last)
    return type(module).forward(module, x)


def _fits(module: nn.Conv2d) -> bool:
    """Whether a module is a plain convolution of torch, or mmcv's name for one, with the kernel's settings."""
    plain = type(module) is nn.Conv2d or type(module).__module__ == "mmcv.cnn.bricks.wrappers"
    return (
        plain
        and "forward" not in vars(module)
        and (module.kernel_size, module.stride, module.padding, module.dilation) == ((3, 3), (1, 1), (1, 1), (1, 1))
        and (module.groups, module.padding_mode) == (1, "zeros")
    )


@contextmanager
def fast_convolutions(model: nn.Module) -> Iterator[None]:
    """For the time of this context the model's convolutions are :func:`convolution` where that is faster; they are
    torch's for all else, as on other devices, with gradients, or without a compiler."""
    taken = [module for module in model.modules() if isinstance(module, nn.Conv2d) and _fits(module)]
    for module in taken:
        module.forward = partial(_forward, module)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for module in taken:
            del module.forward
