"""SwinV2 in the operators that exporters know, for maps of any size: stand-ins for the layers that do not trace.

The layers cut a map into cells of several shapes, by plain Python on its size. A file has to work for sizes that are
not known when it is written, so here every window has the full shape: maps are rolled by the shift, filled up to whole
windows, and pairs of tokens of different cells are masked, as in the authors' code. Tokens are moved by one index,
whose entries are computed from the size; what fills a window up is a copy of a real token, which no token attends to.
What is left of the softmax is the cell's, exactly. Exporters pay for every operation on symbolic sizes, so a stage
works on a list of tokens and computes index and mask once for all of its blocks.

The position bias is a constant, the table of offsets; the meta network is not in the file.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swinv2_dense.errors import UserError
from swinv2_dense.layers import PatchEmbed, PatchMerging, SwinBlock, SwinStage, WindowAttention, window_grid

__all__ = ["traceable"]

# Added to logits between -100 and 116, the exponential of which is then 0 in float32, and which float16 still holds.
_NEVER = -1e4
_EPS = 1e-6


@dataclass
class _Windows:
    """How a map of T tokens becomes K windows of N places, by index; K and T may be symbols.

    ``shape``: tokens per axis of a window. ``source``, K * N: the token at every place. ``back``, T: the place of every
    token. ``token``, K * N: whether a token is there, and not what fills a window up. ``mask``, K x 1 x N x N: added to
    the logits. ``source`` is None where the map is one window, ``mask`` where all of a window's places attend.
    """

    shape: tuple[int, ...]
    source: Tensor | None = None
    back: Tensor | None = None
    token: Tensor | None = None
    mask: Tensor | None = None


def _number(n: int, device: torch.device) -> Tensor:
    """A symbol as a tensor: not every operator of ONNX takes one."""
    return torch.full((), n, dtype=torch.int64, device=device)


def _windows(
    size: tuple[int, ...], window: tuple[int, ...], *, shifted: bool, zeros: bool, device: torch.device
) -> _Windows:
    """How a map of ``size`` tokens is cut into windows of ``window``; ``zeros``: what fills them up takes part."""
    if all(isinstance(n, int) and n <= w for n, w in zip(size, window, strict=True)):
        return _Windows(tuple(size))
    # an axis whose length is known can have its window shrunk
    window = tuple(min(n, w) if isinstance(n, int) else w for n, w in zip(size, window, strict=True))
    rank = len(size)
    source = token = real = cell = back_window = back_place = torch.zeros((), dtype=torch.int64, device=device)
    for axis, (n, w) in enumerate(zip(size, window, strict=True)):
        count = (n + w - 1) // w
        tokens, places = _number(n, device), _number(count * w, device)
        longer = tokens > w  # an axis no longer than its window is neither shifted nor filled up with zeros
        shift = longer.to(torch.int64) * (w // 2 if shifted else 0)
        # of every place of the rolled axis its token, as count x window, beside those of the other axes
        place = torch.arange(count * w, device=device) + shift
        place = torch.where(place >= places, place - places, place)
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = -1, w
        place = place.view(shape)
        there = place < tokens
        source = source * tokens + torch.where(there, place, tokens - 1)
        token = token + (~there).to(torch.int64)
        real = real + (~(there | longer) if zeros else ~there).to(torch.int64)
        cell = cell * 2 + (place < shift).to(torch.int64)  # a window at the border joins the first cell and the last
        # of every token its window and its place there
        at = torch.arange(n, device=device) - shift
        at = torch.where(at < 0, at + places, at).view([-1 if i == axis else 1 for i in range(rank)])
        of = torch.div(at, w, rounding_mode="floor")
        back_window = back_window * _number(count, device) + of
        back_place = back_place * w + (at - of * w)
    inside = math.prod(window)
    real, cell = (real == 0).reshape(-1, inside), cell.reshape(-1, inside)
    allowed = (cell[:, :, None] == cell[:, None, :]) & real[:, None, :]
    # where all is known, nothing is shifted and nothing filled up, every pair is allowed
    masked = shifted or not all(isinstance(n, int) and n % w == 0 for n, w in zip(size, window, strict=True))
    return _Windows(
        window,
        source=source.flatten(),
        back=(back_window * inside + back_place).flatten(),
        token=(token == 0).flatten(),
        mask=torch.where(allowed, 0.0, _NEVER)[:, None] if masked else None,
    )


class TraceableAttention(nn.Module):
    """:class:`WindowAttention` for a map as a list of its tokens. ``table``: H x (2W_1 - 1) x ..., ``scale``: H x 1
    x 1, ``qkv_bias``: 3C."""

    scale: Tensor
    table: Tensor
    qkv_bias: Tensor | None

    def __init__(self, attn: WindowAttention) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = attn.heads, attn.window, attn.shifted
        self.zeros = attn.pad_attention == "zeros"
        self.qkv, self.proj = attn.qkv, attn.proj
        with torch.no_grad():
            bias, scale, table = attn.operands(window_grid(self.window, self.window, shifted=False))
        self.register_buffer("qkv_bias", None if bias is None else bias.detach().clone())
        self.register_buffer("scale", scale.detach()[:, None, None].clone())
        self.register_buffer("table", table.detach().clone())

    def forward(self, x: Tensor, windows: _Windows) -> Tensor:
        """B x T x C -> the same."""
        qkv = self.qkv(x)
        if self.qkv_bias is not None:
            qkv = qkv + self.qkv_bias
        if windows.source is not None:
            qkv = qkv.index_select(1, windows.source)
            if self.zeros:  # a zero token's query, key and value are the biases
                zero = qkv.new_zeros(qkv.shape[-1]) if self.qkv_bias is None else self.qkv_bias
                qkv = torch.where(cast(Tensor, windows.token)[:, None], qkv, zero)
        inside = math.prod(windows.shape)
        qkv = qkv.reshape(qkv.shape[0], -1, inside, 3, self.heads, qkv.shape[-1] // (3 * self.heads))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)  # B x K x H x N x D
        logits = (_unit(q) * self.scale) @ _unit(k).transpose(-1, -2) + self._bias(windows.shape)
        if windows.mask is not None:
            logits = logits + windows.mask.to(logits.dtype)
        out = (logits.softmax(-1) @ v).transpose(2, 3).flatten(3).flatten(1, 2)  # B x K N x C
        if windows.back is not None:
            out = out.index_select(1, windows.back)
        return cast(Tensor, self.proj(out))

    def _bias(self, shape: tuple[int, ...]) -> Tensor:
        """H x N x N, from the table of offsets."""
        table = self.table
        offset = torch.zeros((), dtype=torch.int64, device=table.device)
        rank = len(shape)
        for axis, (w, length) in enumerate(zip(shape, table.shape[1:], strict=True)):
            i = torch.arange(w, device=table.device)
            view = [w if n % rank == axis else 1 for n in range(2 * rank)]
            offset = offset * length + (i[:, None] - i[None, :] + (length + 1) // 2 - 1).view(view)
        n = math.prod(shape)
        return table.flatten(1).index_select(1, offset.flatten()).view(self.heads, n, n)


def _unit(x: Tensor) -> Tensor:
    return x * x.square().sum(-1, keepdim=True).sqrt().clamp_min(_EPS).reciprocal()


class TraceableStage(nn.Module):
    """:class:`SwinStage` on lists of tokens, whose windows are worked out once for all of its blocks."""

    def __init__(self, stage: SwinStage) -> None:
        super().__init__()
        self.blocks = stage.blocks
        for block in self.blocks:
            if type(block).forward is not SwinBlock.forward:  # its own would not be asked
                raise UserError(
                    f"a {type(block).__name__} stands in for a block of SwinV2: such a model cannot be exported"
                )
            if not isinstance(block.attn, WindowAttention):
                raise UserError(
                    f"a {type(block.attn).__name__} stands in for a block's attention: such a model cannot be exported"
                )
            block.attn = TraceableAttention(block.attn)
        self.downsample = None if stage.downsample is None else TraceablePatchMerging(stage.downsample)

    def forward(self, x: Tensor) -> Tensor:
        """B x *size x C -> the same."""
        shape, size = x.shape, x.shape[1:-1]
        x = x.flatten(1, -2)
        known: dict[bool, _Windows] = {}
        for block in list[Any](self.blocks):
            attn = cast(TraceableAttention, block.attn)
            if attn.shifted not in known:
                known[attn.shifted] = _windows(
                    tuple(size), attn.window, shifted=attn.shifted, zeros=attn.zeros, device=x.device
                )
            x = x + block.norm1(attn(x, known[attn.shifted]))
            x = x + block.norm2(block.mlp(x))
            if block.norm3 is not None:
                x = block.norm3(x)
        return x.reshape(shape)


def _missing(size: int, multiple: int) -> int:
    return (size + multiple - 1) // multiple * multiple - size


class TraceablePatchEmbed(nn.Module):
    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.patch_size, self.proj, self.norm = embed.patch_size, embed.proj, embed.norm

    def forward(self, x: Tensor) -> Tensor:
        pads = [_missing(size, patch) for size, patch in zip(x.shape[2:], self.patch_size, strict=True)]
        if not all(isinstance(n, int) and n == 0 for n in pads):
            x = F.pad(x, [n for amount in reversed(pads) for n in (0, amount)])
        return cast(Tensor, self.norm(self.proj(x).movedim(1, -1)))


class TraceablePatchMerging(nn.Module):
    def __init__(self, merging: PatchMerging) -> None:
        super().__init__()
        self.reduction, self.norm = merging.reduction, merging.norm

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-3:-1]
        x = F.pad(x, (0, 0, 0, _missing(width, 2), 0, _missing(height, 2)))
        x = x.unflatten(-2, ((width + 1) // 2, 2)).unflatten(-4, ((height + 1) // 2, 2))
        # ... x H/2 x row x W/2 x column x C -> ... x H/2 x W/2 x column x row x C
        x = x.transpose(-4, -3).transpose(-3, -2)
        return cast(Tensor, self.norm(self.reduction(x.flatten(-3))))


class TraceableAveragePool(nn.Module):
    """``nn.AdaptiveAvgPool2d`` for maps of any size: a product with a matrix of averages on each side."""

    def __init__(self, output: tuple[int, int]) -> None:
        super().__init__()
        self.output = output

    def forward(self, x: Tensor) -> Tensor:
        height, width = (_averages(size, n, x) for size, n in zip(x.shape[-2:], self.output, strict=True))
        return height @ x @ width.mT


def _averages(size: int, bins: int, x: Tensor) -> Tensor:
    """bins x size: bin i is the mean of tokens floor(i n / bins) up to ceil((i + 1) n / bins)."""
    tokens = torch.full((), size, dtype=torch.int64, device=x.device)
    i = torch.arange(bins, device=x.device)
    first = torch.div(i * tokens, bins, rounding_mode="floor")
    last = torch.div((i + 1) * tokens + (bins - 1), bins, rounding_mode="floor")
    place = torch.arange(size, device=x.device)
    inside = (place >= first[:, None]) & (place < last[:, None])
    return inside.to(x.dtype) / (last - first)[:, None].to(x.dtype)


def traceable(model: nn.Module) -> nn.Module:
    """A copy of ``model`` in eval mode whose layers trace, for maps of any size."""
    model = copy.deepcopy(model).eval().requires_grad_(False)
    for name, module in list(model.named_modules()):
        new: nn.Module | None = None
        if isinstance(module, SwinStage):
            new = TraceableStage(module)
        elif isinstance(module, PatchEmbed):
            new = TraceablePatchEmbed(module)
        elif isinstance(module, nn.AdaptiveAvgPool2d):
            output: Any = module.output_size
            new = TraceableAveragePool((output, output) if isinstance(output, int) else tuple(output))
        if new is not None:
            model.set_submodule(name, new.eval())
    return model
