"""Results as JSON lines: COCO's result format, which pycocotools reads back; index maps; labels and scores."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from swinv2_dense.inference.results import Classification, Detections, Reconstruction, SegmentationMap

IMAGE = np.full((20, 30, 3), 128, np.uint8)


def detections(classes: tuple[str, ...], source: str = "coco/000000000139.jpg") -> Detections:
    mask = np.zeros((1, 20, 30), bool)
    mask[0, 2:10, 3:9] = True
    box = np.array([[3.0, 2.0, 9.0, 10.0]], np.float32)
    return Detections(IMAGE, source, None, classes, (), np.array([1]), np.array([0.75], np.float32), box, mask)


def test_coco_s_result_format() -> None:
    (entry,) = map(json.loads, detections(("cat", "dog")).to_json().splitlines())
    segmentation = entry.pop("segmentation")
    assert entry == {
        "image_id": 139,
        "file_name": "coco/000000000139.jpg",
        "category_id": 2,
        "category": "dog",
        "bbox": [3.0, 2.0, 6.0, 8.0],
        "score": 0.75,
    }
    coder = pytest.importorskip("pycocotools.mask", reason="needs the det extra")
    assert coder.area(segmentation) == 48
    assert detections((), "street.jpg").to_dicts()[0]["image_id"] == "street.jpg"


def test_coco_s_own_category_ids() -> None:
    coco = pytest.importorskip("mmdet.datasets", reason="needs the det extra").CocoDataset.METAINFO["classes"]
    result = detections(coco)
    result.labels = np.array([79])
    (entry,) = result.to_dicts()
    assert (entry["category"], entry["category_id"]) == ("toothbrush", 90)
    result.labels = np.array([11])
    assert result.to_dicts()[0]["category_id"] == 13  # stop sign: 12 is not used


def test_those_above_a_score() -> None:
    result = detections(("cat", "dog"))
    assert result.above(0.75).to_dicts() == result.to_dicts()
    none = result.above(0.76)
    assert (len(none), none.summary(), none.to_dicts()) == (0, "nothing", [])
    assert none.masks is not None
    assert none.masks.shape == (0, *IMAGE.shape[:2])
    assert len(result) == 1


def test_smaller_drawings_show_the_same(tmp_path: Path) -> None:
    height, width = IMAGE.shape[:2]
    result = detections(("cat", "dog"))
    half = result.shrunk(max(height, width) // 2)
    assert half.image.shape == (height // 2, width // 2, 3)
    assert half.boxes is not None
    assert half.boxes.tolist() == [[1.5, 1.0, 4.5, 5.0]]
    assert half.masks is not None
    assert half.masks.shape == (1, height // 2, width // 2)
    assert half.masks.sum() == 12  # a quarter of 48
    assert (half.names, result.shrunk(max(height, width))) == (result.names, result)
    assert result.above(1).shrunk(8).masks.shape[0] == 0
    segmented = SegmentationMap.of(np.arange(height * width).reshape(height, width) % 300, image=IMAGE).shrunk(8)
    assert segmented.map.shape == segmented.masks.shape[1:] == segmented.image.shape[:2]
    sheet = np.concatenate([IMAGE] * 3, axis=1)
    assert Reconstruction.of(sheet).shrunk(8).plot().shape[1] == 3 * Reconstruction.of(sheet).shrunk(8).image.shape[1]


def test_drawings(tmp_path: Path) -> None:
    pytest.importorskip("mmdet", reason="needs the det extra")
    result = detections(("cat", "dog"))
    before = result.image.copy()
    drawn = result.plot()
    assert drawn.shape == IMAGE.shape
    assert (drawn != IMAGE).any()
    assert np.array_equal(result.image, before)
    result.save(tmp_path / "new" / "drawn.png")
    assert cv2.imread(str(tmp_path / "new" / "drawn.png")).shape == IMAGE.shape
    assert result.summary() == "1 dog"
    empty = Detections(IMAGE, boxes=np.zeros((0, 4)), scores=np.zeros(0))
    assert (empty.summary(), empty.to_json()) == ("nothing", "")
    assert np.array_equal(empty.plot(), IMAGE)


def test_class_maps() -> None:
    indices = np.zeros((20, 30), np.int64)
    indices[:, 20:] = 2
    result = SegmentationMap.of(indices, image=IMAGE, source="a.png", classes=("sky", "sea", "road"))
    assert result.names == ["sky", "road"]
    assert result.masks is not None
    assert result.masks[1].sum() == 200
    assert json.loads(result.to_json())["classes"] == {"sky": 0.66667, "road": 0.33333}
    only = SegmentationMap.of(indices, [2], image=IMAGE, classes=("sky", "sea", "road"))
    assert only.names == ["road"]
    pytest.importorskip("mmseg", reason="needs the seg extra")
    drawn, large = only.plot(), IMAGE.repeat(10, axis=0).repeat(10, axis=1)  # from 20 pixels to 200, for the legend
    assert drawn.shape == large.shape
    assert np.array_equal(drawn[30:, :200], large[30:, :200])  # what is not listed is left as it is
    assert (drawn[30:, 200:] != large[30:, 200:]).any(axis=2).all()
    assert not np.array_equal(drawn[:10, :100], large[:10, :100])  # the legend


def test_many_classes_fit_the_map() -> None:
    assert SegmentationMap.of(np.array([[0, 300]]), image=IMAGE).map.dtype == np.uint16


def test_labels_and_scores() -> None:
    probabilities = np.array([0.1, 0.6, 0.3], np.float32)
    result = Classification.of(probabilities, top=2, image=IMAGE, source="x.jpg", classes=("a", "b", "c"))
    entry = json.loads(result.to_json())
    assert (entry["label"], entry["name"], entry["score"]) == (1, "b", 0.6)
    assert [kind["name"] for kind in entry["top"]] == ["b", "c"]
    assert result.summary() == "b 0.60, c 0.30"
    clip = Classification.of(probabilities, image=np.zeros((12, 20, 30, 3), np.uint8))
    assert clip.plot().shape == (8 * 20, 8 * 8 * 30, 3)  # as large as 2000 pixels of width allow
    assert clip.names[0] == "class 1"


def test_drawing_leaves_the_image_as_it_is() -> None:
    image = np.full((60, 80, 3), 90, np.uint8)
    result = Classification.of(np.array([0.7, 0.3]), image=image)
    drawn = result.plot()
    assert drawn.shape == (4 * 60, 4 * 80, 3)  # so large that the names fit
    assert (drawn != 90).any()
    assert (image == 90).all()


def test_enlarged() -> None:
    large = detections(("cat", "dog")).enlarged()
    times = large.image.shape[0] // IMAGE.shape[0]
    assert min(large.image.shape[:2]) >= 200
    assert large.boxes is not None
    assert large.boxes.tolist() == (detections(("cat", "dog")).boxes * times).tolist()
    assert large.enlarged() is large
    line = Classification.of(np.ones(1), image=np.zeros((1, 1500, 3), np.uint8))
    assert line.enlarged() is line  # a thousand times as large would not fit the memory


@pytest.mark.parametrize(("share", "shown"), [(0.004, "<1%"), (0.2, "20%"), (0.0099, "<1%"), (0.01, "1%")])
def test_small_shares_are_not_none(share: float, shown: str) -> None:
    result = SegmentationMap(IMAGE, classes=("sky",), labels=np.array([0]), scores=np.array([share]))
    assert result.summary() == f"sky {shown}"
