"""The images that a demo leaves behind: predictions beside the truth, and training curves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from swinv2_dense.files import write_figure

__all__ = ["Found", "draw_curves", "draw_predictions"]

_COLOURS = (
    np.array([(230, 60, 60), (40, 110, 235), (250, 180, 20), (150, 60, 200), (20, 160, 90), (240, 110, 200)]) / 255
)


@dataclass(frozen=True)
class Found:
    """One object, annotated or predicted. ``mask``: bool, H x W. ``score`` is None for the truth."""

    mask: np.ndarray
    category: int
    score: float | None = None
    crowd: bool = False


def draw_predictions(
    path: Path,
    images: Sequence[np.ndarray],
    truth: Sequence[Sequence[Found]],
    predicted: Sequence[Sequence[Found]],
    classes: Sequence[str],
    *,
    pairs_per_row: int = 2,
) -> None:
    """A grid of held-out ``images`` (uint8, H x W x 3, RGB), each with the truth and beside it the prediction."""
    rows = -(-len(images) // pairs_per_row)
    figure = Figure(figsize=(5.6 * pairs_per_row, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, 2 * pairs_per_row, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for index, image in enumerate(images):
        row, column = divmod(index, pairs_per_row)
        for offset, (title, objects) in enumerate((("truth", truth[index]), ("prediction", predicted[index]))):
            axis = axes[row, 2 * column + offset]
            axis.set_title(title, fontsize=10, color="0.3")
            _show_objects(axis, image, objects, classes)
    write_figure(path, figure, dpi=110)


def _show_objects(axis: Axes, image: np.ndarray, objects: Sequence[Found], classes: Sequence[str]) -> None:
    axis.imshow(image)
    for found in objects:
        colour = _COLOURS[found.category % len(_COLOURS)]
        # The veil and the outline are both drawn from the mask, so what is seen is what was annotated or predicted.
        axis.imshow(np.dstack([np.broadcast_to(colour, (*found.mask.shape, 3)), found.mask * 0.35]))
        for edge, width in (("white", 2.6), (colour, 1.4)):
            axis.contour(found.mask, levels=[0.5], colors=[edge], linewidths=width)
        rows, columns = np.nonzero(found.mask)
        if len(rows):
            label = classes[found.category] + (" crowd" if found.crowd else "")
            label += "" if found.score is None else f" {found.score:.2f}"
            text = axis.text(columns.mean(), rows.mean(), label, color="white", fontsize=7, ha="center", va="center")
            text.set_path_effects([patheffects.withStroke(linewidth=2, foreground="black")])


def draw_curves(path: Path, losses: Sequence[float], scores: dict[str, list[tuple[int, float]]], *, title: str) -> None:
    """The loss of every iteration, its running mean, and ``scores`` (name -> [(iteration, 0 to 1)]) on one axis."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axis = figure.subplots()
    steps = np.arange(1, len(losses) + 1)
    axis.plot(steps, losses, color="0.8", linewidth=0.8, label="loss")
    axis.plot(steps, _running_mean(np.asarray(losses)), color="0.25", linewidth=1.8, label="loss, running mean")
    axis.set(xlabel="iteration", ylabel="loss", ylim=(0, None), title=title)
    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    right = axis.twinx()
    for (name, points), colour in zip(scores.items(), _COLOURS, strict=False):
        right.plot(
            *zip(*points, strict=True), marker="o", color=colour, label=f"{name}, {points[-1][1]:.2f} at the end"
        )
    right.set(ylabel=f"{', '.join(scores)} on held-out data", ylim=(0, 1.02))
    handles = [line for side in (axis, right) for line in side.get_lines()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=8)
    axis.spines["top"].set_visible(False)
    right.spines["top"].set_visible(False)
    write_figure(path, figure, dpi=110)


def _running_mean(values: np.ndarray, width: int = 20) -> np.ndarray:
    """Mean of up to ``width`` last values, defined from the first one on."""
    total = np.cumsum(np.concatenate([[0.0], values]))
    end = np.arange(1, len(values) + 1)
    start = np.maximum(0, end - width)
    return (total[end] - total[start]) / (end - start)
