"""Kernels compiled for the CPU. Of all that is here, the layers know :func:`kernels_for`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Kernels", "kernels_for"]


class Kernels(NamedTuple):
    """What the kernels compute, each as the layers' functions of that name do."""

    takes: Callable[..., bool]
    linear: Callable[..., Tensor]
    attention: Callable[..., Tensor]
    takes_block: Callable[..., bool]
    block: Callable[..., Tensor]


@lru_cache(maxsize=1)
def _kernels() -> Kernels:
    # imported when first asked for: they import the layers that they stand in for
    from swinv2_dense.cpu.attention import cpu_attention
    from swinv2_dense.cpu.block import band_by_band, only_infers
    from swinv2_dense.cpu.linear import linear
    from swinv2_dense.cpu.native import kernels_take

    return Kernels(kernels_take, linear, cpu_attention, only_infers, band_by_band)


def kernels_for(x: Tensor, *operands: Tensor | None) -> Kernels | None:
    """The kernels if they compute with ``x`` and the other operands, else None: then torch's operators do, which
    compilers, tracers, ``torch.func``, forward-mode AD and other devices need."""
    if x.device.type != "cpu" or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return None
    kernels = _kernels()
    return kernels if kernels.takes(x, *operands) else None
