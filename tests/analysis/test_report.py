"""Tables, curves and drawings say what the counts say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.analysis.confusion import Objects
from swinv2_dense.analysis.report import (
    class_table,
    draw_confusion,
    draw_curves,
    metric_step,
    read_scalars,
    write_csv,
    write_worst,
)
from swinv2_dense.inference.results import Classification, Detections

MATRIX = np.array([[6, 2, 1], [0, 3, 0], [1, 0, 0]])


def test_table(tmp_path: Path) -> None:
    cat, dog = class_table(MATRIX, ["cat", "dog"])
    assert (cat["true"], cat["predicted"], cat["right"], cat["mostly taken for"]) == (9, 7, 6, "dog")
    assert (cat["precision"], cat["recall"], cat["IoU"]) == (round(6 / 7, 4), round(6 / 9, 4), 0.6)
    assert dog["mostly taken for"] == ""
    (none,) = class_table(np.zeros((2, 2), int), ["never"])
    assert (none["precision"], none["recall"], none["IoU"]) == (None, None, None)
    write_csv(tmp_path / "a.csv", [cat, dog])
    with (tmp_path / "a.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == ["cat", "dog"]


def test_drawings(tmp_path: Path) -> None:
    draw_confusion(MATRIX, ["cat", "dog"], tmp_path / "confusion.png")
    assert cv2.imread(str(tmp_path / "confusion.png")).std() > 1
    truth = Classification(np.zeros((0, 0, 3), np.uint8), "x/photo.jpg", labels=np.array([0]), scores=np.ones(1))
    predicted = Classification.of(np.array([0.2, 0.8]), image=np.full((50, 70, 3), 99, np.uint8))
    (path,) = write_worst([(0.8, truth, predicted)], tmp_path)
    assert path.name == "01_photo.jpg"
    sheet = cv2.imread(str(path))
    height, width = 4 * 50, 2 * 4 * 70 + 8  # enlarged, so that the names fit, with a line above for the titles
    assert sheet.shape == (20 + height, width, 3)
    assert (np.abs(sheet[180:, :280].astype(int) - 99) < 8).all()  # nothing covers the lower part of the image


def test_truth_has_no_score(tmp_path: Path) -> None:
    image = np.full((200, 240, 3), 99, np.uint8)
    predicted = Classification.of(np.array([1.0]), image=image, classes=("cat",))
    truth = Classification(image, "x/a.jpg", classes=("cat",), labels=np.array([0]), scores=np.ones(1))
    (path,) = write_worst([(0.8, truth, predicted)], tmp_path)
    sheet = cv2.imread(str(path))
    plates = [(np.abs(part[20:60].astype(int) - 99) > 30).any(axis=(0, 2)).sum() for part in np.split(sheet, [244], 1)]
    assert plates[0] < plates[1] - 10  # "cat" is shorter than "cat 1.00"


@pytest.mark.parametrize("masks", [True, False])
def test_truth_is_drawn_as_predictions_are(tmp_path: Path, masks: bool) -> None:
    """With masks where there are some in the prediction, else with boxes alone."""
    pytest.importorskip("mmdet", reason="needs the det extra")
    image, box = np.full((200, 240, 3), 99, np.uint8), np.array([[40.0, 40, 200, 160]])
    found = np.zeros((1, 200, 240), bool) if masks else None
    predicted = Detections(image, labels=np.array([0]), scores=np.ones(1), boxes=box, masks=found, classes=("cat",))
    outline = [[40, 40, 200, 40, 200, 160, 40, 160]]
    truth = Objects(image, "x/a.jpg", labels=np.array([0]), boxes=box, segmentations=[outline], classes=("cat",))
    (path,) = write_worst([(0.8, truth, predicted)], tmp_path)
    inside = cv2.imread(str(path))[20 + 100 : 20 + 150, 60:180].astype(int)
    assert ((np.abs(inside - 99) > 20).any(axis=2).mean() > 0.9) == masks


def test_strips_of_frames_lie_one_below_the_other(tmp_path: Path) -> None:
    clip = Classification.of(np.array([0.2, 0.8]), image=np.full((8, 200, 220, 3), 99, np.uint8), source="a.mp4")
    (path,) = write_worst([(0.8, clip, clip)], tmp_path)
    assert cv2.imread(str(path)).shape == (2 * 220 + 8, 8 * 220, 3)


@pytest.mark.parametrize(("count", "named"), [(3, 3), (150, 150), (151, 76), (1000, 143)])
def test_names_beside_the_matrix_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, named: int
) -> None:
    figures = []
    monkeypatch.setattr("swinv2_dense.analysis.report.write_figure", lambda path, figure, dpi: figures.append(figure))
    draw_confusion(np.pad(np.eye(count), (0, 1)), [f"class {i} " + "x" * 60 for i in range(count)], tmp_path / "a.png")
    axes = figures[0].axes[0]
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert len(labels) == len(axes.get_xticklabels()) == named
    assert max(map(len, labels)) == 40
    assert labels[1].startswith(f"class {axes.get_yticks()[1]} ")


def test_the_worst_of_an_earlier_analysis_do_not_stay(tmp_path: Path) -> None:
    truth = Classification(np.zeros((0, 0, 3), np.uint8), "x/a.jpg", labels=np.array([0]), scores=np.ones(1))
    predicted = Classification.of(np.array([0.2, 0.8]), image=np.full((50, 70, 3), 99, np.uint8))
    assert len(write_worst([(0.8, truth, predicted)] * 3, tmp_path)) == 3
    (tmp_path / "mine.jpg").write_text("not ours")
    write_worst([(0.8, truth, predicted)], tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["01_a.jpg", "mine.jpg"]


@pytest.mark.parametrize("rest", ['{"loss": 2.0, "st', "{}", "[1]", "", "\0\0"])
def test_lines_of_a_killed_run(tmp_path: Path, rest: str) -> None:
    log(tmp_path, "1", [{"loss": 3.0, "step": 10}])
    with (tmp_path / "1" / "vis_data" / "scalars.json").open("a") as file:
        file.write(rest)
    assert read_scalars(tmp_path) == [{"loss": 3.0, "step": 10}]


def log(run: Path, start: str, rows: list[dict[str, float]]) -> None:
    place = run / start / "vis_data"
    place.mkdir(parents=True)
    (place / "scalars.json").write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_scalars_of_a_resumed_run(tmp_path: Path) -> None:
    first, second, third = ({"coco/bbox_mAP": score, "step": epoch} for epoch, score in ((1, 0.1), (2, 0.2), (2, 0.3)))
    log(tmp_path, "1", [{"loss": 3.0, "step": 10}, first, {"loss": 2.0, "step": 20}, second])
    log(tmp_path, "2", [{"loss": 1.5, "step": 20}, third, {"loss": 1.0, "step": 30}])
    rows = read_scalars(tmp_path)
    assert [row["loss"] for row in rows if "loss" in row] == [3.0, 1.5, 1.0]
    assert [row["coco/bbox_mAP"] for row in rows if "loss" not in row] == [0.1, 0.3]
    assert [metric_step(rows, place) for place, row in enumerate(rows) if "loss" not in row] == [10, 20]
    assert draw_curves(rows, tmp_path / "curves.png")
    assert cv2.imread(str(tmp_path / "curves.png")).std() > 1
    assert not draw_curves([], tmp_path / "none.png")
