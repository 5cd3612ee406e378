"""Images with their class and the predicted one. A config names this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from mmengine.hooks import Hook
from mmengine.runner import Runner

from swinv2_dense.files import write_figure
from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.image_names import read_displayed, relative_name

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
class LabelledImagesHook(Hook):
    """Draws every tested image and its prediction: what --show and --show-dir of swinv2 test switch on.

    mmpretrain's own hook draws what the pipeline has cut out, every 5000th image, under its name alone. Options are
    named as in mmdet's hook.

    Args:
        draw: whether to do anything.
        show: show each in a window, for ``wait_time`` seconds.
        test_out_dir: a folder for NAME.png of every image NAME.
    """

    def __init__(
        self, draw: bool = False, show: bool = False, wait_time: float = 2.0, test_out_dir: str | None = None
    ) -> None:
        self.draw, self.show, self.wait_time, self.folder = draw, show, wait_time, test_out_dir

    def after_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        if not self.draw:
            return
        dataset = runner.test_dataloader.dataset
        classes = dataset.metainfo.get("classes")
        for sample in outputs or ():
            path = Path(self.folder, relative_name(sample.img_path, dataset, ".png")) if self.folder else None
            truth = _names(sample.get("gt_label"), classes)
            predicted = _names(sample.pred_label, classes)
            score = float(sample.pred_score.max())
            figure = draw_labelled(read_displayed(sample.img_path), truth, predicted, score, path)
            if self.show:
                canvas = FigureCanvasAgg(figure)
                canvas.draw()
                runner.visualizer.show(np.asarray(canvas.buffer_rgba())[..., :3], wait_time=self.wait_time)


def _names(labels: Any, classes: Sequence[str] | None) -> str:
    """Of one label, or of several; empty of none."""
    numbers = [] if labels is None else labels.reshape(-1).tolist()
    return ", ".join(classes[number] if classes else f"class {number}" for number in numbers)
