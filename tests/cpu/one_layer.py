"""One call of the kernel of linear layers, with what follows a layer in a block."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor, nn

from swinv2_dense.cpu.linear import layer_of
from swinv2_dense.cpu.native import library


def one_layer(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    gelu: bool = False,
    norm: nn.LayerNorm | None = None,
    residual: Tensor | None = None,
    pairs: bool = False,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """The result of ``dtype``; bfloat16 is for ``pairs`` alone, of x and weight too."""
    native, y = library(), torch.full((len(x), len(weight)), torch.nan, dtype=dtype)
    assert native is not None
    after = None if norm is None else (norm.weight, norm.bias, norm.eps)
    layer = layer_of(weight, bias, gelu=gelu, norm=after, pairs=pairs)
    layer.tokens, layer.x, layer.y = len(x), x.data_ptr(), y.data_ptr()
    layer.x_half, layer.y_half = x.dtype == torch.bfloat16, dtype == torch.bfloat16
    if residual is not None:
        layer.residual = residual.data_ptr()
    native["linear_bfloat16" if pairs else "linear_float32"](ctypes.byref(layer))
    return y
