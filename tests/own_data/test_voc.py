"""Pascal VOC's boxes, counted from 1 with both ends, become COCO's; its lists split; every mistake names a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.voc import read_voc
from tests.own_data.makers import voc, voc_object


def test_boxes_and_difficult_objects(tmp_path: Path) -> None:
    objects = voc_object("dog", (1, 1, 60, 40)) + voc_object("cat", (11, 6, 20, 15), difficult=1)
    found = read_voc(voc(tmp_path, {"a": objects}))
    assert found.classes == ["cat", "dog"]
    dog, cat = found.splits["train"][0].objects
    assert (dog["bbox"], dog["iscrowd"]) == ([0, 0, 60, 40], 0)  # the whole image
    assert (cat["bbox"], cat["iscrowd"]) == ([10, 5, 10, 10], 1)


def test_lists_split(tmp_path: Path) -> None:
    voc(tmp_path, {name: voc_object("dog", (2, 2, 9, 9)) for name in "abc"})
    lists = tmp_path / "ImageSets/Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n")
    splits = read_voc(tmp_path).splits
    assert {k: [s.path.stem for s in v] for k, v in splits.items()} == {"train": ["a", "c"], "val": ["b"]}
    (lists / "val.txt").write_text("z\n")
    with pytest.raises(UserError, match="z of the val list"):
        read_voc(tmp_path)


def test_xml_beside_images_in_folders_of_splits(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        voc(tmp_path / split, {split: voc_object("dog", (2, 2, 9, 9))}, places=("", ""))
    splits = read_voc(tmp_path).splits
    assert {k: [s.path.stem for s in v] for k, v in splits.items()} == {"train": ["train"], "val": ["valid"]}


@pytest.mark.parametrize(
    ("objects", "line"),
    [
        (voc_object("", (1, 1, 9, 9)), "without a name"),
        (voc_object("dog", (9, 9, 5, 5)), "no extent"),
        ("<object><name>dog</name></object>", "no bndbox"),
        ("<object>", "no valid XML"),
    ],
)
def test_a_wrong_object_names_its_file(tmp_path: Path, objects: str, line: str) -> None:
    with pytest.raises(UserError, match=line) as raised:
        read_voc(voc(tmp_path, {"a": objects}))
    assert "a.xml" in str(raised.value)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    voc(tmp_path, {"a": ""})
    (tmp_path / "JPEGImages/a.jpg").unlink()
    with pytest.raises(UserError, match=r"no image a\.jpg"):
        read_voc(tmp_path)
