"""Objects365's paths as they are on disk, and semantic maps from instances."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("pycocotools", reason="comes with the det extra")

from pycocotools.coco import COCO

from swinv2_dense.checks.coco import check_coco
from swinv2_dense.cli.prepare.coco_convert import convert_objects365, order_categories, write_semantic_maps
from swinv2_dense.demo.shapes import CLASSES
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError

PUBLISHED = [
    "images/v1/patch8/objects365_v1_00420917.jpg",
    "images/v2/patch16/objects365_v2_00900001.jpg",
    "images/v2/patch16/objects365_v2_00908726.jpg",  # in no archive
]


@pytest.fixture
def annotations(tmp_path: Path) -> Path:
    content: dict[str, Any] = {
        "images": [{"id": i, "file_name": name, "height": 4, "width": 4} for i, name in enumerate(PUBLISHED)],
        "annotations": [{"id": 10 * i + k, "image_id": i, "category_id": 1} for i in range(3) for k in range(2)],
        "categories": [{"id": 1, "name": "Person"}],
        "licenses": ["kept"],
    }
    path = tmp_path / "zhiyuan_objv2_val.json"
    path.write_text(json.dumps(content))
    return path


def unpack(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("layout", ["{patch}/{name}", "images/v/{patch}/{name}", "{name}"])
def test_paths_are_those_on_disk_in_any_layout(annotations: Path, tmp_path: Path, layout: str) -> None:
    expected = [layout.format(patch=Path(name).parent.name, name=Path(name).name) for name in PUBLISHED[:2]]
    images, out = unpack(tmp_path / "train", *expected), tmp_path / "out.json"
    before, seen = annotations.read_bytes(), []
    missing = convert_objects365(annotations, images, out, progress=lambda *state: seen.append(state))
    content = json.loads(out.read_text())
    assert [image["file_name"] for image in content["images"]] == expected
    assert all((images / image["file_name"]).is_file() for image in content["images"])
    assert missing == PUBLISHED[2:]
    assert [annotation["id"] for annotation in content["annotations"]] == [0, 1, 10, 11]
    assert content["licenses"] == ["kept"]
    assert annotations.read_bytes() == before
    assert seen[-1] == ("images", 3, 3)


def test_missing_images_are_refused_or_left_out(annotations: Path, tmp_path: Path) -> None:
    images, out = unpack(tmp_path / "train", "patch8/objects365_v1_00420917.jpg"), tmp_path / "out.json"
    with pytest.raises(UserError, match=r"lacks 1 of 3 images, the first is images/v2/patch16/objects365_v2_00900001"):
        convert_objects365(annotations, images, out)
    assert not out.exists()
    assert convert_objects365(annotations, images, out, drop_missing=True) == PUBLISHED[1:]
    assert {annotation["image_id"] for annotation in json.loads(out.read_text())["annotations"]} == {0}


def test_images_in_linked_folders_are_found_and_none_at_all_is_refused(annotations: Path, tmp_path: Path) -> None:
    unpack(tmp_path / "store", *(Path(name).name for name in PUBLISHED))
    (tmp_path / "train").mkdir()
    with pytest.raises(UserError, match="train holds none of the 3 images: correct --images"):
        convert_objects365(annotations, tmp_path / "train", tmp_path / "out.json", drop_missing=True)
    (tmp_path / "train" / "patch0").symlink_to(tmp_path / "store")
    assert convert_objects365(annotations, tmp_path / "train", tmp_path / "out.json") == []


def test_nothing_is_overwritten_and_mistakes_are_named(annotations: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists: remove it, or name another file"):
        convert_objects365(annotations, tmp_path, annotations)
    with pytest.raises(UserError, match="is no folder: unpack"):
        convert_objects365(annotations, tmp_path / "none", tmp_path / "out.json")
    with pytest.raises(UserError, match="does not exist"):
        convert_objects365(tmp_path / "none.json", tmp_path, tmp_path / "out.json")
    annotations.write_text("{}")
    with pytest.raises(UserError, match="not in COCO's format"):
        convert_objects365(annotations, tmp_path, tmp_path / "out.json")
    annotations.write_text("{")
    with pytest.raises(UserError, match="not valid JSON"):
        convert_objects365(annotations, tmp_path, tmp_path / "out.json")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Shapes whose ground is not labelled."""
    write_shapes_coco(tmp_path / "data", train=4, val=1, side=64)
    (tmp_path / "data" / "stuffthingmaps").rename(tmp_path / "drawn")
    return tmp_path / "data"


def test_semantic_maps_of_the_instances(root: Path, tmp_path: Path) -> None:
    """Where exactly one object is, its category id - 1; where none is, 255; the data pass the check afterwards."""
    seen: list[tuple[str, int, int]] = []
    assert write_semantic_maps(root, "train2017", progress=lambda *state: seen.append(state)) == 4
    assert seen[-1] == ("train2017", 4, 4)
    coco = COCO(root / "annotations" / "instances_train2017.json")
    labelled = 0
    for image in coco.imgs.values():
        labels = cv2.imread(
            str(root / "stuffthingmaps/train2017" / image["file_name"][:-4]) + ".png", cv2.IMREAD_UNCHANGED
        )
        assert (labels.dtype, labels.shape) == (np.uint8, (image["height"], image["width"]))
        objects = coco.loadAnns(coco.getAnnIds(image["id"]))
        masks = np.array([coco.annToMask(o).astype(bool) for o in objects]).reshape(-1, *labels.shape)
        assert np.all((labels == 255) == ~masks.any(0))
        for mask, annotation in zip(masks, objects, strict=True):
            assert np.all(labels[mask & (masks.sum(0) == 1)] == annotation["category_id"] - 1)
            labelled += mask.sum()
        # The drawn maps differ at outlines only, and in the ground, which is labelled there.
        drawn = cv2.imread(str(tmp_path / "drawn/train2017" / f"{image['file_name'][:-4]}.png"), cv2.IMREAD_UNCHANGED)
        things = (labels != 255) & (drawn < len(CLASSES))
        assert np.mean(labels[things] == drawn[things]) > 0.97 if things.any() else not objects
    assert labelled > 0
    assert [f for f in check_coco(root, ["train2017"], deep=True)[0].findings if f.serious] == []


def test_the_smaller_of_two_objects_is_in_front(tmp_path: Path) -> None:
    def square(category: int, low: int, high: int) -> dict[str, Any]:
        corners = [low, low, high, low, high, high, low, high]
        return {"id": category, "image_id": 1, "category_id": category, "segmentation": [corners]}

    content = {
        "images": [{"id": 1, "file_name": "a/1.jpg", "height": 20, "width": 20}],
        "annotations": [square(3, 5, 10), square(9, 0, 20)],
        "categories": [{"id": 3, "name": "x"}, {"id": 9, "name": "y"}],
    }
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    write_semantic_maps(tmp_path, "val2017")
    labels = cv2.imread(str(tmp_path / "stuffthingmaps/val2017/a/1.png"), cv2.IMREAD_UNCHANGED)
    assert (labels[7, 7], labels[15, 15], labels[2, 2]) == (2, 8, 8)


def test_maps_are_not_overwritten_nor_half_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["segmentation"] = [["no number"] * 6]
    broken = json.dumps(content)
    whole = path.read_text()
    path.write_text(broken)
    with pytest.raises(Exception, match=r"\S"):
        write_semantic_maps(root, "train2017")
    assert list((root / "stuffthingmaps").iterdir()) == []
    path.write_text(whole)
    write_semantic_maps(root, "train2017")
    with pytest.raises(UserError, match="train2017 exists: remove it"):
        write_semantic_maps(root, "train2017")
    content["categories"][0]["id"] = 300
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"category id 300 \(circle\) has no place"):
        write_semantic_maps(root, "val2017")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda c: c["images"][1].update(file_name=f"{c['images'][0]['file_name'][:-4]}.png"), "map would be one file"),
        (lambda c: c["images"][1].update(file_name=c["images"][0]["file_name"]), "map would be one file"),
        (lambda c: [a.pop("segmentation") for a in c["annotations"]], "has no masks"),
        (lambda c: c["annotations"][0].update(image_id=77), "unknown image: .*image 77, annotation 1"),
    ],
)
def test_maps_that_would_be_lost_or_empty_are_refused(root: Path, change: Callable[[Any], Any], told: str) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=told):
        write_semantic_maps(root, "train2017")
    assert not (root / "stuffthingmaps").exists()


def test_names_of_categories_that_are_no_text_are_refused(annotations: Path, tmp_path: Path) -> None:
    content = json.loads(annotations.read_text())
    content["categories"] = [{"id": 1, "name": ["dog"]}]
    (tmp_path / "other.json").write_text(json.dumps(content))
    for pair in ((annotations, tmp_path / "other.json"), (tmp_path / "other.json", annotations)):
        with pytest.raises(UserError, match=r"category without a name: .*other"):
            order_categories(*pair, tmp_path / "out.json")


def test_categories_in_another_files_order(annotations: Path, tmp_path: Path) -> None:
    content = json.loads(annotations.read_text())
    content["categories"] = [{"id": 2, "name": "cat"}, {"id": 1, "name": "dog"}]
    (tmp_path / "val.json").write_text(json.dumps(content))
    content["categories"] = [{"id": 7, "name": "dog"}, {"id": 9, "name": "cat"}]
    (tmp_path / "train.json").write_text(json.dumps(content))
    order_categories(tmp_path / "val.json", tmp_path / "train.json", tmp_path / "out.json")
    ordered = json.loads((tmp_path / "out.json").read_text())
    assert ordered["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "cat"}]
    assert ordered["annotations"] == content["annotations"]
    with pytest.raises(UserError, match="exists: remove it"):
        order_categories(tmp_path / "val.json", tmp_path / "train.json", tmp_path / "out.json")
    content["categories"].append({"id": 3, "name": "ox"})
    (tmp_path / "train.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="different categories"):
        order_categories(tmp_path / "val.json", tmp_path / "train.json", tmp_path / "other.json")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"file_name": "../../../x.jpg"}, "name that leaves the folder"),
        ({"file_name": "/etc/x"}, "name that leaves the folder"),
        ({"height": 60000, "width": 60000}, "image too large"),
    ],
)
def test_nothing_is_written_elsewhere_nor_made_room_for(change: dict[str, Any], told: str, root: Path) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0].update(change)
    path.write_text(json.dumps(content))
    before = sorted(root.parent.rglob("*"))
    with pytest.raises(UserError, match=told):
        write_semantic_maps(root, "train2017")
    assert sorted(root.parent.rglob("*")) == before


def test_masks_that_would_end_the_process_are_refused(root: Path) -> None:
    path = root / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    for segmentation in ([[1, 1, 1e9, 1, 1e9, 1e9]], {"size": [10**9, 10**9], "counts": [10**18]}):
        content["annotations"][0]["segmentation"] = segmentation
        path.write_text(json.dumps(content))
        with pytest.raises(UserError, match=r"(polygon outside the image|run lengths of another size).*annotation 1"):
            write_semantic_maps(root, "train2017")
