"""What :mod:`swinv2_dense.analysis` writes: tables, a drawing of the confusion matrix, curves, and the worst images."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from swinv2_dense.analysis.confusion import Objects
from swinv2_dense.files import read_text, write_figure, write_image, write_text
from swinv2_dense.inference.results import Result
from swinv2_dense.visualization.captions import write_words

__all__ = ["class_table", "draw_confusion", "draw_curves", "metric_step", "read_scalars", "write_csv", "write_worst"]

NOTHING = "(nothing)"
_WRITTEN_IN = 25  # classes, up to which the numbers are written into the matrix
_NAMED = 150  # classes at most whose names are written beside it; of more, every second, third ...
_LONGEST = 40  # letters of a name there
_TITLE = 20  # pixels: height of the line above them
_GAP = 8  # white pixels between truth and prediction
# What is no curve of training: counters and times.
_NO_CURVES = ("epoch", "iter", "step", "time", "data_time", "memory", "base_lr")


def class_table(matrix: np.ndarray, names: Sequence[str]) -> list[dict[str, Any]]:
    """For each class: how many there are, how many are found, precision, recall, and intersection over union."""
    rows = []
    for index, name in enumerate(names):
        true, claimed, right = matrix[index].sum(), matrix[:, index].sum(), matrix[index, index]
        others = matrix[index].copy()
        others[index] = 0
        worst = int(others.argmax())
        rows.append(
            {
                "class": name,
                "true": int(true),
                "predicted": int(claimed),
                "right": int(right),
                "precision": round(right / claimed, 4) if claimed else None,
                "recall": round(right / true, 4) if true else None,
                "IoU": round(right / (true + claimed - right), 4) if true + claimed else None,
                "mostly taken for": [*names, NOTHING][worst] if others[worst] else "",
            }
        )
    return rows


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def draw_confusion(matrix: np.ndarray, names: Sequence[str], path: Path) -> None:
    """Draw the matrix, every row as shares of the true class."""
    from matplotlib.figure import Figure

    labels = [*names, NOTHING] if matrix[-1].any() or matrix[:, -1].any() else list(names)
    shown = matrix[: len(labels), : len(labels)].astype(float)
    shares = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    side = min(24.0, 3.5 + 0.45 * len(labels))
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.add_subplot()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    named = range(0, len(labels), -(-len(labels) // _NAMED))
    names = [labels[i] if len(labels[i]) <= _LONGEST else f"{labels[i][: _LONGEST - 3]}..." for i in named]
    axes.set(xlabel="predicted", ylabel="true")
    axes.set_xticks(named, names, rotation=90)
    axes.set_yticks(named, names)
    if len(labels) <= _WRITTEN_IN:
        for row, column in np.argwhere(shown > 0):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, f"{shares[row, column]:.2f}", ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(picture, label="share of the true class")
    write_figure(path, figure, dpi=110)


def read_scalars(run: Path) -> list[dict[str, Any]]:
    """What a run logged, in order; a resumed run's later start replaces what it repeats of an earlier one.

    Lines that are cut off, by a process that was killed or a full disk, are left out.
    """
    rows: list[dict[str, Any]] = []
    for path in sorted(run.glob("*/vis_data/scalars.json")):
        new = [row for line in read_text(path).splitlines() if (row := _row(line)) is not None]
        first = next((row["step"] for row in new if "loss" in row), None)
        if first is not None:
            again = (place for place, row in enumerate(rows) if "loss" in row and row["step"] >= first)
            rows = rows[: next(again, len(rows))]
        rows += new
    return rows


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and "step" in row else None


def metric_step(rows: Sequence[dict[str, Any]], place: int) -> int:
    """Where the training was when ``rows[place]`` was logged: metrics are counted by epoch."""
    return next((int(row["step"]) for row in reversed(rows[:place]) if "loss" in row), 0)


def draw_curves(rows: Sequence[dict[str, Any]], path: Path) -> bool:
    """Draw losses and metrics over the steps; False where nothing was logged."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    curves: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for place, row in enumerate(rows):
        for key, value in row.items():
            nothing = "/" in key and value == -1  # COCO's for sizes that no object has
            if key not in _NO_CURVES and isinstance(value, (int, float)) and np.isfinite(value) and not nothing:
                step = row["step"] if "loss" in row else metric_step(rows, place)
                curves[key].append((float(step), float(value)))
    losses = [name for name in curves if name.startswith("loss") or name.endswith("_loss")]
    others = [n for n in curves if n not in losses and ("/" in n or n in ("mIoU", "mAcc", "aAcc"))]
    overall = [name for name in others if "precision" not in name] or others
    parts = [(title, chosen) for title, chosen in (("loss", losses), ("metric", overall)) if chosen]
    if not parts:
        return False
    figure = Figure(figsize=(6 * len(parts), 4.5), layout="constrained")
    for axes, (title, chosen) in zip(np.ravel(figure.subplots(1, len(parts))), parts, strict=True):
        for name in chosen:
            axes.plot(*zip(*curves[name], strict=True), marker="." if len(curves[name]) < 30 else None, label=name)
        axes.set(xlabel="step", title=title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
        axes.legend(fontsize="x-small")
    write_figure(path, figure, dpi=110)
    return True


def write_worst(cases: Iterable[tuple[float, Result, Result]], folder: Path) -> list[Path]:
    """Draw each truth beside its prediction, the worst first: ``01_NAME.jpg`` and so on, in the place of an earlier
    analysis' ones."""
    earlier = [path for path in folder.glob("*.jpg") if re.match(r"\d{2,}_", path.name)]
    written = []
    for number, (_, truth, predicted) in enumerate(cases, start=1):
        true = replace(truth, image=predicted.image, scores=None)
        if isinstance(true, Objects) and predicted.masks is not None:
            true = true.with_masks()
        named = (("truth", true), ("prediction", predicted))
        sheets = [_titled(result.enlarged().plot(), title) for title, result in named]
        height, width = sheets[0].shape[:2]
        axis = int(width <= 3 * height)  # strips of frames one below the other
        gap = np.full((height, _GAP, 3) if axis else (_GAP, width, 3), 255, np.uint8)
        sheet = np.concatenate([sheets[0], gap, sheets[1]], axis)
        path = folder / f"{number:02}_{Path(truth.source).stem}.jpg"
        write_image(path, sheet)
        written.append(path)
    for path in set(earlier) - set(written):
        path.unlink()
    return written


def _titled(image: np.ndarray, title: str) -> np.ndarray:
    """The image with a strip above it for its title, so that nothing is covered."""
    strip = np.full((_TITLE, image.shape[1], 3), 255, np.uint8)
    write_words(strip, title, (0, _TITLE - 1), 0.5)
    return np.concatenate([strip, image])
