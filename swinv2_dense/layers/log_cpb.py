"""Log-spaced continuous position bias (section 3.3): a small network turns relative coordinates into a bias.

The only home of ``log2`` and ``16 * sigmoid``. The network acts on the table of the prod(2W - 1) different offsets,
never on the pairs of tokens. Offsets are measured in units of the window that the weights were *pre-trained* with, so a
larger window only continues the table: cropped to its middle it is the smaller window's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from contextlib import nullcontext
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "LogCPB",
    "at_least_float32",
    "expand_bias",
    "log_coordinates",
]


def at_least_float32(x: Tensor) -> torch.dtype:
    """The dtype for what 8 bits of mantissa are too few for: norms, logits, coordinates."""
    return torch.promote_types(x.dtype, torch.float32)


def log_coordinates(
    window: tuple[int, ...], pretrained_window: tuple[int, ...], device: torch.device | None = None
) -> Tensor:
    """Log-spaced offsets between the tokens of a window, equation 4.

    Returns (2W_1 - 1) x ... x (2W_d - 1) x d, ``sign(t) log2(1 + |t|) / log2(8)`` with ``t = 8 delta / (W_pre - 1)``;
    an axis pre-trained with a window of one token (delta is 0 there) counts plain tokens.
    """
    axes = []
    for w, pretrained in zip(window, pretrained_window, strict=True):
        t = torch.arange(1 - w, w, dtype=torch.float32, device=device) * (8 / max(pretrained - 1, 1))
        axes.append(t.sign() * (1 + t.abs()).log2() / math.log2(8))
    return torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)


def _centre(table: Tensor, shape: tuple[int, ...]) -> Tensor:
    """H x prod(2W - 1) table of a window -> the view H x prod(2w - 1) that belongs to windows of ``shape``."""
    for axis, w in enumerate(shape, start=1):
        table = table.narrow(axis, (table.shape[axis] + 1) // 2 - w, 2 * w - 1)
    return table


def expand_bias(table: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Bias of every pair of tokens in a window of ``shape`` <= W, H x N x N, N = prod(``shape``), from the table of
    offsets H x (2W_1 - 1) x ...; entry (i, j) is the table's at position(i) - position(j)."""
    # Read backwards, the table is a row on which query i sees its keys as the w entries from w - 1 - i on.
    bias = _centre(table, shape).flip(tuple(range(1, len(shape) + 1)))
    heads, queries, keys = table.shape[0], 1, 1
    for w in reversed(shape):
        bias = bias.reshape(heads, -1, 2 * w - 1, queries, keys).unfold(2, w, 1).flip(2).transpose(-1, -2)
        queries, keys = w * queries, w * keys
    return bias.reshape(heads, queries, keys)


class LogCPB(nn.Sequential):
    """The meta network G of equation 3: Linear(d, 512) - ReLU - Linear(512, heads), then ``16 * sigmoid``.

    Args:
        heads: attention heads.
        pretrained_window: window, in tokens per axis, that the weights were (or are being) pre-trained with.
    """

    names = ("0", "1", "2")

    def __init__(self, heads: int, pretrained_window: tuple[int, ...], hidden: int = 512) -> None:
        layers = (
            nn.Linear(len(pretrained_window), hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, heads, bias=False),
        )
        super().__init__(OrderedDict(zip(self.names, layers, strict=True)))
        self.pretrained_window = pretrained_window
        self._cached: tuple[tuple[object, ...], list[Tensor], Tensor] | None = None

    def coordinates(self, window: tuple[int, ...], device: torch.device) -> Tensor:
        """What the network is asked at, (2W_1 - 1) x ... x (2W_d - 1) x d."""
        return log_coordinates(window, self.pretrained_window, device)

    def forward(self, window: tuple[int, ...]) -> Tensor:
        """Table of biases for a ``window``, H x (2W_1 - 1) x ... x (2W_d - 1), float32 also under autocast."""
        first, last = cast(nn.Linear, self[0]), cast(nn.Linear, self[2])
        device = first.weight.device
        with nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False):
            wide = at_least_float32(first.weight)
            coordinates = self.coordinates(window, device).to(wide)
            hidden = F.linear(coordinates, first.weight.to(wide), first.bias.to(wide)).relu_()
            return 16 * F.linear(hidden, last.weight.to(wide)).movedim(-1, 0).sigmoid()

    def table(self, window: tuple[int, ...]) -> Tensor:
        """As :meth:`forward`, but not computed again in eval mode until a weight, the device or the window changes."""
        wants_grad = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        if self.training or wants_grad or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return self(window)
        key = (
            window,
            self.pretrained_window,
            *((p.data_ptr(), p.device, p.dtype, _version(p)) for p in self.parameters()),
        )
        if self._cached is None or self._cached[0] != key or not self._unchanged(self._cached[1]):
            on_cpu = all(p.device.type == "cpu" for p in self.parameters())
            copies = [p.detach().clone() for p in self.parameters()] if on_cpu else []
            self._cached = key, copies, self(window)
        return self._cached[2]

    def _unchanged(self, copies: list[Tensor]) -> bool:
        """``p.data.copy_()``, how EMA hooks swap weights, bumps no version. On the CPU a look at the few thousand
        numbers is cheap; elsewhere it would wait for the device, and switching to eval mode, which every such hook
        is followed by, empties the cache instead."""
        return all(torch.equal(a, p) for a, p in zip(copies, self.parameters(), strict=False))

    def train(self, mode: bool = True) -> LogCPB:
        self._cached = None
        return super().train(mode)


def _version(p: Tensor) -> int:
    return 0 if p.is_inference() else p._version
