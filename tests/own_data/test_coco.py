"""COCO files alone and in folders with splits: images are found beside them, classes without objects left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.coco import find_jsons, read_coco
from tests.own_data.makers import coco


@pytest.mark.parametrize("folder", ["", "images", "../images", "../train"])
def test_images_are_found_beside_the_file(tmp_path: Path, folder: str) -> None:
    path = coco(tmp_path / "annotations/instances_train.json", {"a.jpg": ["dog"], "b.jpg": []}, folder=folder)
    found = read_coco({"train": path})
    assert found.classes == ["dog"]
    assert "never" in found.notes[0]
    assert found.masks
    assert [len(sample.objects) for sample in found.splits["train"]] == [1, 0]


def test_images_elsewhere_are_named(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", {"a.jpg": ["dog"]}, folder="far/away", masks=False)
    with pytest.raises(UserError, match="--images"):
        read_coco({"train": path})
    found = read_coco({"train": path}, tmp_path / "far/away")
    assert found.root == tmp_path / "far/away"
    assert not found.masks


def test_splits_of_a_folder(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        coco(tmp_path / split / "_annotations.coco.json", {f"{split}.jpg": ["dog"]})
    found = read_coco(find_jsons(tmp_path))
    assert {k: [s.path.name for s in v] for k, v in found.splits.items()} == {
        "train": ["train.jpg"],
        "val": ["valid.jpg"],
    }
    other = tmp_path / "other"
    for name in ("instances_train2017", "person_keypoints_train2017", "instances_val2017"):
        coco(other / "annotations" / f"{name}.json", {"a.jpg": ["dog"]})
    assert {k: p.stem for k, p in find_jsons(other).items()} == {
        "train": "instances_train2017",
        "val": "instances_val2017",
    }


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c["annotations"][0].update(category_id=99), "category_id 99"),
        (lambda c: c["annotations"][0].update(image_id=99), "image_id 99"),
        (lambda c: c["annotations"][0].pop("bbox"), "no bbox"),
        (lambda c: c["images"].append({"id": 5, "file_name": "z.jpg"}), "z.jpg does not exist"),
        (lambda c: c["images"].clear(), "lists no images"),
        (lambda c: c["categories"].append({"id": 50, "name": "dog"}), "two categories called 'dog'"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: object, line: str) -> None:
    path = coco(tmp_path / "a.json", {"a.jpg": ["dog"]})
    content = json.loads(path.read_text())
    assert callable(change)
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=line):
        read_coco({"train": path})
