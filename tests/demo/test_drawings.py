"""The images: written whole, and showing what they are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from swinv2_dense.demo.drawings import Found, draw_curves, draw_predictions

RED = (230, 60, 60)  # of the first class


def read(path: Path) -> np.ndarray:
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


def share(image: np.ndarray, colour: tuple[int, int, int]) -> float:
    return float((np.abs(image.astype(int) - colour).max(axis=2) < 25).mean())


@pytest.mark.parametrize("count", [1, 3])
def test_objects_are_drawn_on_their_image(tmp_path: Path, count: int) -> None:
    image = np.full((40, 60, 3), 255, np.uint8)
    mask = np.zeros((40, 60), bool)
    mask[10:30, 15:45] = True
    truth, predicted = [[Found(mask, 0)]] * count, [[Found(mask, 0, 0.9), Found(mask & False, 0, 0.6)]] * count
    draw_predictions(tmp_path / "a" / "full.png", [image] * count, truth, predicted, ["circle"])
    draw_predictions(tmp_path / "b" / "empty.png", [image] * count, [[]] * count, [[]] * count, ["circle"])
    assert share(read(tmp_path / "a" / "full.png"), RED) > share(read(tmp_path / "b" / "empty.png"), RED) == 0


def test_curves_show_the_scores(tmp_path: Path) -> None:
    losses = list(np.linspace(3, 1, 30))
    draw_curves(tmp_path / "a" / "curves.png", losses, {"box AP": [(10, 0.2), (30, 0.6)]}, title="training")
    draw_curves(tmp_path / "b" / "curves.png", losses, {}, title="training")
    assert share(read(tmp_path / "a" / "curves.png"), RED) > share(read(tmp_path / "b" / "curves.png"), RED) == 0


def test_the_legend_lies_beside_the_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr("swinv2_dense.demo.drawings.write_figure", lambda path, figure, dpi: figures.append(figure))
    draw_curves(tmp_path / "a.png", [2.2, 2.3], {"top-1": [(1, 0.9), (2, 1.0)]}, title="a title")
    (figure,) = figures
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert not any(legend.get_window_extent().overlaps(axes.get_window_extent()) for axes in figure.axes)
    assert all(tick == round(tick) for tick in figure.axes[0].get_xticks())
