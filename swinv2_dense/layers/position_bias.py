"""The position bias as a choice of three (section 3.3, table 1): what attention adds to its logits per offset.

Attention knows one thing of it: ``table(window)`` is H x (2W_1 - 1) x ... x (2W_d - 1). Log-CPB is the paper's answer
and the default; the other two are what it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.layers.log_cpb import LogCPB, at_least_float32

__all__ = ["POSITION_BIASES", "BiasTable", "LinearCPB", "bicubic", "position_bias"]


class LinearCPB(LogCPB):
    """The same meta network on offsets in units of the pre-training window, without the logarithm.

    Its weights have names of their own, so that they are never taken for log-CPB's.
    """

    names = ("linear1", "relu", "linear2")

    def coordinates(self, window: tuple[int, ...], device: torch.device) -> Tensor:
        """``delta / (W_pre - 1)``, (2W_1 - 1) x ... x (2W_d - 1) x d."""
        axes = [
            torch.arange(1 - w, w, dtype=torch.float32, device=device) / max(pretrained - 1, 1)
            for w, pretrained in zip(window, self.pretrained_window, strict=True)
        ]
        return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


class BiasTable(nn.Module):
    """A learnt number for every offset and head, as in Swin V1. Another window's is :func:`bicubic` of it; loading a
    checkpoint of another window does the same to the weight.

    Args:
        heads: attention heads.
        window: tokens per axis.
        pretrained_window: kept for reports alone; the shape of the weight gives its window.
    """

    def __init__(self, heads: int, window: tuple[int, ...], pretrained_window: tuple[int, ...]) -> None:
        super().__init__()
        self.pretrained_window = pretrained_window
        self.weight = nn.Parameter(torch.empty(heads, *(2 * w - 1 for w in window)))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, window: tuple[int, ...]) -> Tensor:
        """Table of biases for a ``window``, H x (2W_1 - 1) x ... x (2W_d - 1), float32 or wider. A smaller window's
        offsets are the middle of a larger one's."""
        table = self.weight.to(at_least_float32(self.weight))
        larger = tuple(max(2 * w - 1, n) for w, n in zip(window, table.shape[1:], strict=True))
        table = bicubic(table, larger)
        for axis, w in enumerate(window, start=1):
            table = table.narrow(axis, (table.shape[axis] + 1) // 2 - w, 2 * w - 1)
        return table

    def table(self, window: tuple[int, ...]) -> Tensor:
        """As :meth:`forward`, by way of the module's hooks."""
        return cast(Tensor, self(window))


def bicubic(table: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """H x *anything -> H x *sizes, cubic convolution along one axis after another (separable), any number of axes."""
    for axis, size in enumerate(sizes, start=1):
        if table.shape[axis] != size:
            rows = table.movedim(axis, -1)  # H x others x n
            wide = F.interpolate(rows.flatten(0, -2)[:, None, None], (1, size), mode="bicubic")
            table = wide.reshape(*rows.shape[:-1], size).movedim(-1, axis)
    return table


# heads, window, pretrained_window -> the module
_Maker = Callable[[int, tuple[int, ...], tuple[int, ...]], nn.Module]
POSITION_BIASES: dict[str, _Maker] = {
    "log_cpb": lambda heads, window, pretrained_window: LogCPB(heads, pretrained_window),
    "linear_cpb": lambda heads, window, pretrained_window: LinearCPB(heads, pretrained_window),
    "table": BiasTable,
}


def position_bias(
    kind: str, heads: int, window: tuple[int, ...], pretrained_window: tuple[int, ...]
) -> LogCPB | BiasTable:
    """The module behind a choice: 'log_cpb', 'linear_cpb' or 'table'."""
    return cast(LogCPB | BiasTable, POSITION_BIASES[kind](heads, window, pretrained_window))
