"""Objects: what training gets of every class, by mmdet's own rules, and what is wrong with the others."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from swinv2_dense.checks.annotations import Counts, Use, check_objects
from swinv2_dense.checks.coco_file import check_tables, read_coco
from swinv2_dense.checks.findings import Finding, raise_first
from swinv2_dense.errors import UserError

SQUARE = [[2, 2, 12, 2, 12, 12, 2, 12]]
RUNS = {"size": [30, 40], "counts": [5, 10, 1185]}


def annotation(number: int, **changes: Any) -> dict[str, Any]:
    entry = {
        "id": number,
        "image_id": 1,
        "category_id": 1,
        "bbox": [2, 2, 10, 10],
        "area": 100,
        "iscrowd": 0,
        "segmentation": SQUARE,
        **changes,
    }
    return {key: value for key, value in entry.items() if value != "absent"}


def check(*changes: dict[str, Any], **use: Any) -> tuple[list[Finding], Counts]:
    content = {
        "images": [
            {"id": 1, "file_name": "a.jpg", "height": 30, "width": 40},
            {"id": 2, "file_name": "b.jpg", "height": 300, "width": 400},
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [annotation(number, **change) for number, change in enumerate(changes, start=1)],
    }
    return check_objects(content, "x.json", Use(**use))


def test_sound_objects_are_counted_by_class() -> None:
    findings, counts = check({}, {}, {"image_id": 2}, {"category_id": 4}, {"iscrowd": 1, "segmentation": RUNS})
    assert findings == []
    assert counts.objects == {"cat": 3, "dog": 1}
    assert counts.images_of == {"cat": 2, "dog": 1}
    assert (counts.images, counts.annotations, counts.crowds, counts.empty) == (2, 5, 1, 0)
    assert check({}, classes=["dog"])[1].objects == {"dog": 0}
    assert check({}, classes=["dog"])[1].without_objects == ["dog"]


@pytest.mark.parametrize(
    ("change", "kind", "serious"),
    [
        ({"iscrowd": "absent"}, "no iscrowd", True),
        ({"iscrowd": None}, "no iscrowd", True),
        ({"iscrowd": "no"}, "iscrowd neither 0 nor 1", True),
        ({"area": "absent"}, "no area", True),
        ({"area": None}, "no area", True),
        ({"area": float("nan")}, "no area", True),
        ({"area": 10**400}, "no area", True),
        ({"area": 0}, "area 0", False),
        ({"bbox": []}, "box not x, y, width, height", True),
        ({"bbox": [2, 2, -10, 10]}, "box of negative size", True),
        ({"segmentation": []}, "no mask", True),
        ({"segmentation": None}, "no mask", True),
        ({"segmentation": "absent"}, "no mask", True),
        ({"segmentation": SQUARE[0]}, "broken polygon", True),
        ({"segmentation": {**RUNS, "counts": [1200]}}, "empty mask", False),
        ({"category_id": 2}, "unknown category", True),
        ({"category_id": [1]}, "unknown category", True),
        ({"image_id": {"a": 1}}, "unknown image, or one without a size", True),
        ({"image_id": "1"}, "unknown image, or one without a size", True),
        ({"id": 0}, "annotation id 0", False),
    ],
)
def test_one_that_is_not(change: dict[str, Any], kind: str, serious: bool) -> None:
    findings, counts = check(change)
    found = {finding.kind: finding for finding in findings}
    assert found[kind].serious == serious
    assert str(found[kind]).startswith("x.json")
    assert kind in ("no iscrowd", "iscrowd neither 0 nor 1", "annotation id 0") or counts.objects == {
        "cat": 0,
        "dog": 0,
    }


def test_what_an_object_must_have_depends_on_its_use() -> None:
    assert not any(f.serious for f in check({"iscrowd": None}, evaluated=False)[0])
    findings, counts = check({"segmentation": []}, masks=False)
    assert (findings, counts.objects["cat"], counts.without_mask) == ([], 1, 1)
    assert check({"segmentation": RUNS})[1].objects["cat"] == 1
    polygons_only = check({"segmentation": RUNS}, run_lengths=False)[1]
    assert (polygons_only.objects["cat"], polygons_only.ignored_run_lengths) == (0, 1)


def test_images_that_are_left_out() -> None:
    _, counts = check({}, {"image_id": 2}, smallest=32)
    assert (counts.objects["cat"], counts.usable) == (1, 1)
    assert check({}, needs_objects=True)[1].usable == 1
    assert check({}, needs_objects=True, smallest=32)[1].usable == 0
    assert check({})[1].usable == 2


def test_counts_are_those_of_mmdet(tmp_path: Path) -> None:
    datasets = pytest.importorskip("mmdet.datasets", reason="needs the det extra")
    changes = [
        {},
        {"area": 0},
        {"bbox": [2, 2, 0.5, 9]},
        {"iscrowd": 1, "segmentation": RUNS},
        {"ignore": 1},
        {"bbox": [35, 2, 9, 9]},
        {"category_id": 4},
    ]
    _, counts = check(*changes)
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": 30, "width": 40}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 4, "name": "dog"}],
        "annotations": [annotation(number, **change) for number, change in enumerate(changes, start=1)],
    }
    (tmp_path / "x.json").write_text(json.dumps(content))
    data = datasets.CocoDataset(
        ann_file=str(tmp_path / "x.json"), data_prefix={"img": ""}, metainfo={"classes": ("cat", "dog")}
    )
    labels = [o["bbox_label"] for o in data.get_data_info(0)["instances"] if not o["ignore_flag"]]
    assert counts.objects == {"cat": labels.count(0), "dog": labels.count(1)}


def test_the_first_serious_one_is_refused_and_the_others_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError, match=r"no area \(2 of them\): x.json: image 1, annotation 2: .*: mend it"):
        raise_first(check({"area": 0}, {"area": None}, {"area": "x"})[0], "mend it")
    raise_first(check({"area": 0}, {"area": 0})[0], "mend it")
    told = "warning: area 0 (2), the first: x.json: image 1, annotation 1: not trained on: write the mask's pixels\n"
    assert capsys.readouterr().err == told


HOSTILE: list[Any] = [
    *(None, True, "", "x", "\ud800", "\0", [], {}, [[]], [[[]]], -1, 0, 1, 2**31, 2**63, 10**400, 1e308, 0.5, -0.0),
    *(float("nan"), float("inf"), [1, 2, 3, 4], [1, 2, 3, "4"], [[1, 2, 3, 4, 5, 1e9]], [[float("nan")] * 6]),
    *({"size": [10**9, 10**9], "counts": [10**18]}, {"size": [30, 40], "counts": "~" * 99}, {"size": [30, 40]}),
    *({"size": [30, 40], "counts": [-5, 1205]}, {"size": "30", "counts": 5}, [[2, 2, 3]], "../../x", "/etc/passwd"),
]


def test_whatever_is_written_is_found_or_harmless(tmp_path: Path) -> None:
    """Random values in random places: a finding or one line, never another exception; what passes can be decoded."""
    masks = pytest.importorskip("pycocotools.mask", reason="comes with the det extra")
    rng = random.Random(0)
    file, passed = tmp_path / "x.json", 0
    for _ in range(600):
        content: dict[str, Any] = {
            "images": [{"id": i, "file_name": f"{i}.jpg", "height": 30, "width": 40} for i in (1, 2)],
            "categories": [{"id": 1, "name": "cat"}, {"id": 4, "name": "dog"}],
            "annotations": [annotation(1), annotation(2, segmentation=RUNS, iscrowd=1), annotation(3, image_id=2)],
        }
        for _ in range(rng.randint(1, 3)):
            entry = rng.choice(content[rng.choice(list(content))])
            entry[rng.choice(list(entry))] = rng.choice(HOSTILE)
        file.write_text(json.dumps(content))
        try:
            content = read_coco(file)
        except UserError:
            continue
        findings = [*check_tables(content, "x.json"), *check_objects(content, "x.json", Use())[0]]
        for finding in findings:
            str(finding).encode()
        if any(finding.serious for finding in findings):
            continue
        passed += 1
        for entry in content["annotations"]:
            segmentation = entry["segmentation"]
            runs = masks.frPyObjects(segmentation, 30, 40)
            assert masks.decode(runs).shape[:2] == (30, 40)
    assert passed > 10
