"""How a map is cut into windows. The only place that decides clamp, shift and what happens at the border.

The authors roll a shifted map round its border, cut it into full windows and mask away the pairs that the roll brought
together. What the mask leaves is plain: along every axis the map is cut at ``shift, shift + W, shift + 2W, ...`` and
tokens attend inside a cell. So we cut there. Cells at the border are smaller windows, nothing is rolled, masked or
computed in vain, and a map that is no multiple of the window needs no padding tokens: its last cell is just smaller.

Along one axis there are at most three sizes of cell (first, interior, last; first and last agree where the map is a
multiple of an even window), so a map has few *groups* of equal windows, and all windows of a group are one batch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import torch
from torch import Tensor

from swinv2_dense.layers.dispatch import wants_gradients

__all__ = ["WindowBlock", "WindowGrid", "WindowGroup", "merge", "partition", "window_grid", "windows_of"]


@dataclass(frozen=True)
class WindowBlock:
    """A box of the map that holds ``counts`` adjacent windows of one shape, beginning at token ``starts``."""

    starts: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class WindowGroup:
    """All windows of one shape, in tokens per axis."""

    shape: tuple[int, ...]
    blocks: tuple[WindowBlock, ...]

    @property
    def tokens(self) -> int:
        """Tokens in one window."""
        return math.prod(self.shape)

    @property
    def windows(self) -> int:
        """Windows of this group in one map."""
        return sum(math.prod(block.counts) for block in self.blocks)


@dataclass(frozen=True)
class WindowGrid:
    """A map of ``size`` tokens cut into windows of at most ``window`` tokens, along each axis ``shifted`` or not."""

    size: tuple[int, ...]
    window: tuple[int, ...]
    shifted: tuple[bool, ...]
    groups: tuple[WindowGroup, ...]

    @property
    def is_one_window(self) -> bool:
        return self.size == self.window

    def spans(self) -> list[tuple[tuple[int, int], ...]]:
        """First token and the one behind the last along each axis, of every window, in :func:`partition`'s order."""
        return [
            tuple(
                (start + i * w, start + (i + 1) * w) for start, i, w in zip(block.starts, at, group.shape, strict=True)
            )
            for group in self.groups
            for block in group.blocks
            for at in product(*map(range, block.counts))
        ]

    def bands(self, tokens: int) -> list[WindowGrid]:
        """The map cut across its first axis where no window is, in bands of about so many tokens: how each is cut into
        the same windows."""
        rows, window = self.size[0], self.window[0]
        step = window * max(1, tokens // (window * math.prod(self.size[1:])))
        first = window // 2 if self.shifted[0] and rows > window else 0
        starts = [0, *range(first + step, rows, step)]
        return [
            window_grid(
                (stop - start, *self.size[1:]), self.window, shifted=(self.shifted[0] and start == 0, *self.shifted[1:])
            )
            for start, stop in zip(starts, [*starts[1:], rows], strict=True)
        ]


def _cells(size: int, window: int, shifted: bool) -> dict[int, list[tuple[int, int]]]:
    """Cell length -> [(start, count), ...] along one axis."""
    if size <= window:
        return {size: [(0, 1)]}
    first = window // 2 if shifted else 0
    count, last = divmod(size - first, window)
    cells: dict[int, list[tuple[int, int]]] = {}
    for length, start, n in ((window, first, count), (first, 0, 1), (last, size - last, 1)):
        if length and n:
            cells.setdefault(length, []).append((start, n))
    return cells


@lru_cache(maxsize=4096)
def _window_grid(size: tuple[int, ...], window: tuple[int, ...], shifted: tuple[bool, ...]) -> WindowGrid:
    axes = [_cells(*axis) for axis in zip(size, window, shifted, strict=True)]
    groups = []
    for shape in product(*axes):
        runs = product(*(cells[length] for cells, length in zip(axes, shape, strict=True)))
        groups.append(WindowGroup(shape, tuple(WindowBlock(*zip(*run, strict=True)) for run in runs)))
    return WindowGrid(size, tuple(map(min, size, window)), shifted, tuple(groups))


def window_grid(size: Sequence[int], window: Sequence[int], *, shifted: bool | Sequence[bool]) -> WindowGrid:
    """Cut a map of ``size`` tokens (one number an axis) into windows of ``window`` tokens.

    An axis no longer than its window is one window without shift; any other is shifted by ``window // 2`` where
    ``shifted``, given for all axes or for each (section 3.1; shifted windows are Swin V1's).
    """
    axes = (shifted,) * len(size) if isinstance(shifted, bool) else tuple(shifted)
    if torch.jit.is_tracing():
        size = [int(s) for s in size]  # which are tensors there
    if torch.compiler.is_compiling():  # the tracer follows plain Python, but warns of caches
        return _window_grid.__wrapped__(tuple(size), tuple(window), axes)
    return _window_grid(tuple(size), tuple(window), axes)


def _pairs(x: Tensor, tokens: Tensor, grid: WindowGrid) -> Iterator[tuple[Tensor, Tensor]]:
    """For every block of windows its box of the map and its rows of the token list, as two views of one shape.

    ``x`` is B x *size x C, ``tokens`` (B * prod(size)) x C; the views are B x *counts x *shape x C.
    """
    batch, channels, rank = x.shape[0], x.shape[-1], len(grid.size)
    order = (0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    row = 0
    for group in grid.groups:
        for block in group.blocks:
            box = x
            for axis, (start, n, w) in enumerate(zip(block.starts, block.counts, group.shape, strict=True)):
                box = box.narrow(1 + axis, start, n * w)
            split = [length for pair in zip(block.counts, group.shape, strict=True) for length in pair]
            # B, n1*w1, n2*w2, ..., C -> B, n1, w1, n2, w2, ..., C -> B, n1, n2, ..., w1, w2, ..., C
            box = box.view(batch, *split, channels).permute(order)
            rows = batch * math.prod(split)
            yield box, tokens.narrow(0, row, rows).view(box.shape)
            row += rows


def _gather(x: Tensor, grid: WindowGrid) -> Tensor:
    tokens = x.new_empty(x.shape[0] * math.prod(grid.size), x.shape[-1])
    for box, rows in _pairs(x, tokens, grid):
        rows.copy_(box)
    return tokens


def _scatter(tokens: Tensor, grid: WindowGrid, batch: int) -> Tensor:
    x = tokens.new_empty(batch, *grid.size, tokens.shape[-1])
    for box, rows in _pairs(x, tokens, grid):
        box.copy_(rows)
    return x


class _Partition(torch.autograd.Function):
    """One copy each way: autograd's own way back through slices would fill and add a whole map for every block.

    Both functions only move numbers, so their tangents and their gradients are moved like them, as often as one
    differentiates, and ``torch.func`` batches them as it batches any operator.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, grid: WindowGrid) -> Tensor:
        return _gather(x, grid)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, WindowGrid], output: Tensor) -> None:
        x, ctx.grid = inputs
        ctx.batch = x.shape[0]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return merge(grad, ctx.grid, ctx.batch), None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, _: None) -> Tensor:
        return partition(tangent, ctx.grid)


class _Merge(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(tokens: Tensor, grid: WindowGrid, batch: int) -> Tensor:
        return _scatter(tokens.contiguous(), grid, batch)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, WindowGrid, int], output: Tensor) -> None:
        _, ctx.grid, ctx.batch = inputs

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return partition(grad, ctx.grid), None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return merge(tangent, ctx.grid, ctx.batch)


def partition(x: Tensor, grid: WindowGrid) -> Tensor:
    """B x *size x C -> T x C, T = B * prod(size): group after group, window after window, row-major inside a window."""
    x = x.contiguous()
    if grid.is_one_window:
        return x.view(-1, x.shape[-1])
    return _Partition.apply(x, grid) if wants_gradients() else _gather(x, grid)


def merge(tokens: Tensor, grid: WindowGrid, batch: int) -> Tensor:
    """T x C -> B x *size x C, the inverse of :func:`partition`."""
    if grid.is_one_window:
        return tokens.reshape(batch, *grid.size, -1)
    return _Merge.apply(tokens, grid, batch) if wants_gradients() else _scatter(tokens.contiguous(), grid, batch)


def windows_of(tokens: Tensor, groups: Sequence[WindowGroup]) -> Iterator[Tensor]:
    """T x H x D, in :func:`partition`'s order -> n x H x N x D of every group, views."""
    batch = tokens.shape[0] // sum(group.windows * group.tokens for group in groups)
    row = 0
    for group in groups:
        rows = tokens.narrow(0, row, batch * group.windows * group.tokens)
        yield rows.unflatten(0, (-1, group.tokens)).transpose(1, 2)
        row += rows.shape[0]
