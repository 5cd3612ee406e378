"""nn.Linear, on CPUs by the faster of torch's two libraries of matrix products."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Linear", "linear"]


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``F.linear``, ... x C -> ... x C_out. In float32 on CPUs as a convolution of 1 x 1 pixels: torch gives these to
    oneDNN, where they take 5 to 20 % less time than products by MKL (docs/benchmarks.md)."""
    if (
        torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or not x.dtype == weight.dtype == torch.float32
        or torch.is_autocast_enabled("cpu")
        or torch.get_num_threads() == 1  # torch's own convolution, which is slow
        or x.numel() == 0
    ):
        return F.linear(x, weight, bias)
    pixels = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # of one column, channels last
    out = F.conv2d(pixels, weight[:, :, None, None], bias)
    return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


class Linear(nn.Linear):
    """``nn.Linear``, by :func:`linear`."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)
