"""A signal propagation plot: how large features are behind every block (figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from swinv2_dense.files import write_figure

__all__ = ["draw_amplitudes"]

_MOST_CURVES = 12  # more are thinned out, the first and the last kept


def draw_amplitudes(curves: Mapping[str, Sequence[float]], depths: Sequence[int], path: Path) -> None:
    """Draw one curve a name, from dark to light, over the blocks of all stages, and write it as a whole or not at all.

    Args:
        curves: average variance behind every block; what is not finite or not positive is left out.
        depths: blocks of each stage.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(curves)
    if len(names) > _MOST_CURVES:
        names = [names[round(i * (len(names) - 1) / (_MOST_CURVES - 1))] for i in range(_MOST_CURVES)]
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    blocks = range(1, sum(depths) + 1)
    for i, name in enumerate(names):
        colour = mpl.colormaps["viridis"](i / max(len(names) - 1, 1) * 0.9)
        axes.plot(blocks, curves[name], marker="o", markersize=3, linewidth=1.2, color=colour, label=name)
    for stage, end in enumerate(accumulate(depths), start=1):
        if end < len(blocks):
            axes.axvline(end + 0.5, color="0.6", linestyle=":", linewidth=1)
        axes.text(
            end - depths[stage - 1] / 2 + 0.5, 1.01, f"stage {stage}", transform=axes.get_xaxis_transform(), ha="center"
        )
    values = np.concatenate([curves[name] for name in names])
    values = values[np.isfinite(values) & (values > 0)]  # others have no place on the axis
    low, high = (values.min(), values.max()) if values.size else (1.0, 1.0)
    # two decades at least, so that a few per cent look like a few per cent
    axes.set_ylim(min(low / 2, high / 100), max(high * 2, low * 10))
    axes.set(xlabel="block", ylabel="average variance of a channel", yscale="log", xlim=(0.5, len(blocks) + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", alpha=0.3)
    axes.legend(fontsize="small")
    write_figure(path, figure, dpi=110)
