"""Reading an annotation file in COCO's format, and what must be true of it as a whole."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from typing import Any

from swinv2_dense.checks.findings import Finding
from swinv2_dense.errors import UserError
from swinv2_dense.files import read_bytes, shown, within

__all__ = ["MAX_PIXELS", "AnnotationFileError", "check_tables", "is_id", "leaves_folder", "read_coco"]

MAX_PIXELS = 178_956_970  # of one image; Pillow's own limit: 512 MiB as RGB

_LISTS = ("images", "categories", "annotations")


class AnnotationFileError(UserError):
    """An annotation file that cannot be used at all. ``kind`` groups such faults, ``detail`` is without the file."""

    def __init__(self, file: object, kind: str, detail: str) -> None:
        super().__init__(f"{shown(file)} is {kind} ({detail}): replace it, or correct the path")
        self.kind, self.detail = kind, detail


def read_coco(path: str | os.PathLike[str], *, annotated: bool = True) -> dict[str, Any]:
    """The content of an annotation file: a dict whose images, categories and annotations are lists of dicts.

    Args:
        annotated: it must have annotations; those of COCO's test images have none.

    Raises:
        UserError: no regular file; or an ``AnnotationFileError``: in an encoding that pycocotools cannot read, cut off,
            or in another format.
    """
    content = read_bytes(path, "annotation file")
    if content.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")) or b"\0" in content[:4]:
        raise AnnotationFileError(
            path, "not plain UTF-8", "it is UTF-16 or begins with a byte order mark: save it as UTF-8 without one"
        )
    collecting = gc.isenabled()
    gc.disable()  # millions of lists, none of them garbage: looking through them takes a third of the time
    try:
        data = json.loads(content)
    except (
        ValueError,
        RecursionError,
    ) as error:  # ValueError: also bytes that are not UTF-8, and numbers of 5,000 digits
        raise AnnotationFileError(path, "not valid JSON", f"{error}: it was cut off, or is another file") from error
    finally:
        if collecting:
            gc.enable()
    if not annotated and isinstance(data, dict):
        data.setdefault("annotations", [])
    for key in _LISTS:
        entries = data.get(key) if isinstance(data, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise AnnotationFileError(path, "not in COCO's format", f"has no list of objects {key!r}")
    return data


def check_tables(content: dict[str, Any], file: str, max_pixels: int = MAX_PIXELS) -> Iterator[Finding]:
    """Ids, names and sizes: what the images, categories and annotations refer to each other by.

    Args:
        file: the annotation file, for the findings.
        max_pixels: of an image; a larger one is refused before anything makes room for it.
    """
    for key in _LISTS:
        seen: set[int] = set()
        for entry in content[key]:
            value = entry.get("id")
            if not is_id(value):
                yield Finding(f"id of {key} no whole number", file, f"id {shown(repr(value), 60)}")
            elif value in seen:
                yield Finding(f"id of {key} not unique", file, f"id {value}")
            else:
                seen.add(value)
    names: set[str] = set()
    for category in content["categories"]:
        name = category.get("name")
        if not isinstance(name, str):
            yield Finding("category without a name", file, f"id {shown(category.get('id'), 60)}")
        elif name in names:
            yield Finding("category name not unique", file, shown(name))
        else:
            names.add(name)
    ids: dict[str, object] = {}
    for image in content["images"]:
        yield from _check_image_entry(image, file, max_pixels)
        name, number = image.get("file_name"), image.get("id")
        if isinstance(name, str) and ids.setdefault(name, number) != number:
            detail = (
                f"{shown(name)}, which is image {shown(ids[name])} as well: objects of one are background of the other"
            )
            yield Finding("several images of one file", file, detail, image=number, serious=False)


def _check_image_entry(image: dict[str, Any], file: str, max_pixels: int) -> Iterator[Finding]:
    name, height, width = image.get("file_name"), image.get("height"), image.get("width")
    if not isinstance(name, str) or not name:
        yield Finding("image without a file_name", file, image=image.get("id"))
    elif reason := leaves_folder(name):
        yield Finding("name that leaves the folder", file, f"{shown(name)!r} {reason}", image=image.get("id"))
    if type(height) is not int or type(width) is not int or height < 1 or width < 1:
        detail = f"height {shown(repr(height), 30)}, width {shown(repr(width), 30)}"
        yield Finding("image without a size", file, f"{detail}: whole numbers are expected", image=image.get("id"))
    elif height * width > max_pixels:
        yield Finding(
            "image too large",
            file,
            f"{shown(width, 30)} x {shown(height, 30)} pixels, more than max_image_pixels={max_pixels:,}",
            image=image.get("id"),
        )


def is_id(value: object) -> bool:
    """Whether a value can be an id: pycocotools and NumPy take whole numbers of 64 bits."""
    return type(value) is int and -(2**63) <= value < 2**63


def leaves_folder(name: str) -> str | None:
    """Why a file name is not one below its folder; None where it is."""
    try:
        os.fsencode(name)
    except UnicodeEncodeError:
        return "is no valid text"
    if (
        name.isprintable()
        and ".." not in name
        and name.strip("./")
        and "\\" not in name
        and ":" not in name
        and not name.startswith("/")
    ):
        return None  # as good as every name: quickly
    try:
        within(".", name)
    except UserError:
        return "leads out of the folder"
    return None
