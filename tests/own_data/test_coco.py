"""COCO files alone and in folders with splits: images are found beside them, classes without objects left out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools import mask as run_lengths

from swinv2_dense.errors import UserError
from swinv2_dense.own_data.coco import find_jsons, read_coco
from swinv2_dense.own_data.formats import read
from swinv2_dense.own_data.layout import write_dataset
from tests.own_data.makers import HEIGHT, WIDTH, coco, image


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
    ("names", "chosen"),
    [
        (
            ["Train/_annotations.coco", "Valid/_annotations.coco"],
            ["Train/_annotations.coco", "Valid/_annotations.coco"],
        ),
        (["instances_Train2014", "captions_train2014"], ["instances_Train2014", None]),
        (["train", "val", "test"], ["train", "val"]),
        (["train", "trainval", "testing"], ["train", "testing"]),
        (["train_val", "test"], ["train_val", "test"]),
        (["Annotations/train", "Annotations/val"], ["Annotations/train", "Annotations/val"]),
        (["data"], ["data", None]),
    ],
)
@pytest.mark.parametrize("folder", ["data", "train", "test"])
def test_a_split_is_known_by_name(tmp_path: Path, names: list[str], chosen: list[str | None], folder: str) -> None:
    for name in names:
        coco(tmp_path / folder / f"{name}.json", {"a.jpg": ["dog"]})
    found = find_jsons(tmp_path / folder)
    wanted = {k: f"{name}.json" for k, name in zip(("train", "val"), chosen, strict=True) if name}
    assert {k: path.relative_to(tmp_path / folder).as_posix() for k, path in found.items()} == wanted


@pytest.mark.parametrize(
    "names", [["train_part1", "train_part2"], ["train1", "train2"], ["val", "valid", "train"], ["train", "training"]]
)
def test_several_files_of_a_split_are_refused(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        coco(tmp_path / "annotations" / f"{name}.json", {"a.jpg": ["dog"]})
    with pytest.raises(UserError, match=rf"2 COCO files of .*: annotations/{names[0]}\.json, annotations/{names[1]}"):
        find_jsons(tmp_path)


def test_a_byte_order_mark_hides_no_file(tmp_path: Path) -> None:
    coco(tmp_path / "train.json", {"a.jpg": ["dog"]})
    val = coco(tmp_path / "val.json", {"b.jpg": ["dog"]})
    text = val.read_text()
    val.write_text(text, encoding="utf-8-sig")
    assert [sample.path.name for sample in read_coco(find_jsons(tmp_path)).splits["val"]] == ["b.jpg"]
    val.write_text(text, encoding="utf-16")
    with pytest.raises(UserError, match=r"val\.json is UTF-16"):
        read_coco(find_jsons(tmp_path))


@pytest.mark.parametrize("own", ["val", "images/val", "Val"])
@pytest.mark.parametrize("other", ["images", "data", ""])
def test_images_of_the_splits_own_folder_come_first(tmp_path: Path, own: str, other: str) -> None:
    path = coco(tmp_path / "annotations/instances_val.json", {"a.jpg": ["dog"], "b.jpg": []}, folder=f"../{own}")
    for name in ("a.jpg", "b.jpg"):
        image(tmp_path / other / name)
    assert {s.path.resolve().parent for s in read_coco({"train": path}).splits["train"]} == {tmp_path / own}
    (tmp_path / own / "b.jpg").unlink()  # a folder that holds all comes before one that holds some
    assert {s.path.resolve().parent for s in read_coco({"train": path}).splits["train"]} == {tmp_path / other}


def test_names_that_lead_out_of_the_folder(tmp_path: Path) -> None:
    path = coco(tmp_path / "ann/a.json", {"1.jpg": ["dog"], "../pics/2.jpg": ["dog"]})
    found = read(path, "mmdet", tmp_path / "out")
    for split in ("train", "val"):
        entries = write_dataset(found, "mmdet", split, tmp_path / "out")
        (written,) = json.loads(Path(entries["ann_file"]).read_text())["images"]
        assert ".." not in written["file_name"]
        assert Path(entries["data_root"], written["file_name"]).is_file()


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("key", ["ignore", "iscrowd"])
@pytest.mark.parametrize("value", [1, True])
def test_ignored_objects_are_crowds(tmp_path: Path, key: str, value: object) -> None:
    path = coco(tmp_path / "a.json", {"a.jpg": ["dog", "dog"]})
    found = read_coco({"train": changed(path, lambda c: c["annotations"][0].update({key: value}))})
    first, second = found.splits["train"][0].objects
    assert (first["iscrowd"], second["iscrowd"]) == (1, 0)
    assert run_lengths.area(first["segmentation"]) == 400
    assert json.dumps(first)
    assert isinstance(second["segmentation"], list)
    assert found.masks
    assert any("ignore" in note and note.endswith(": 1") for note in found.notes) == (key == "ignore")


def test_what_is_empty_or_of_another_kind_but_clear_is_read(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["images"][0].update(height=float(HEIGHT), width=None)
        content["annotations"][0].update(segmentation=[[]], iscrowd=False, ignore=None, area=None)
        content["categories"][0].update(name=" dog ")

    found = read_coco({"train": changed(coco(tmp_path / "a.json", {"a.jpg": ["dog"]}), change)})
    (sample,) = found.splits["train"]
    assert found.classes == ["dog"]
    assert sample.size == (HEIGHT, WIDTH)
    assert sample.objects == [{"category": "dog", "bbox": [10, 10, 20, 20], "area": 400, "iscrowd": 0}]
    assert not found.masks


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
        (lambda c: c["categories"].append({"id": 50, "name": "dog "}), "two categories called 'dog'"),
        (lambda c: c["categories"].append({"id": 7, "name": "cow"}), "id 7 is there twice in 'categories'"),
        (lambda c: c["images"].append({**c["images"][0], "file_name": "b.jpg"}), "id 1 is there twice in 'images'"),
        (lambda c: c["images"][0].pop("id"), "id None in 'images'"),
        (lambda c: c["categories"][0].update(id=[7]), r"id \[7\] in 'categories'"),
        (lambda c: c["categories"][0].pop("name"), "category 7 has name None"),
        (lambda c: c["categories"][0].update(name=""), "category 7 has name ''"),
        (lambda c: c["categories"].append("cow"), "'categories' holds 'cow'"),
        (lambda c: c["annotations"].append(None), "'annotations' holds None"),
        (lambda c: c["images"].append("b.jpg"), "'images' holds 'b.jpg'"),
        (lambda c: c["images"][0].update(file_name=None), "image 1 has file_name None"),
        (lambda c: c["images"][0].update(height="40", width="60"), "image 1 has height '40'"),
        (lambda c: c["images"][0].update(height=-40), "image 1 has height -40"),
        (lambda c: c["annotations"][0].pop("image_id"), "annotation 1 has image_id None"),
        (lambda c: c["annotations"][0].update(image_id=[1]), r"annotation 1 has image_id \[1\]"),
        (lambda c: c["annotations"][0].update(category_id={}), "annotation 1 has category_id {}"),
        (lambda c: c["annotations"][0].update(category_id="7"), "annotation 1 has category_id '7'"),
        (lambda c: c["annotations"][0].update(bbox=["1", "1", "9", "9"]), "annotation 1 has no bbox of four numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 1, None, None]), "annotation 1 has no bbox of four numbers"),
        (lambda c: c["annotations"][0].update(bbox=[1, 1, 9, float("nan")]), "annotation 1 has no bbox of four"),
        (lambda c: c["annotations"][0].update(area="400"), "annotation 1 has area '400'"),
        (lambda c: c["annotations"][0].update(iscrowd="false"), "annotation 1 has iscrowd 'false'"),
        (lambda c: c["annotations"][0].update(ignore=[1]), r"annotation 1 has ignore \[1\]"),
        (lambda c: c["annotations"][0].update(segmentation="x"), "annotation 1 has a segmentation that is neither"),
        (lambda c: c["annotations"][0].update(iscrowd=1, segmentation=[[1, 2]]), "annotation 1 has a broken polygon"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path: Path, change: Callable[[dict[str, Any]], object], line: str) -> None:
    path = changed(coco(tmp_path / "a.json", {"a.jpg": ["dog"]}), change)
    image(tmp_path / "b.jpg")
    with pytest.raises(UserError, match=rf"a\.json.*{line}|{line}.*a\.json"):
        read_coco({"train": path})
