"""Linear layers: plain ``nn.Linear`` modules, by the kernel where there is one.

The modules are torch's own, so that whatever replaces ``nn.Linear`` (adapters of low rank, dynamic quantisation) finds
them; which kernel computes one is decided here, when it is called.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.cpu import kernels_for
from swinv2_dense.layers.dispatch import call_with, is_untouched

__all__ = ["apply_linear"]


def apply_linear(layer: nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
    """``layer(x)``, with ``bias`` added to it: ... x C -> ... x C_out. Any module may be the layer; hooks of a
    ``nn.Linear`` see its output with the bias."""
    if is_untouched(layer, nn.Linear):
        weight, own = cast(Tensor, layer.weight), cast("Tensor | None", layer.bias)
        both = own if bias is None else bias if own is None else own + bias
        if (kernels := kernels_for(x, weight, both)) is not None:
            return kernels.linear(x, weight, both)
        return cast(Tensor, layer(x)) if both is own else F.linear(x, weight, both)
    if bias is None:
        return cast(Tensor, layer(x))
    if type(layer) is nn.Linear and layer.bias is None and "forward" not in vars(layer):
        return call_with(layer, {"bias": bias}, x)
    return cast(Tensor, layer(x) + bias)
