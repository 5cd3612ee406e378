"""Log-spaced continuous position bias (section 3.3): a small network turns relative coordinates into a bias.

The only home of ``log2`` and ``16 * sigmoid``. The network acts on the table of the prod(2W - 1) different offsets,
never on the pairs of tokens. Offsets are measured in units of the window that the weights were *pre-trained* with, so a
larger window only continues the table: cropped to its middle it is the smaller window's.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.layers.dispatch import call_with, inside_a_mode, is_transformed, is_untouched, version

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
    offsets H x (2W_1 - 1) x ...; entry (i, j) is the table's at position(i) - position(j).

    Done with views of the table and one copy, axis after axis. Looking entries up by an index of N x N would need that
    index in memory, 8 bytes a pair and as large as the bias of four heads, and a scatter for the gradient.
    """
    # Along one axis query i and key j meet at entry i - j + w - 1 of the row of 2w - 1 offsets. Read backwards, that is
    # entry j + (w - 1 - i): query i sees its keys in order, as the w adjacent entries from w - 1 - i on. `unfold` makes
    # a view of all such runs, and flipped the run of query 0 comes first.
    bias = _centre(table, shape).flip(tuple(range(1, len(shape) + 1)))
    heads, queries, keys = table.shape[0], 1, 1
    # The last axis first: positions are row-major, so the axes done so far vary faster than the one at hand.
    for w in reversed(shape):
        # H x axes before x 2w-1 x Q x K -> H x axes before x w (queries) x Q x K x w (keys) -> ... x w x Q x w x K
        bias = bias.reshape(heads, -1, 2 * w - 1, queries, keys).unfold(2, w, 1).flip(2).transpose(-1, -2)
        queries, keys = w * queries, w * keys
    return bias.reshape(heads, queries, keys)


class LogCPB(nn.Sequential):
    """The meta network G of equation 3: Linear(d, 512) - ReLU - Linear(512, heads), then ``16 * sigmoid``.

    Any of its layers may be replaced, or hooked.

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
        self._cached: _Cache | None = None

    def coordinates(self, window: tuple[int, ...], device: torch.device) -> Tensor:
        """What the network is asked at, (2W_1 - 1) x ... x (2W_d - 1) x d."""
        return log_coordinates(window, self.pretrained_window, device)

    def forward(self, window: tuple[int, ...]) -> Tensor:
        """Table of biases for a ``window``, H x (2W_1 - 1) x ... x (2W_d - 1), float32 also under autocast."""
        device = next((p.device for p in self.parameters()), torch.device("cpu"))
        with nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False):
            coordinates = self.coordinates(window, device)
            x = coordinates.flatten(0, -2)  # rows: of a view, the ReLU's gradient would be copied twice
            for layer in self:
                x = _wide(layer, x)
            return 16 * x.mT.sigmoid().unflatten(-1, coordinates.shape[:-1])

    def table(self, window: tuple[int, ...]) -> Tensor:
        """As :meth:`forward`, but not computed again in eval mode until a weight or the device changes.

        Threads may share the network: what is kept is never changed, only replaced, and is read once.
        """
        parameters = list(self.parameters())  # walked once: every block asks in every forward pass
        if not self._may_keep(parameters):
            return self(window)
        key = (self.pretrained_window, *((p.data_ptr(), p.device, p.dtype, version(p)) for p in parameters))
        cached = self._cached
        if cached is None or cached.key != key or not cached.unchanged(parameters):
            on_cpu = all(p.device.type == "cpu" for p in parameters)
            cached = _Cache(key, [p.detach().clone() for p in parameters] if on_cpu else [], {})
        if window not in cached.tables:
            # a tensor of inference mode could not be saved for any backward pass later
            with torch.inference_mode(False), torch.no_grad():
                kept = list(cached.tables.items())[1 - _KEPT_TABLES :]
                self._cached = cached = _Cache(cached.key, cached.copies, {**dict(kept), window: self(window)})
        return cached.tables[window]

    def _may_keep(self, parameters: list[nn.Parameter]) -> bool:
        """Whether the table depends on the weights alone, by what we know, and will be an ordinary tensor."""
        wants_grad = torch.is_grad_enabled() and any(p.requires_grad for p in parameters)
        if self.training or wants_grad or torch.compiler.is_compiling() or torch.jit.is_tracing():
            return False
        return (
            [type(layer) for layer in self] == [nn.Linear, nn.ReLU, nn.Linear]
            and all(is_untouched(m, type(m)) for m in self.modules())
            and all(type(p) is nn.Parameter for p in parameters)
            and not is_transformed(*parameters)
            and not inside_a_mode()
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_cached": None}  # a saved or copied network computes its own

    def train(self, mode: bool = True) -> LogCPB:
        self._cached = None
        return super().train(mode)


# Windows whose tables are kept: maps smaller than the window have tables of their own, and images of several sizes
# may take turns.
_KEPT_TABLES = 8


class _Cache(NamedTuple):
    """Tables by window, the key that they hold for, and copies of the weights that they were made with."""

    key: tuple[object, ...]
    copies: list[Tensor]
    tables: dict[tuple[int, ...], Tensor]

    def unchanged(self, parameters: Iterable[Tensor]) -> bool:
        """``p.data.copy_()``, how EMA hooks swap weights, bumps no version. On the CPU a look at the few thousand
        numbers is cheap; elsewhere it would wait for the device, and switching to eval mode, which every such hook
        is followed by, empties the cache instead."""
        return all(torch.equal(a, p) for a, p in zip(self.copies, parameters, strict=False))


def _wide(layer: nn.Module, x: Tensor) -> Tensor:
    """``layer(x)``, in float32 also where a linear layer's weights are narrower."""
    for dtype in {p.dtype for p in layer.parameters() if p.is_floating_point()}:
        x = x.to(torch.promote_types(x.dtype, dtype))
    if all(p.dtype == x.dtype for p in layer.parameters() if p.is_floating_point()):
        return cast(Tensor, layer(x))
    if is_untouched(layer, nn.Linear):
        weight, bias = cast(Tensor, layer.weight), cast("Tensor | None", layer.bias)
        return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))
    return call_with(layer, {name: p.to(x.dtype) for name, p in layer.named_parameters()}, x)
