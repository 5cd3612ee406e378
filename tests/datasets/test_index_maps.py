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
        ({"ori_shape": (4, 2)}, 7, "its image has 2 x 4"),
        ({"labels": np.zeros((2, 4, 3), np.uint8)}, 7, "image in colours"),
        ({"reduce_zero_label": False}, 7, "holds the value 7, but with 7 classes a map has 0 to 6"),
        ({"label_map": {0: 1, 1: 0}}, 7, "num_classes=7, but the data set's type has 2 classes"),
        ({}, 256, "num_classes=256 is more than 255"),
    ],
)
def test_it_refuses(tmp_path: Path, more: dict[str, Any], classes: int, told: str) -> None:
    given = results(tmp_path / "map.png", **more)
    with pytest.raises(UserError, match=told):
        LoadIndexMap(num_classes=classes)(given)


@pytest.mark.parametrize("label_map", [None, {0: 255, 1: 0, 2: 255, 3: 1, 4: 2, 5: 255, 6: 255, 7: 3}])
def test_it_agrees_with_mmseg_where_0_is_a_class(tmp_path: Path, label_map: dict[int, int] | None) -> None:
    given = {"reduce_zero_label": False, "label_map": label_map}
    ours = LoadIndexMap(num_classes=8)(results(tmp_path / "map.png", **given))
    theirs = loading.LoadAnnotations()(results(tmp_path / "map.png", **given))
    assert np.array_equal(ours["gt_seg_map"], theirs["gt_seg_map"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("reduce", [False, True])
def test_values_that_mean_ignored(tmp_path: Path, reduce: bool, dtype: type) -> None:
    value = 255 if dtype is np.uint8 else 65535
    stored = np.array([[0, 1, 2, value]], dtype)
    given = results(tmp_path / "map.png", stored, reduce_zero_label=reduce)
    found = LoadIndexMap(num_classes=3, ignored=(value,))(given)["gt_seg_map"]
    assert found.dtype == np.uint8
    assert found.tolist() == [[255, 0, 1, 255] if reduce else [0, 1, 2, 255]]
    with pytest.raises(UserError, match="ignored=2 is one of the 3 classes"):
        LoadIndexMap(num_classes=3, ignored=(2,))


def test_255_classes_fit(tmp_path: Path) -> None:
    stored = np.arange(256, dtype=np.uint16).reshape(16, 16)
    found = LoadIndexMap(num_classes=255)(results(tmp_path / "map.png", stored))["gt_seg_map"]
    assert found.ravel().tolist() == [255, *range(255)]


def test_samples_without_maps_pass_unchanged() -> None:
    given = {"img": np.zeros((2, 2, 3))}
    assert LoadIndexMap(num_classes=3)(given) is given
