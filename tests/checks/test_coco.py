"""The check of a COCO folder: nothing is found in a sound one, each planted defect by file and id, and nothing else."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from swinv2_dense.checks.coco import check_coco, check_coco_file
from swinv2_dense.checks.findings import Finding
from swinv2_dense.demo.shapes import CLASSES
from swinv2_dense.demo.shapes_coco import write_shapes_coco
from swinv2_dense.errors import UserError

ANNOTATIONS = "annotations/instances_train2017.json"
PICTURE, MAP = "train2017/000000000001.jpg", "stuffthingmaps/train2017/000000000001.png"


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("coco") / "data"
    write_shapes_coco(root, train=3, val=2, side=48)
    return root


@pytest.fixture
def root(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "data"))


def edit(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    content = json.loads((root / ANNOTATIONS).read_text())
    change(content)
    (root / ANNOTATIONS).write_text(json.dumps(content))


def found(root: Path, **options: Any) -> list[Finding]:
    return [finding for report in check_coco(root, **options) for finding in report.findings]


@pytest.mark.parametrize("deep", [False, True])
def test_nothing_is_found_in_sound_data_and_everything_is_counted(sound: Path, deep: bool) -> None:
    steps: dict[str, tuple[int, int]] = {}

    def progress(step: str, done: int, total: int) -> None:
        steps[step] = (done, total)

    train, val = check_coco(sound, deep=deep, progress=progress)
    content = json.loads((sound / ANNOTATIONS).read_text())
    assert train.findings == val.findings == []
    assert (train.counts.images, train.counts.empty, train.counts.crowds, train.maps, val.counts.images) == (
        3,
        1,
        1,
        3,
        2,
    )
    assert train.counts.annotations == len(content["annotations"])
    assert train.categories == CLASSES
    assert steps["train2017: images"] == (3, 3)
    assert steps["train2017: annotations"] == (train.counts.annotations, train.counts.annotations)
    assert steps["val2017: semantic maps"] == (2, 2)


def set_first(**values: Any) -> Callable[[dict[str, Any]], None]:
    """Change the first annotation."""
    return lambda content: content["annotations"][0].update(values)


BROKEN: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown category": set_first(category_id=77),
    "unknown image, or one without a size": set_first(image_id=99),
    "box not x, y, width, height": set_first(bbox=[1, 2, float("nan"), 4]),
    "box outside the image": set_first(bbox=[10, 10, 500, 5]),
    "no area": lambda content: content["annotations"][0].pop("area"),
    "no mask": lambda content: content["annotations"][0].pop("segmentation"),
    "crowd of polygons": set_first(iscrowd=1),
    "broken polygon": lambda content: content["annotations"][0]["segmentation"].append([1, 2, 3, 4]),
    "polygon outside the image": set_first(segmentation=[[1, 1, 400, 1, 10, 10]]),
    "run lengths of another size": set_first(segmentation={"size": [2, 2], "counts": [4]}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_annotation_is_named_by_its_ids(root: Path, kind: str) -> None:
    before = json.loads((root / ANNOTATIONS).read_text())["annotations"][0]
    edit(root, BROKEN[kind])
    finding = next(finding for finding in found(root) if finding.kind == kind)
    assert finding.serious
    assert (finding.file, finding.annotation) == (ANNOTATIONS, before["id"])
    assert finding.image == (99 if "image, or" in kind else before["image_id"])
    assert str(finding).startswith(f"{ANNOTATIONS}: image {finding.image}, annotation {before['id']}")
    assert [f.kind for f in found(root)] == [kind]


@pytest.mark.parametrize("counts", [[5, 5], "04", "~~~", "", 3])
def test_broken_run_lengths(root: Path, counts: Any) -> None:
    def change(content: dict[str, Any]) -> None:
        crowd = next(annotation for annotation in content["annotations"] if annotation["iscrowd"])
        crowd["segmentation"]["counts"] = counts

    edit(root, change)
    assert [finding.kind for finding in found(root)] == ["broken run lengths"]


def test_a_box_below_one_pixel_is_noted_only(root: Path) -> None:
    """COCO itself has some, which training leaves out."""
    edit(root, set_first(bbox=[1, 2, 0.5, 4]))
    (finding,) = found(root)
    assert (finding.kind, finding.serious) == ("box below one pixel", False)


def test_ids_and_names_that_are_not_unique(root: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["annotations"][1]["id"] = content["annotations"][0]["id"]
        content["categories"][3]["name"] = content["categories"][0]["name"]

    edit(root, change)
    kinds = [finding.kind for finding in found(root)]
    # The two splits are told apart by their categories; which of them is right is not known.
    assert kinds == ["id of annotations not unique", "category name not unique", "categories differ"]


def test_images_of_another_size_and_missing_entries(root: Path) -> None:
    edit(root, lambda content: content["images"][2].update(width=47 if content["images"][2]["width"] != 47 else 46))
    findings = found(root)
    assert {(f.kind, f.image) for f in findings} == {("another size than annotated", 3)}
    assert [f.file for f in findings] == [path.replace("1.", "3.") for path in (PICTURE, MAP)]


def test_missing_files_and_folders_and_where_to_get_them(root: Path) -> None:
    (root / PICTURE).unlink()
    (root / MAP).unlink()
    shutil.rmtree(root / "val2017")
    shutil.rmtree(root / "stuffthingmaps" / "val2017")
    (root / "annotations" / "instances_val2017.json").unlink()
    findings = found(root)
    assert {(f.file, f.image) for f in findings if f.kind == "missing file"} == {(PICTURE, 1), (MAP, 1)}
    missing = {f.file: f for f in findings if f.kind == "missing"}
    assert list(missing) == ["val2017", "stuffthingmaps/val2017", "annotations/instances_val2017.json"]
    assert "zips/val2017.zip" in str(missing["val2017"])
    assert "annotations_trainval2017.zip" in str(missing["annotations/instances_val2017.json"])
    assert "stuffthingmaps_trainval2017.zip" in str(missing["stuffthingmaps/val2017"])
    assert [f.serious for f in missing.values()] == [True, False, True]
    assert len(findings) == 5


@pytest.mark.parametrize(
    ("content", "kind"),
    [("{", "not valid JSON"), ("[]", "not in COCO's format"), ('{"images": [1]}', "not in COCO's format")],
)
def test_annotation_files_that_are_none(root: Path, content: str, kind: str) -> None:
    (root / ANNOTATIONS).write_text(content)
    assert [(f.kind, f.file) for f in found(root)] == [(kind, ANNOTATIONS)]


def test_files_that_are_no_pictures(root: Path) -> None:
    (root / PICTURE).write_text("no picture")
    (finding,) = found(root)
    assert (finding.kind, finding.file, finding.image) == ("not a whole image", PICTURE, 1)


def test_deep_reads_files_to_their_end(root: Path) -> None:
    whole = (root / PICTURE).read_bytes()
    (root / PICTURE).write_bytes(whole[: len(whole) // 2])
    labels = cv2.imread(str(root / MAP), cv2.IMREAD_UNCHANGED)
    labels[0, 0] = 200
    cv2.imwrite(str(root / MAP), labels)
    assert [(f.kind, f.file) for f in found(root)] == [("not a whole image", PICTURE)]  # its end is missing
    assert [(f.kind, f.file) for f in found(root, deep=True)] == [
        ("not a whole image", PICTURE),
        ("unknown label in a semantic map", MAP),
    ]


def test_semantic_maps_must_be_grey(root: Path) -> None:
    labels = cv2.imread(str(root / MAP), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(root / MAP), np.dstack([labels] * 3))
    (finding,) = found(root)
    assert (finding.kind, finding.file) == ("semantic map not 8-bit grey", MAP)


def test_nothing_is_changed(root: Path) -> None:
    edit(root, set_first(category_id=77))
    files = sorted(path for path in root.rglob("*") if path.is_file())
    before = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert found(root, deep=True)
    assert sorted(path for path in root.rglob("*") if path.is_file()) == files
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in files] == before


def test_a_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no folder: unpack .*annotations_trainval2017\.zip"):
        check_coco(tmp_path / "none")


def test_real_data_are_sound() -> None:
    root = Path(os.environ.get("COCO_ROOT", Path(__file__).parents[3] / "shared" / "data" / "coco"))
    if not (root / "annotations" / "instances_val2017.json").is_file():
        pytest.skip(f"no COCO data at {root} (COCO_ROOT)")
    (report,) = check_coco(root, ["val2017"])
    assert report.counts.images >= 20
    assert len(report.categories) == 80
    assert [finding for finding in report.findings if finding.serious] == []


def test_one_file_of_any_layout(root: Path, tmp_path: Path) -> None:
    (root / "train2017").rename(tmp_path / "images")
    file = Path((root / ANNOTATIONS).rename(tmp_path / "mine.json"))
    assert check_coco_file(file, tmp_path / "images", deep=True).findings == []
    content = json.loads(file.read_text())
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    file.write_text(json.dumps(content))
    assert check_coco_file(file, tmp_path / "images", boxes_only=True).findings == []
    assert {f.kind for f in check_coco_file(file, tmp_path / "images").findings} >= {"no mask"}
    with pytest.raises(UserError, match="--images"):
        check_coco_file(file, tmp_path / "none")


def test_an_image_in_both_splits_is_found(root: Path) -> None:
    name = "000000000003.jpg"  # of train alone
    shutil.copy(root / "train2017" / name, root / "val2017" / name)
    (finding,) = found(root)
    assert (finding.kind, finding.file, finding.serious) == ("image of train2017 as well", f"val2017/{name}", True)
    assert found(root, splits=["train2017", "train2017"]) == []


def test_a_name_that_is_a_folder_is_found(root: Path) -> None:
    edit(root, lambda content: content["images"][0].update(file_name="."))
    assert [finding.kind for finding in found(root)] == ["name that leaves the folder"]
