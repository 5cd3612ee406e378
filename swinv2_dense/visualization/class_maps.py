"""Class maps over their images, the truth beside the prediction. A config names this module in ``custom_imports``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from swinv2_dense.files import write_figure
from swinv2_dense.registry import HOOKS
from swinv2_dense.visualization.image_names import read_displayed, relative_name
from swinv2_dense.visualization.sample_drawings import SampleDrawingsHook

__all__ = ["ClassMaps", "ClassMapsHook", "draw_class_maps"]

_DPI = 100
_PANEL = (240, 1200)  # smallest and largest width of an image in the figure, in pixels
_VEIL = 0.6  # opacity of the classes' colours


@dataclass(frozen=True)
class ClassMaps:
    """``image``: uint8, H x W x 3, RGB. ``truth`` (None where there is none), ``predicted``: class indices, H x W;
    what is no class (255) is left as it is."""

    image: np.ndarray
    truth: np.ndarray | None
    predicted: np.ndarray

    @classmethod
    def of(cls, sample: Any) -> ClassMaps:
        """mmseg's data sample with the image that it names."""
        truth = sample.gt_sem_seg.data[0].cpu().numpy() if "gt_sem_seg" in sample else None
        image = read_displayed(sample.img_path)
        return cls(image, truth, sample.pred_sem_seg.data[0].cpu().numpy())


def draw_class_maps(
    maps: Sequence[ClassMaps], classes: Sequence[str], palette: Sequence[Sequence[int]], path: Path | None
) -> Figure:
    """A row for every image: itself, the truth over it, the prediction over it. Below, a legend of the classes seen.

    Args:
        palette: RGB, 0 to 255, of every class.
        path: a .png file to write, or None to leave the figure to the caller.
    """
    columns = 2 + any(m.truth is not None for m in maps)
    height, width = np.max([m.image.shape[:2] for m in maps], axis=0)
    panel = float(np.clip(width, *_PANEL)) / _DPI
    seen = np.unique(
        np.concatenate([labels.ravel() for m in maps for labels in (m.truth, m.predicted) if labels is not None])
    )
    legend = [Patch(color=tuple(np.array(palette[c]) / 255), label=classes[c]) for c in seen if c < len(classes)]
    per_row = max(1, int(columns * panel / 1.5))
    legend_height = 0.25 * -(-len(legend) // per_row) + 0.1
    body = len(maps) * (panel * height / width + 0.25)
    figure = Figure(figsize=(columns * panel, body + legend_height), layout="constrained")
    axes = figure.subplots(len(maps), columns, squeeze=False)
    for row, m in zip(axes, maps, strict=True):
        panels = [("image", None), ("truth", m.truth), ("prediction", m.predicted)]
        for axis, (title, labels) in zip(row, [p for p in panels if p[0] != "truth" or columns == 3], strict=True):
            axis.imshow(m.image if labels is None else _veiled(m.image, labels, palette))
            axis.set_title(title, fontsize=9, color="0.3")
            axis.axis("off")
    figure.legend(handles=legend, loc="outside lower center", ncols=per_row, frameon=False, fontsize=9)
    if path is not None:
        write_figure(path, figure, _DPI)
    return figure


def _veiled(image: np.ndarray, labels: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    colours = np.zeros((256, 3))
    colours[: len(palette)] = palette
    veil = np.where(labels < len(palette), _VEIL, 0.0)[..., None]
    return (image * (1 - veil) + colours[labels.astype(np.uint8)] * veil).astype(np.uint8)


@HOOKS.register_module()
class ClassMapsHook(SampleDrawingsHook):
    """Draws every tested image and its prediction as NAME.png; mmseg's own hook writes to the run's log folder only."""

    def figures(self, dataset: Any, batch: Any, samples: Sequence[Any]) -> Iterator[Figure]:
        meta = dataset.metainfo
        for sample in samples:
            path = self.path(relative_name(sample.img_path, dataset, ".png"))
            yield draw_class_maps([ClassMaps.of(sample)], meta["classes"], meta["palette"], path)
