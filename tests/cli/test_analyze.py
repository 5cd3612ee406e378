"""swinv2 analyze, from a run to its table and images, on a tiny HTC."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.tiny import mistake, tool


def test_from_a_run_to_its_worst_images(
    config: Path, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    tool("train").main([str(config), "--work-dir", str(run)])
    tool("analyze").main([str(run), "--score", "0", "--worst", "1"])
    assert "mostly taken for" in capsys.readouterr().out
    out = run / "analysis"
    names = {path.name for path in out.iterdir()}
    assert names >= {"classes.csv", "confusion.csv", "confusion.png", "scalars.csv", "curves.png", "worst"}
    assert len(list((out / "worst").iterdir())) == 1
    with (out / "classes.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == ["circle", "triangle", "square", "star"]
    assert sum(int(row["true"]) for row in rows) > 0

    other = tmp_path / "other"
    other.mkdir()
    line = mistake("analyze", [str(other), "--checkpoint", str(run / "epoch_1.pth")], capsys)
    assert f"is of another run, and curves would be of this one: analyze {run}" in line
    annotations = coco / "annotations" / "instances_val2017.json"
    content = json.loads(annotations.read_text())
    content["categories"].reverse()  # labels follow the file, names the config
    annotations.write_text(json.dumps(content))
    assert "has its categories in another order" in mistake("analyze", [str(run)], capsys)


def test_no_run_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "holds no checkpoint" in mistake("analyze", [str(tmp_path)], capsys)
    assert "is no folder" in mistake("analyze", [str(tmp_path / "nowhere")], capsys)


@pytest.mark.parametrize("iou", ["0", "-1", "50", "nan"])
def test_an_overlap_that_is_none(iou: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With it every object would count as missed, or none."""
    assert "give a number above 0, to 1" in mistake("analyze", [str(tmp_path), "--iou", iou], capsys)
