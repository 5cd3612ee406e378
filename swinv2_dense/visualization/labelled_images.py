"""Images with their class and the predicted one. A config names this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from swinv2_dense.files import write_figure
from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.image_names import read_displayed, relative_name
from swinv2_dense.visualization.sample_drawings import SampleDrawingsHook

__all__ = ["LabelledImagesHook", "draw_labelled"]

_DPI = 100
_SIDE = (240, 1200)  # smallest width and largest side of an image in its drawing, in pixels
_TITLE = 0.5  # inches


def draw_labelled(image: np.ndarray, truth: str, predicted: str, score: float, path: Path | None) -> Figure:
    """An image (uint8, H x W x 3, RGB) under both names; the prediction is green where it is right, red where it is
    wrong.

    Args:
        truth: empty where nobody knows it.
        path: a .png file to write, or None to leave the figure to the caller.
    """
    height, width = image.shape[:2]
    side = float(np.clip(width, *_SIDE)) / _DPI
    figure = Figure(figsize=(side, min(side * height / width, _SIDE[1] / _DPI) + _TITLE), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image)
    axes.axis("off")
    colour = "0.3" if not truth else "tab:green" if predicted == truth else "tab:red"
    axes.set_title(f"predicted: {predicted}, {score:.2f}", loc="left", fontsize=9, color=colour)
    figure.suptitle(truth, x=0.01, ha="left", fontsize=9, color="0.3")
    if path is not None:
        write_figure(path, figure, _DPI)
    return figure


@HOOKS.register_module()
class LabelledImagesHook(SampleDrawingsHook):
    """Draws every tested image and its prediction as NAME.png.

    mmpretrain's own hook draws what the pipeline has cut out, every 5000th image, under its name alone.
    """

    def figures(self, dataset: Any, batch: Any, samples: Sequence[Any]) -> Iterator[Figure]:
        classes = dataset.metainfo.get("classes")
        for sample in samples:
            truth = _names(sample.get("gt_label"), classes)
            predicted = _names(sample.pred_label, classes)
            path = self.path(relative_name(sample.img_path, dataset, ".png"))
            yield draw_labelled(read_displayed(sample.img_path), truth, predicted, float(sample.pred_score.max()), path)


def _names(labels: Any, classes: Sequence[str] | None) -> str:
    """Of one label, or of several; empty of none."""
    numbers = [] if labels is None else labels.reshape(-1).tolist()
    return ", ".join(classes[number] if classes else f"class {number}" for number in numbers)
