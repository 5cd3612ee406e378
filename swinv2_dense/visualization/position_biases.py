"""Drawings of learnt position biases: of the heads that learnt most of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from swinv2_dense.files import write_figure
from swinv2_dense.layers import WindowAttention
from swinv2_dense.models import SwinTransformerV2

__all__ = ["bias_tables", "draw_biases", "draw_biases_by_stage", "draw_learnt_biases"]

_HEADS = 4  # of a stage


def draw_learnt_biases(path: Path, backbones: dict[str, SwinTransformerV2], rows: int = 4) -> None:
    """The heads of the first backbone whose biases vary most over the window, one block each, in all backbones."""
    tables = {title: _of_first_window(backbone) for title, backbone in backbones.items()}
    first = next(iter(tables.values()))
    strongest = {block: max(range(len(heads)), key=lambda h: heads[h].std()) for block, heads in first.items()}
    chosen = sorted(sorted(strongest, key=lambda block: -first[block][strongest[block]].std())[:rows])
    columns = {title: [table[block][strongest[block]] for block in chosen] for title, table in tables.items()}
    draw_biases(path, columns, [f"stage {s}, block {b}, head {strongest[s, b]}" for s, b in chosen])


def _of_first_window(backbone: SwinTransformerV2) -> dict[tuple[int, int], np.ndarray]:
    """Of the stages whose window is the first one's, so that one scale of tokens serves all."""
    windows = backbone.window_size
    return {key: table for key, table in bias_tables(backbone).items() if windows[key[0]] == windows[0]}


@torch.inference_mode()
def bias_tables(
    backbone: SwinTransformerV2, sizes: Sequence[tuple[int, ...]] | None = None
) -> dict[tuple[int, int], np.ndarray]:
    """(stage, block) -> heads x (2W_1 - 1) x ... x (2W_d - 1), what attention adds by key minus query.

    Args:
        sizes: tokens of every stage's map: the tables of the windows that it is cut into, which are no larger.
    """
    tables = {}
    for stage, layer in enumerate(backbone.layers):
        for index, block in enumerate(cast(Any, layer).blocks):
            attention = cast(WindowAttention, block.attn)
            window = attention.window if sizes is None else attention.grid(sizes[stage]).window
            table: Tensor = attention.cpb_mlp(window)
            # The network is asked by query minus key; seen from the query, the key is on the other side.
            tables[stage, index] = table.flip(tuple(range(1, table.ndim))).cpu().numpy()
    return tables


def draw_biases_by_stage(backbone: SwinTransformerV2, sizes: Sequence[tuple[int, ...]]) -> Figure:
    """The position biases that attention adds in maps of ``sizes``: a row a stage, of its heads those whose biases vary
    most, on one colour scale. Of clips those between tokens of the same time.
    """
    rows = [_most_varied(backbone, sizes, stage) for stage in range(len(sizes))]
    columns = max(map(len, rows))
    figure = Figure(figsize=(2.4 * columns + 1.6, 2.5 * len(rows) + 0.6), layout="constrained")
    which = "the heads that vary most" + (", between tokens of the same time" if len(sizes[0]) == 3 else "")
    figure.suptitle(f"Position bias, by tokens from query to key: {which}", fontsize=11)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for stage, tables in enumerate(rows):
        low, high = min(t.min() for t in tables.values()), max(t.max() for t in tables.values())
        shape = next(iter(tables.values())).shape
        y, x = (n / 2 for n in shape)
        for axis, (name, table) in zip(axes[stage], tables.items(), strict=False):
            image = axis.imshow(table, vmin=low, vmax=high, cmap="magma", extent=(-x, x, y, -y))
            axis.set_title(name, fontsize=8)
            axis.set(xticks=sorted({-int(x), 0, int(x)}), yticks=sorted({-int(y), 0, int(y)}))
            axis.tick_params(labelsize=7)
        for axis in axes[stage, len(tables) :]:
            axis.axis("off")
        axes[stage, 0].set_ylabel(f"stage {stage}, window {' x '.join(str((n + 1) // 2) for n in shape)}", fontsize=9)
        figure.colorbar(image, ax=list(axes[stage]), fraction=0.04, pad=0.02).ax.tick_params(labelsize=7)
    return figure


def _most_varied(backbone: SwinTransformerV2, sizes: Sequence[tuple[int, ...]], stage: int) -> dict[str, np.ndarray]:
    """The tables of a stage that vary most, in the order of its blocks and heads."""
    tables = {
        (block, head): table
        for (at, block), heads in bias_tables(backbone, sizes).items()
        if at == stage
        for head, table in enumerate(_same_time(heads))
    }
    most = sorted(tables, key=lambda key: -tables[key].std())[:_HEADS]
    return {f"block {block}, head {head}": tables[block, head] for block, head in sorted(most)}


def _same_time(table: np.ndarray) -> np.ndarray:
    """H x (2W_t - 1) x ... -> the part without distance in time; an image's table as it is."""
    return table[:, table.shape[1] // 2] if table.ndim == 4 else table


def draw_biases(path: Path, columns: dict[str, list[np.ndarray]], rows: Sequence[str]) -> None:
    """Position bias tables as heat maps: one column per entry of ``columns``, one row per name in ``rows``.

    A table is (2W-1) x (2W-1): the bias between a query in the middle and a key so many tokens further. A row has one
    colour scale and one range of tokens; the dashed frame is as large as the first column's table, so that what a
    larger window adds can be seen.
    """
    figure = Figure(figsize=(2.5 * len(columns) + 1.2, 2.4 * len(rows) + 0.4), layout="constrained")
    axes = figure.subplots(len(rows), len(columns), squeeze=False)
    for row, name in enumerate(rows):
        tables = [tables[row] for tables in columns.values()]
        low, high = min(t.min() for t in tables), max(t.max() for t in tables)
        frame, reach = tables[0].shape[0] / 2, max(t.shape[0] for t in tables) / 2
        for axis, title, table in zip(axes[row], columns, tables, strict=True):
            half = table.shape[0] / 2
            image = axis.imshow(table, vmin=low, vmax=high, cmap="magma", extent=(-half, half, half, -half))
            axis.plot(*frame * np.array([(-1, 1, 1, -1, -1), (-1, -1, 1, 1, -1)]), "--", color="0.6", linewidth=1)
            ticks = [-int(reach), 0, int(reach)]
            axis.set(xlim=(-reach, reach), ylim=(reach, -reach), xticks=ticks, yticks=ticks, facecolor="0.93")
            axis.tick_params(labelsize=7)
            if row == 0:
                axis.set_title(title, fontsize=9)
        axes[row, 0].set_ylabel(name, fontsize=9)
        figure.colorbar(image, ax=list(axes[row]), fraction=0.04, pad=0.02).ax.tick_params(labelsize=7)
    figure.supxlabel("tokens from query to key", fontsize=9)
    write_figure(path, figure, dpi=110)
