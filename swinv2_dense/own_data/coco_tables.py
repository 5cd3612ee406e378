"""The tables of a COCO file: every entry is what the format says, or one line names it."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pycocotools import mask as run_lengths

from swinv2_dense.checks.segmentations import segmentation_problem
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_text, shown

__all__ = ["category_name", "read_objects", "read_size", "read_tables"]

_TABLES = ("images", "annotations", "categories")


def read_tables(path: Path) -> dict[str, Any]:
    """The content of a file: lists of objects, of which images and categories have ids of their own.

    Raises:
        UserError: it is not so.
    """
    text = read_text(path, "annotation file")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{shown(path)} is no valid JSON: {error}") from error
    for table in _TABLES:
        entries = content.get(table) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise UserError(f"{shown(path)} is not in COCO's format: it has no list {table!r}")
        if strange := [entry for entry in entries if not isinstance(entry, dict)]:
            what = shown(repr(strange[0]), 60)
            raise UserError(
                f"{shown(path)} is not in COCO's format: its list {table!r} holds {what}, which is no object"
            )
    for table in ("images", "categories"):
        seen: set[Any] = set()
        for entry in content[table]:
            number = entry.get("id")
            if not _is_id(number):
                raise UserError(f"{shown(path)}: id {shown(repr(number), 60)} in {table!r}: give each a whole number")
            if number in seen:
                raise UserError(f"{shown(path)}: id {number!r} is there twice in {table!r}: give each its own")
            seen.add(number)
    return content


def category_name(category: Mapping[str, Any], path: Path) -> str:
    """Raises ``UserError`` where there is none."""
    name = category.get("name")
    if not isinstance(name, str | int) or isinstance(name, bool) or not str(name).strip():
        raise UserError(f"{shown(path)}: category {category['id']} has name {shown(repr(name), 60)}: give it a name")
    return str(name).strip()


def read_size(image: Mapping[str, Any], path: Path) -> tuple[int, int] | None:
    """(height, width) of an image; None where they are not given.

    Raises:
        UserError: they are no whole numbers.
    """
    given: list[Any] = [image.get("height"), image.get("width")]
    if not all(given):
        return None
    if not all(_is_number(side) and side > 0 and side == int(side) for side in given):
        raise UserError(
            f"{shown(path)}: image {image['id']} has height {shown(repr(given[0]), 30)} and width "
            f"{shown(repr(given[1]), 30)}: write whole numbers, or leave them out"
        )
    return int(given[0]), int(given[1])


def read_objects(
    content: dict[str, Any], path: Path, sizes: Mapping[Any, tuple[int, int]]
) -> dict[Any, list[dict[str, Any]]]:
    """The objects by the id of their image, with the class as ``category``.

    Args:
        sizes: (height, width) by the id of every image.

    Raises:
        UserError: an annotation of no category or image, or with a value of a wrong kind.
    """
    names = {category["id"]: category_name(category, path) for category in content["categories"]}
    found: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    for number, annotation in enumerate(content["annotations"], start=1):
        try:
            image, category = (_known(annotation, *known) for known in (("image_id", sizes), ("category_id", names)))
            found[image].append({"category": names[category], **_object(annotation, sizes[image])})
        except UserError as error:
            which = shown(annotation.get("id", f"number {number}"), 60)
            raise UserError(f"{shown(path)}: annotation {which} has {error}") from error
    return found


def _known(annotation: dict[str, Any], key: str, known: Mapping[Any, object]) -> Any:
    value = annotation.get(key)
    if not _is_id(value) or value not in known:
        table = "categories" if key == "category_id" else "images"
        raise UserError(f"{key} {shown(repr(value), 60)}, which is none of its {table}: correct it")
    return value


def _object(annotation: dict[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    box, area, segmentation = (annotation.get(key) for key in ("bbox", "area", "segmentation"))
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_number, box)):
        raise UserError("no bbox of four numbers: correct it")
    if area is not None and not _is_number(area):
        raise UserError(f"area {shown(repr(area), 60)}: write a number, or leave it out")
    flags = {key: annotation.get(key) or 0 for key in ("iscrowd", "ignore")}
    for key, flag in flags.items():
        if type(flag) not in (bool, int, float) or flag not in (0, 1):
            raise UserError(f"{key} {shown(repr(flag), 60)}: write 0 or 1")
    found = {"bbox": box, "area": area or box[2] * box[3], "iscrowd": int(any(flags.values()))}
    if segmentation and not isinstance(segmentation, list | dict):
        raise UserError("a segmentation that is neither polygons nor run lengths: correct it")
    if isinstance(segmentation, list):
        segmentation = [polygon for polygon in segmentation if polygon != []]
        if segmentation and found["iscrowd"]:  # evaluation takes run lengths of crowds
            segmentation = _run_lengths(segmentation, size)
    return found | ({"segmentation": segmentation} if segmentation else {})


def _run_lengths(polygons: list[Any], size: tuple[int, int]) -> dict[str, Any]:
    if problem := segmentation_problem(polygons, *size):
        raise UserError(f"a {problem[0]} ({problem[1]}): correct it")
    merged = run_lengths.merge(run_lengths.frPyObjects(polygons, *size))
    return {"size": list(size), "counts": merged["counts"].decode()}


def _is_id(value: object) -> bool:
    """COCO's are whole numbers; some exporters write text, or 1.0."""
    return isinstance(value, str) or _is_number(value)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -1e18 < value < 1e18
