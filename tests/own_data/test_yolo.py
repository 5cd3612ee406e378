"""YOLO's boxes and polygons become COCO's, in pixels; exporters write paths in many ways; mistakes name a file."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
from PIL import Image

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.yolo import find_yaml, read_yolo
from tests.own_data.makers import HEIGHT, WIDTH, image, yolo


def test_boxes_are_in_pixels_and_an_image_without_labels_is_empty(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "1 0.5 0.5 0.5 0.25\n\n0 0.1 0.1 0.2 0.2\n", "b": ""})
    image(tmp_path / "images/train/c.png")  # no label file
    found = read_yolo(path)
    assert found.classes == ["cat", "dog"]
    assert not found.masks
    a, b, c = found.splits["train"]
    assert a.size == (HEIGHT, WIDTH)
    assert [o["category"] for o in a.objects] == ["dog", "cat"]
    assert a.objects[0]["bbox"] == pytest.approx([15, 15, 30, 10])
    assert a.objects[0]["area"] == pytest.approx(300)
    assert not b.objects
    assert not c.objects


def test_polygons_are_masks_with_their_box(tmp_path: Path) -> None:
    found = read_yolo(yolo(tmp_path, {"a": "0 0.1 0.1 0.5 0.1 0.5 0.5\n"}))
    assert found.masks
    (o,) = found.splits["train"][0].objects
    assert o["segmentation"][0] == pytest.approx([6, 4, 30, 4, 30, 20])
    assert o["bbox"] == pytest.approx([6, 4, 24, 16])
    assert o["area"] == pytest.approx(192)


def test_an_image_turned_by_exif_is_as_large_as_it_is_decoded(tmp_path: Path) -> None:
    path = yolo(tmp_path, {"a": "0 0.5 0.5 1 1\n"})
    place = tmp_path / "images/train/a.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(place).save(place, exif=exif)
    (sample,) = read_yolo(path).splits["train"]
    assert sample.size == cv2.imread(str(place)).shape[:2] == (WIDTH, HEIGHT)


@pytest.mark.parametrize(
    "text",
    [
        "train: ../train/images\nnames: [cat, dog]",  # Roboflow
        "path: .\ntrain: [train/images]\nnames: {0: cat, 1: dog}",
        "train: list.txt\nnc: 2",
    ],
)
def test_paths_as_exporters_write_them(tmp_path: Path, text: str) -> None:
    image(tmp_path / "train/images/a.jpg")
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a.txt").write_text("1 0.5 0.5 0.5 0.5")
    (tmp_path / "list.txt").write_text("./train/images/a.jpg\n")
    (tmp_path / "data.yaml").write_text(text)
    path = find_yaml(tmp_path)
    assert path is not None
    (sample,) = read_yolo(path).splits["train"]
    assert len(sample.objects) == 1


def test_a_validation_set_is_kept(tmp_path: Path) -> None:
    yolo(tmp_path, {"b": "0 0.5 0.5 0.5 0.5"}, folder="val")
    path = yolo(tmp_path, {"a": "0 0.5 0.5 0.5 0.5"})
    path.write_text(path.read_text() + "val: images/val\n")
    assert [s.path.stem for s in read_yolo(path).splits["val"]] == ["b"]


@pytest.mark.parametrize(
    ("label", "line"),
    [
        ("2 0.5 0.5 0.1 0.1", "class 2 is none of the 2"),
        ("0 30 20 10 10", "relative to the image"),
        ("0 0.5 0.5 0.1", "3 coordinates"),
        ("cat 0.5 0.5 0.1 0.1", "no class index"),
    ],
)
def test_a_wrong_label_names_file_and_line(tmp_path: Path, label: str, line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        read_yolo(yolo(tmp_path, {"a": f"0 0.5 0.5 0.5 0.5\n{label}\n"}))
    assert "a.txt, line 2" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("train: images/train\nnames: []", "names no classes"),
        ("train: nowhere\nnames: [cat]", "nowhere does not exist"),
        ("names: [cat]", "names no images"),
        ("train: [", "no valid YAML"),
    ],
)
def test_a_wrong_yaml_is_named(tmp_path: Path, text: str, line: str) -> None:
    path = yolo(tmp_path, {"a": ""})
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        read_yolo(path)
