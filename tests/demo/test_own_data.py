"""Drawn data have the layouts that docs/own_data describes: each is read as what it is, by what trains on it."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from swinv2_dense.cli.main import main
from swinv2_dense.demo.own_data import KINDS
from swinv2_dense.own_data.formats import read

SCOPES = {"boxes": "mmdet", "masks": "mmdet", "maps": "mmseg", "classes": "mmpretrain", "clips": "mmaction"}
CLASSES = {"boxes": 4, "masks": 4, "maps": 7, "classes": 7, "clips": 7}


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_read_as_own_data(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["demo", "--draw", kind, "--quick"]) == 0
    assert f"docs/own_data/{kind}.md" in capsys.readouterr().out
    found = read(Path(f"my_{kind}").absolute(), SCOPES[kind], tmp_path / "work")
    assert len(found.classes) == CLASSES[kind]
    assert found.masks == (kind in ("boxes", "masks", "maps"))
    assert {split: len(samples) > 0 for split, samples in found.splits.items()} == {"train": True, "val": True}
    new = next(tmp_path.glob(f"new_{kind}.*"))
    if kind == "clips":
        assert int(cv2.VideoCapture(str(new)).get(cv2.CAP_PROP_FRAME_COUNT)) == 16
    else:
        assert cv2.imread(str(new)).std() > 10
    before = {path: path.stat().st_mtime_ns for path in Path(f"my_{kind}").rglob("*.*g")}
    assert main(["demo", "--draw", kind, "--quick"]) == 0  # what is there stays
    assert {path: path.stat().st_mtime_ns for path in Path(f"my_{kind}").rglob("*.*g")} == before


def test_a_folder_of_somebody_s_own_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my_boxes").mkdir()
    assert main(["demo", "--draw", "boxes", "--work-dir", str(tmp_path)]) == 1
    assert "is not a generated data set" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["faster_rcnn_swinv2_demo", "mask_rcnn_swinv2_demo"])
def test_the_detectors_that_train_on_them_can_be_built(name: str) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    from swinv2_dense import get_model

    model = get_model(f"demo/{name}", device="cpu")
    assert model.roi_head.with_mask == name.startswith("mask")
    assert model.roi_head.bbox_head.num_classes == 4
