"""Annotation files as a whole: what cannot be read is said in one line; ids, names and sizes are what they must be."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swinv2_dense.checks.coco_file import check_tables, leaves_folder, read_coco
from swinv2_dense.errors import UserError


def content(**changes: Any) -> dict[str, Any]:
    image = {"id": 1, "file_name": "a.jpg", "height": 30, "width": 40, **changes.pop("image", {})}
    category = {"id": 1, "name": "cat", **changes.pop("category", {})}
    annotation = {"id": 5, "image_id": 1, "category_id": 1, **changes.pop("annotation", {})}
    return {"images": [image], "categories": [category], "annotations": [annotation], **changes}


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xef\xbb\xbf" + json.dumps(content()).encode(), "UTF-8 without"),
        (json.dumps(content()).encode("utf-16"), "UTF-16"),
        (json.dumps(content()).encode("utf-16-le"), "UTF-16"),
        (json.dumps(content()).encode()[:-9], "cut off"),
        (json.dumps(content(images=[{"file_name": "ü"}]), ensure_ascii=False).encode("latin-1"), "not valid JSON"),
        (b"[" * 200_000, "not valid JSON"),
        (b'{"images": [' + b"9" * 5000 + b"]}", "not valid JSON"),
        (b'{"images": [], "annotations": []}', "no list of objects 'categories'"),
        (b'{"images": [], "annotations": {}, "categories": []}', "no list of objects 'annotations'"),
        (b"null", "not in COCO's format"),
    ],
)
def test_files_that_are_none(data: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(UserError) as error:
        read_coco(tmp_path / "x.json")
    assert told in str(error.value)
    assert "x.json" in str(error.value)


def test_what_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.json", Path("/dev/zero")):
        with pytest.raises(UserError, match="annotation file"):
            read_coco(path)


def test_a_sound_file_has_no_findings() -> None:
    assert list(check_tables(content(), "x.json")) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"image": {"id": "1"}}, "id of images no whole number"),
        ({"image": {"id": [1]}}, "id of images no whole number"),
        ({"category": {"id": None}}, "id of categories no whole number"),
        ({"annotation": {"id": 10**400}}, "id of annotations no whole number"),
        ({"annotation": {"id": 2.5}}, "id of annotations no whole number"),
        ({"annotation": {"id": True}}, "id of annotations no whole number"),
        ({"images": [content()["images"][0]] * 2}, "id of images not unique"),
        ({"categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "cat"}]}, "category name not unique"),
        ({"category": {"name": 7}}, "category without a name"),
        ({"image": {"file_name": None}}, "image without a file_name"),
        ({"image": {"file_name": "../../../x.jpg"}}, "name that leaves the folder"),
        ({"image": {"file_name": "/etc/x"}}, "name that leaves the folder"),
        ({"image": {"file_name": "."}}, "name that leaves the folder"),
        ({"image": {"file_name": "a\ud800.jpg"}}, "name that leaves the folder"),
        ({"image": {"height": "30"}}, "image without a size"),
        ({"image": {"width": 0}}, "image without a size"),
        ({"image": {"height": 60000, "width": 60000}}, "image too large"),
        ({"image": {"width": 10**400}}, "image too large"),
    ],
)
def test_ids_names_and_sizes(changes: dict[str, Any], kind: str) -> None:
    (finding,) = check_tables(content(**changes), "x.json")
    assert finding.kind == kind
    assert finding.serious
    str(finding).encode()


def test_several_images_of_one_file_are_noted() -> None:
    image = content()["images"][0]
    (finding,) = check_tables(content(images=[image, {**image, "id": 99}]), "x.json")
    assert (finding.kind, finding.image, finding.serious) == ("several images of one file", 99, False)
    assert f"which is image {image['id']} as well" in finding.detail


def test_the_limit_of_pixels_is_an_option() -> None:
    (finding,) = check_tables(content(), "x.json", max_pixels=1199)
    assert "max_image_pixels=1,199" in str(finding)
    assert not list(check_tables(content(), "x.json", max_pixels=1200))


@pytest.mark.parametrize(
    "name", ["..", "a/../../b", "\\\\host\\a", "C:\\a.jpg", "a\\..\\..\\b", "a\0.jpg", "\udcff\ud800"]
)
def test_names_that_lead_elsewhere(name: str) -> None:
    assert leaves_folder(name)


@pytest.mark.parametrize("name", ["a.jpg", "sub/a.jpg", "a..b.jpg", "sub/../a.jpg", "日本.jpg", "12:30.jpg"])
def test_names_that_do_not(name: str) -> None:
    assert leaves_folder(name) is None
