"""LoadIndexMap reads what mmseg's LoadAnnotations reads, and refuses what that would take in silence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from swinv2_dense.errors import UserError

loading = pytest.importorskip("mmseg.datasets.transforms.loading", reason="segmentation needs the seg extra")
from swinv2_dense.datasets.index_maps import LoadIndexMap

LABELS = np.arange(8, dtype=np.uint8).reshape(2, 4)


def results(path: Path, labels: np.ndarray = LABELS, **more: Any) -> dict[str, Any]:
    cv2.imwrite(str(path), labels)
    known = {"seg_map_path": str(path), "seg_fields": [], "reduce_zero_label": True, "label_map": None}
    return {**known, "ori_shape": labels.shape[:2], **more}


@pytest.mark.parametrize("label_map", [None, {0: 255, 1: 0, 2: 255, 3: 1, 4: 2, 5: 255, 6: 255}])
def test_it_agrees_with_mmseg(tmp_path: Path, label_map: dict[int, int] | None) -> None:
    ours = LoadIndexMap(num_classes=7)(results(tmp_path / "map.png", label_map=label_map))
    theirs = loading.LoadAnnotations()(results(tmp_path / "map.png", label_map=label_map))
    assert ours["gt_seg_map"].dtype == theirs["gt_seg_map"].dtype
    assert np.array_equal(ours["gt_seg_map"], theirs["gt_seg_map"])
    assert ours["seg_fields"] == theirs["seg_fields"]
    assert ours["gt_seg_map"][0, 0] == 255


@pytest.mark.parametrize(
    ("more", "classes", "told"),
    [
        ({}, 6, "holds the value 7"),
        ({"ori_shape": (4, 2)}, 7, "its picture has 2 x 4"),
        ({"labels": np.zeros((2, 4, 3), np.uint8)}, 7, "picture in colours"),
        ({"reduce_zero_label": False}, 7, "reduce_zero_label=True"),
    ],
)
def test_it_refuses(tmp_path: Path, more: dict[str, Any], classes: int, told: str) -> None:
    given = results(tmp_path / "map.png", **more)
    with pytest.raises(UserError, match=told):
        LoadIndexMap(num_classes=classes)(given)
