"""Clips as strips of frames with what was predicted for them. A config names this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from swinv2_dense.files import write_figure
from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.sample_drawings import SampleDrawingsHook

__all__ = ["ClipStripsHook", "Strip", "draw_strips"]


@dataclass(frozen=True)
class Strip:
    """One clip: ``frames`` (uint8, T x H x W x 3, RGB), the names of its class and of the predicted one, its score."""

    frames: np.ndarray
    truth: str
    predicted: str
    score: float

    @classmethod
    def of(cls, views: np.ndarray, sample: Any, classes: Sequence[str] | None, count: int = 8) -> Strip:
        """Up to ``count`` frames of the middle view (``views``: N x 3 x T x H x W) and the sample's prediction."""
        view = views[len(views) // 2]
        chosen = np.linspace(0, view.shape[1] - 1, min(count, view.shape[1])).round().astype(int)
        frames = view[:, chosen].transpose(1, 2, 3, 0).astype(np.uint8)
        labels = (int(sample.gt_label), int(sample.pred_label))
        truth, predicted = (classes[label] if classes else f"class {label}" for label in labels)
        return cls(frames, truth, predicted, float(sample.pred_score.max()))


def draw_strips(strips: Sequence[Strip], path: Path | None) -> Figure:
    """A row of frames for every clip; the prediction is green where it is right and red where it is wrong.

    Args:
        path: a .png file to write, or None to leave the figure to the caller.
    """
    columns = max(len(strip.frames) for strip in strips)
    height, width = strips[0].frames.shape[1:3]
    size = (1.1 * columns * max(1.0, width / height), 1.35 * len(strips) * max(1.0, height / width))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(strips), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for row, strip in zip(axes, strips, strict=True):
        for axis, frame in zip(row, strip.frames, strict=False):
            axis.imshow(frame)
        colour = "tab:green" if strip.predicted == strip.truth else "tab:red"
        row[0].set_title(strip.truth, loc="left", fontsize=9, color="0.3")
        title = f"predicted: {strip.predicted}, {strip.score:.2f}"
        row[min(2, columns - 1)].set_title(title, loc="left", fontsize=9, color=colour)
    if path is not None:
        write_figure(path, figure, dpi=110)
    return figure


@HOOKS.register_module()
class ClipStripsHook(SampleDrawingsHook):
    """Draws every tested clip and its prediction as CLASS_CLIP.png.

    mmaction2's own hook writes whole videos, and refuses several views.
    """

    def figures(self, dataset: Any, batch: Any, samples: Sequence[Any]) -> Iterator[Figure]:
        classes = dataset.metainfo.get("classes")
        for views, sample in zip(batch["inputs"], samples, strict=True):
            strip = Strip.of(views.numpy(), sample, None if isinstance(classes, str) else classes)
            clip = Path(sample.filename)
            yield draw_strips([strip], self.path(f"{clip.parent.name}_{clip.stem}.png"))
